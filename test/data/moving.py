# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Clips whose motion is known, and their packets."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from vss_ros.core.frame import UInt8Array

SIZE = (192, 256)
LIVE = {"preset": "veryfast", "tune": "zerolatency"}


def scene(height: int, width: int, seed: int = 0) -> UInt8Array:
    """Smooth patches of a few px with some noise, as a camera's picture has."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def moving(count: int, step: int, seed: int = 0, size: tuple[int, int] = SIZE) -> list[UInt8Array]:
    """Pictures of a scene that moves right by `step` px from each to the next."""
    height, width = size
    wide = scene(height, width + abs(step) * count, seed)
    offsets = [(count - 1 - i) * step if step > 0 else i * -step for i in range(count)]
    return [np.ascontiguousarray(wide[:, x : x + width]) for x in offsets]


def encoded(images: list[UInt8Array], encoder: str = "libx264", **options: str) -> list[bytes]:
    """One packet for each picture, unless the options ask for B pictures."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.height, context.width = images[0].shape[:2]
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 15), Fraction(15)
    context.options = options
    packets: list[Any] = []
    for index, image in enumerate(images):
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts, picture.time_base = index, context.time_base
        packets += context.encode(picture)
    return [bytes(packet) for packet in packets + context.encode(None)]
