# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The two words everything else is about: a Frame goes in, a Segmentation comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import FrameError

UNLABELLED = 255

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera picture with the stamp its source gave it.

    Attributes:
        stamp_ns: time of capture in nanoseconds; copied through to every output, never replaced.
        image: `(H, W, 3)` uint8 RGB; a view is fine, the package never writes to it.
        stream: name of the camera or file; each stream has its own memory.
        frame_id: coordinate frame of the camera, copied through.
        motion: `(h, w, 2)` float32 px `(dx, dy)` from a position in this frame to the same point in the
            previous frame, NaN where that does not show it, or None where no motion is known. The positions divide
            the picture evenly and may be fewer than its pixels.
        truth: `(H, W)` uint8 labels, 255 = unlabelled, where the source knows them; only evaluation reads it.
        motion_since_ns: stamp of the frame that `motion` leads to; None = whatever frame is segmented before this one.
            A source whose frames may be skipped names it, so that motion is never taken for that of a longer time.
    """

    stamp_ns: int
    image: UInt8Array
    stream: str = "camera"
    frame_id: str = ""
    motion: FloatArray | None = None
    truth: UInt8Array | None = None
    motion_since_ns: int | None = None

    def __post_init__(self) -> None:
        shape, dtype = getattr(self.image, "shape", None), getattr(self.image, "dtype", None)
        if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
            raise FrameError(
                f"a frame wants an image (H, W, 3) uint8 RGB, got {shape} {dtype}; convert it before building the Frame"
            )
        if shape[0] == 0 or shape[1] == 0:
            raise FrameError(
                f"a frame wants at least one pixel, got an image of shape {shape}; check the camera's size"
            )

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in px."""
        return int(self.image.shape[0]), int(self.image.shape[1])


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The labels of one frame.

    Attributes:
        stamp_ns: the frame's stamp, untouched.
        labels: `(H, W)` uint8 class indices, 255 = unlabelled.
        confidence: `(H, W)` uint8, probability of the label in 1/255 steps; 255 = certain.
        stream: the frame's stream.
        frame_id: the frame's coordinate frame, untouched.
        times_ms: wall time of each part (`prepare`, `infer`, `finish`, `total`) in milliseconds.
        remembered: how many past frames the memory held when this one was read.
        reset: why the memory was cleared just before this frame, or None.
    """

    stamp_ns: int
    labels: UInt8Array
    confidence: UInt8Array
    stream: str = "camera"
    frame_id: str = ""
    times_ms: Mapping[str, float] = field(default_factory=dict)
    remembered: int = 0
    reset: str | None = None
