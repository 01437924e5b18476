# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The definition of local attention, in numpy; every kernel is tested against it.

Source: Paul et al., "Local Memory Attention for Fast Video Semantic Segmentation", IROS 2021, eq. 5 and 6, with the
query staying at its place and the memory read at a displacement from it, as the authors' results need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.look import Border, Look

Array = npt.NDArray[Any]


def reference(query: Array, keys: Array, values: Array, look: Look, valid: npt.NDArray[np.bool_]) -> Array:
    """One softmax over all valid slots and displacements, by online updates, one displacement at a time.

    Shapes as in `local_attention`; computes in the query's dtype and holds no weight volume.
    """
    height, width, heads, _ = query.shape
    out = np.zeros((height, width, heads, values.shape[-1]), query.dtype)
    most = np.full((height, width, heads), -np.inf, query.dtype)
    total = np.zeros_like(most)
    for slot in np.flatnonzero(valid):
        reach = look.window_of(int(slot)) // 2
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                here, there = _overlap(height, dy), _overlap(width, dx)
                q, k = query[here[0], there[0]], keys[slot, here[1], there[1]]
                logits = np.full(most.shape, 0.0 if look.border is Border.ZERO else -np.inf, query.dtype)
                logits[here[0], there[0]] = np.einsum("hwnd,hwnd->hwn", q, k) * look.scale
                new = np.maximum(most, logits)
                # where nothing was seen yet, both are -inf and their difference would be NaN
                shrink = np.exp(np.where(np.isneginf(new), 0, most - new))
                weight = np.exp(np.where(np.isneginf(new), -np.inf, logits - new))
                out *= shrink[..., None]
                out[here[0], there[0]] += weight[here[0], there[0], :, None] * values[slot, here[1], there[1]]
                total = total * shrink + weight
                most = new
    return np.asarray(out / total[..., None])


def _overlap(cells: int, shift: int) -> tuple[slice, slice]:
    """Positions along one axis whose neighbour at `shift` lies in the picture, and those neighbours."""
    first, last = max(0, -shift), max(0, min(cells, cells - shift))
    first = min(first, last)
    return slice(first, last), slice(first + shift, last + shift)
