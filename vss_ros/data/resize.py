# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pictures to the model's size."""

from __future__ import annotations

import cv2
import numpy as np

from vss_ros.core.frame import UInt8Array
from vss_ros.core.prepare import Size


def resize(image: UInt8Array, size: Size) -> UInt8Array:
    """`(H, W, 3)` uint8 at `size`, averaged over areas when it shrinks, so that thin things do not flicker."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] * image.shape[1] > size[0] * size[1]
    return np.asarray(
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )
