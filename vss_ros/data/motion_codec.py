# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Motion from the vectors that a video's encoder has found, as FFmpeg's decoders export them.

FFmpeg exports them for H.264 and MPEG-4; its decoders of H.265, VP9 and AV1 export none. Skipped blocks are among them,
intra blocks are not. H.264's smallest partitions, 4x4 px, come as the 8x8 px that they lie in, hence the fields' cells.
Which of several reference pictures a vector leads to is not said, only that it lies in the past.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from vss_ros.core.frame import FloatArray, UInt8Array
from vss_ros.core.motion import CELL, MotionField

EXPORT = {"flags2": "+export_mvs"}  # option of a decoder whose pictures are to have vectors
_INTRA, _TWO_WAYS = (1, 5), 3  # FFmpeg's picture types I and SI, and B
_FURTHEST = 3  # pictures back that a vector may lead; few encoders search more
# Grey levels by which a vector must explain a cell better to count as one that leads further back.
_BETTER = 4


class CodecMotion:
    """The field of each picture of one stream; called with every one, in the order in which they are shown."""

    def __init__(self) -> None:
        self._grey: UInt8Array | None = None  # the picture before, at half its size
        self._had_two_ways = self._broken = False

    def lost(self) -> None:
        """A packet is missing: what comes next is decoded from another picture than it was made for."""
        self._broken = True

    def __call__(self, picture: Any) -> MotionField | None:
        """Motion to the picture before; None where the stream does not tell it.

        That is where the codec exports no vectors; from a loss or damage to the next intra picture; and around B
        pictures, which, as the picture after them, lead to others than the one before.

        Args:
            picture: `av.VideoFrame` of a decoder with the option `EXPORT`.

        Returns:
            A field with one position for each `CELL x CELL` px, NaN where the codec found nothing in the past; all of
            an intra picture is NaN.
        """
        kind = int(picture.pict_type)
        before, after_two_ways = self._grey, self._had_two_ways
        now = self._grey = _half_grey(picture)
        self._had_two_ways = kind == _TWO_WAYS
        self._broken = bool(picture.is_corrupt) or (self._broken and kind not in _INTRA)
        rows, columns = -(-picture.height // CELL), -(-picture.width // CELL)
        if kind in _INTRA:
            return MotionField(np.full((rows, columns, 2), np.nan, np.float32), 1.0, codec_key=True)
        if self._broken or after_two_ways or self._had_two_ways or before is None or before.shape != now.shape:
            return None
        vectors = picture.side_data.get("MOTION_VECTORS")
        if vectors is None:
            return None
        motion = _of_previous(_rasterised(vectors.to_ndarray(), rows, columns), before, now)
        return MotionField(motion, float(np.isnan(motion[..., 0]).mean()))


def _rasterised(vectors: np.ndarray[Any, Any], rows: int, columns: int) -> FloatArray:
    """`(rows, columns, 2)` px, NaN where no block lies."""
    field = np.full((rows, columns, 2), np.nan, np.float32)
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
    motion = np.stack([vectors["motion_x"] / scale, vectors["motion_y"] / scale], axis=1)
    width, height = vectors["w"].astype(np.intp), vectors["h"].astype(np.intp)
    left, top = (vectors["dst_x"] - width // 2) // CELL, (vectors["dst_y"] - height // 2) // CELL
    for down in range(0, 16, CELL):
        for right in range(0, 16, CELL):
            y, x = top + down // CELL, left + right // CELL
            # the last row of blocks may lie below the picture
            covered = (height > down) & (width > right) & (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
            field[y[covered], x[covered]] = motion[covered]
    return field


def _of_previous(motion: FloatArray, before: UInt8Array, now: UInt8Array) -> FloatArray:
    """Vectors that lead several pictures back, cut to what they come to in one.

    In a steady motion a vector that leads n pictures back is n times as long. So each cell keeps the n-th part of its
    vector that explains the cell best from the picture before, and is whole unless that is clearly worse.
    """
    whole = np.nan_to_num(motion)
    misses = [_miss(whole / np.float32(back), before, now) + _BETTER * (back - 1) for back in range(1, _FURTHEST + 1)]
    back = 1 + np.argmin(misses, axis=0).astype(np.float32)
    shortened: FloatArray = motion / back[..., np.newaxis]
    return shortened


def _miss(motion: FloatArray, before: UInt8Array, now: UInt8Array) -> FloatArray:
    """Mean difference in grey levels between each cell and where its motion leads."""
    height, width = now.shape
    across, down = _places(height, width)
    # nearest: a block moves as one
    dense = cv2.resize(motion / 2, (width, height), interpolation=cv2.INTER_NEAREST)
    moved = cv2.remap(
        before, across + dense[..., 0], down + dense[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
    )
    size = motion.shape[1], motion.shape[0]
    return np.asarray(cv2.resize(cv2.absdiff(moved, now), size, interpolation=cv2.INTER_AREA), np.float32)


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Column and row of each pixel."""
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return across, down


def _half_grey(picture: Any) -> UInt8Array:
    """The decoder's own brightness, without a copy, at half its size."""
    if picture.format.components[0].bits > 8:
        picture = picture.reformat(format="gray")
    plane = picture.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    size = max(picture.width // 2, 1), max(picture.height // 2, 1)
    grey = cv2.resize(lines[: picture.height, : picture.width], size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)
