# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The sizes at which the attention benches measure, and the random inputs of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Size:
    """One problem; `window` is a diameter in cells."""

    name: str
    h: int
    w: int
    slots: int
    window: int
    dk: int
    dv: int

    def cells(self) -> npt.NDArray[np.int64]:
        """`(h, w, 2)`, row and column of each."""
        return np.moveaxis(np.indices((self.h, self.w)), 0, -1)

    def useful_flop(self, centres: npt.NDArray[np.int64]) -> float:
        """Of the products with keys and values inside the picture, in windows about `(..., 2)` cells."""
        seen, reach = np.ones(centres.shape[:-1]), self.window // 2
        for axis, cells in enumerate((self.h, self.w)):
            at = centres[..., axis]
            seen *= np.maximum(np.minimum(cells - 1, at + reach) - np.maximum(0, at - reach) + 1, 0)
        return 2.0 * (self.dk + self.dv) * self.slots * float(seen.sum())

    def arrays(self) -> Arrays:
        """Query `(h, w, 1, dk)`, keys `(slots, h, w, 1, dk)` and values, from a normal distribution."""
        rng = np.random.default_rng(0)
        grid = self.h, self.w, 1
        shapes: Any = (*grid, self.dk), (self.slots, *grid, self.dk), (self.slots, *grid, self.dv)
        query, keys, values = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        return query, keys, values


SIZES = (
    Size("target", 64, 128, 4, 21, 32, 128),
    Size("LMANet-ERF 64x128", 64, 128, 4, 21, 16, 64),
    Size("LMANet-ERF CamVid 45x60", 45, 60, 4, 21, 16, 64),
)
