# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Motion from two raw pictures, for cameras that send no video stream.

DIS optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) in OpenCV's fastest
setting. `docs/motion.md` says how well it carries CamVid's labels from frame to frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import FloatArray, UInt8Array
from vss_ros.core.motion import CELL, MotionField

_LONGEST = 640  # px that the longer side of a picture is reduced to; the finer the picture, the better the flow
_SHORTEST = 32  # px that DIS needs of the picture that is looked at backwards
# Forward and backward flow are to meet within this many px of the reduced picture and this share of their length.
# On CamVid at 15 Hz 11 % of a picture fail at most, at 3 Hz 41 % (`bench/motion.py`), between two drives above 60 %.
_MISS_PX, _MISS_SHARE = 4.0, 0.05


class FlowMotion:
    """A MotionSource: dense flow, sampled at the centre of each `CELL x CELL` px.

    What does not come back to its place when followed there and back again is unmatched: it was hidden, or belongs to
    another scene. Not for use in two threads at once.
    """

    def __init__(self) -> None:
        # the stubs have only a newer name of it
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]

    def __call__(self, before: UInt8Array, now: UInt8Array) -> MotionField:
        """Motion of `now`, from it to `before`; both `(H, W, 3)` uint8 RGB of one size.

        Raises:
            FrameError: pictures of two sizes.
        """
        if before.shape != now.shape:
            raise FrameError(f"motion wants two pictures of one size, got {before.shape} and {now.shape}; start anew")
        height, width = now.shape[:2]
        grey_before, grey_now = _reduced(before), _reduced(now)
        forward = self._flow.calc(grey_now, grey_before, None)
        rows, columns = (-(-size // CELL) for size in (height, width))
        flow = _at_centres(forward, rows, columns)
        backward = self._flow.calc(_halved(grey_before), _halved(grey_now), None)
        unmatched = _misses(flow, forward.shape[:2], backward)
        scale = np.array([width / forward.shape[1], height / forward.shape[0]], np.float32)
        return MotionField(flow * scale, float(unmatched.mean()))


def _reduced(image: UInt8Array) -> UInt8Array:
    """Grey, and not longer than DIS is fast on; small pictures are enlarged to what it needs."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    factor = min(1.0, _LONGEST / max(height, width))
    size = tuple(max(round(side * factor), 2 * _SHORTEST) for side in (width, height))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _halved(grey: UInt8Array) -> UInt8Array:
    height, width = grey.shape
    return np.asarray(cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def _at_centres(field: FloatArray, rows: int, columns: int) -> FloatArray:
    """The field at the centres of `rows x columns` equal cells; not their means, since a cell may hold two motions."""
    down, right = _centres(field.shape[0], rows), _centres(field.shape[1], columns)
    sampled: FloatArray = field[down[:, np.newaxis], right]
    return sampled


def _centres(size: int, cells: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return ((np.arange(cells) + 0.5) * size / cells).astype(np.intp)


def _misses(
    flow: FloatArray, size: tuple[int, int], backward: FloatArray
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where following the flow and then the backward flow, found at half the size, does not lead back."""
    (height, width), (rows, columns) = size, flow.shape[:2]
    right = _centres(width, columns) + flow[..., 0]
    down = _centres(height, rows)[:, np.newaxis] + flow[..., 1]
    right, down = (
        (place / 2).astype(np.intp).clip(0, most - 1)
        for place, most in ((right, backward.shape[1]), (down, backward.shape[0]))
    )
    back = 2 * backward[down, right]
    length = np.linalg.norm(flow, axis=2) + np.linalg.norm(back, axis=2)
    return np.linalg.norm(flow + back, axis=2) > _MISS_SHARE * length + _MISS_PX
