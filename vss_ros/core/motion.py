# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Motion between two pictures of a stream: what a source of it gives, and what it comes to over several pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import FloatArray, UInt8Array
from vss_ros.core.prepare import Size, nearest

CELL = 8  # px of a picture to one position of a field


@dataclass(frozen=True, slots=True)
class MotionField:
    """Where each part of a picture was in the picture before.

    Attributes:
        motion: `(h, w, 2)` float32 px of the picture, `(dx, dy)` from a position in this picture to the same point in
            the one before; the `h x w` positions divide the picture evenly. A part that moved right by 8 px has
            `(-8, 0)`.
        unmatched: share of the positions, 0 to 1, for which nothing was found in the picture before; their motion is a
            guess, or NaN.
        codec_key: the codec itself began anew with this picture (an intra picture).
    """

    motion: FloatArray
    unmatched: float
    codec_key: bool = False

    def __post_init__(self) -> None:
        shape, dtype = getattr(self.motion, "shape", None), getattr(self.motion, "dtype", None)
        if shape is None or len(shape) != 3 or shape[2] != 2 or 0 in shape or dtype != np.float32:
            raise FrameError(f"a motion field wants (h, w, 2) float32 px, got {shape} {dtype}; convert it before")


class MotionSource(Protocol):
    """Finds the motion from two pictures of one size, `(H, W, 3)` uint8 RGB."""

    def __call__(self, before: UInt8Array, now: UInt8Array) -> MotionField: ...


class ZeroMotion:
    """Nothing moves: the plainest MotionSource, which leaves all search to the attention's window."""

    def __call__(self, before: UInt8Array, now: UInt8Array) -> MotionField:
        """A field of zeros with one position for each `CELL x CELL` px."""
        height, width = (-(-size // CELL) for size in now.shape[:2])
        return MotionField(np.zeros((height, width, 2), np.float32), 0.0)


def in_cells(motion: FloatArray, picture: Size, grid: Size) -> FloatArray:
    """A field on another grid; each cell takes the nearest position, so that no border between two motions is blurred.

    Args:
        motion: `(h, w, 2)` float32 px; NaN where it is not known.
        picture: `(height, width)` px that the field's positions divide.
        grid: `(rows, columns)` wanted.

    Returns:
        `(rows, columns, 2)` float32 in cells of that grid.
    """
    scale = np.array([grid[1] / picture[1], grid[0] / picture[0]], np.float32)
    return nearest(filled(motion), grid) * scale


def filled(motion: FloatArray) -> FloatArray:
    """A field without NaN: what is not known takes the motion of the nearest known position.

    Looked for in the position's row, or, where that has none, in the row nearest to it that has; 0 where nothing is
    known. Codecs code flat regions without vectors, and these move with what is around them.

    Args:
        motion: `(h, w, 2)` float32.
    """
    known: npt.NDArray[np.bool_] = ~np.isnan(motion.sum(axis=2))
    if known.all():
        return motion
    if not known.any():
        return np.zeros_like(motion)
    rows = _nearest_known(known.any(axis=1, keepdims=True).T)[0]
    found: FloatArray = motion[rows[:, np.newaxis], _nearest_known(known)[rows]]
    return found


def _nearest_known(known: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """For each position the column of the nearest True in its row; any column in a row without."""
    width = known.shape[1]
    here = np.arange(width)
    left = np.maximum.accumulate(np.where(known, here, -2 * width), axis=1)
    right = np.minimum.accumulate(np.where(known, here, 3 * width)[:, ::-1], axis=1)[:, ::-1]
    return np.where(here - left <= right - here, left, right).clip(0, width - 1)


def composed(now: FloatArray, before: FloatArray) -> FloatArray:
    """Motion over two steps: m(p) + m'(p + m(p)), m to the picture before and m' from there on.

    m' is looked up at the nearest position, within the picture.

    Args:
        now: `(h, w, 2)` float32 cells `(dx, dy)`.
        before: the same, of the picture before.
    """
    height, width = now.shape[:2]
    columns = np.rint(np.arange(width, dtype=np.float32) + now[..., 0]).clip(0, width - 1).astype(np.intp)
    rows = np.rint(np.arange(height, dtype=np.float32)[:, None] + now[..., 1]).clip(0, height - 1).astype(np.intp)
    together: FloatArray = now + before[rows, columns]
    return together
