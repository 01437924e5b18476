# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Labels painted over the picture, for people."""

from __future__ import annotations

import numpy as np

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import UNLABELLED, UInt8Array


def overlay(image: UInt8Array, labels: UInt8Array, colours: UInt8Array, opacity: float = 0.5) -> UInt8Array:
    """The picture with its labels in colour; unlabelled pixels show the picture alone.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        labels: `(H, W)` uint8.
        colours: `(256, 3)` uint8 RGB by label.
        opacity: of the colours, 0..1.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        FrameError: sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise FrameError(f"an overlay wants labels of the picture's size {image.shape[:2]}, got {labels.shape}")
    weight = round(opacity * 256)
    painted = colours[labels].astype(np.uint16) * weight + image.astype(np.uint16) * (256 - weight)
    result = (painted >> 8).astype(np.uint8)
    unlabelled = labels == UNLABELLED
    if unlabelled.any():
        result[unlabelled] = image[unlabelled]
    return result
