# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whether two pictures show the same scene, for a memory that must not carry one scene's labels into another.

Two measures that fail in different places are taken together: the layout of light and dark changes when the camera
moves fast, the colours change with the exposure, and only a cut changes both at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vss_ros.core.frame import UInt8Array

_STRIDE = 4  # px of the picture to one that is looked at
_GRID = (18, 32)  # cells of the layout; as large as what moves from frame to frame
_BINS = 4  # levels of each colour channel; few, so that noise moves little


@dataclass(frozen=True, slots=True)
class Scene:
    """What is kept of a picture: `layout` float32 with mean 0 and norm 1, `colours` `(64,)` float32 with sum 1."""

    layout: npt.NDArray[np.float32]
    colours: npt.NDArray[np.float32]

    @classmethod
    def of(cls, image: UInt8Array) -> Scene:
        """Summary of an `(H, W, 3)` uint8 RGB picture."""
        seen = image[::_STRIDE, ::_STRIDE]
        height, width = (max(1, size // cells) for size, cells in zip(seen.shape[:2], _GRID, strict=True))
        rows, columns = seen.shape[0] // height, seen.shape[1] // width
        cells = seen[: rows * height, : columns * width].reshape(rows, height, columns, width * 3)
        layout = cells.mean(axis=(1, 3), dtype=np.float32)
        layout -= layout.mean()
        level = (seen >> 6).astype(np.int64)
        index = (level[..., 0] * _BINS + level[..., 1]) * _BINS + level[..., 2]
        counts = np.bincount(index.ravel(), minlength=_BINS**3)
        return cls(layout / max(float(np.linalg.norm(layout)), 1e-6), (counts / counts.sum()).astype(np.float32))

    def change(self, other: Scene) -> float:
        """0 for the same picture to 1; the smaller of the changes of layout (1 - correlation) and of colours.

        The colours' is the share of pixels that would have to change their colour. A change of size is a change of 1.
        """
        if self.layout.shape != other.layout.shape:
            return 1.0
        layout = 1.0 - float(np.sum(self.layout * other.layout))
        colours = 0.5 * float(np.abs(self.colours - other.colours).sum())
        return min(layout, colours, 1.0)
