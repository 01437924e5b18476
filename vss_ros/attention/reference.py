# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The definition of local attention in plain numpy; every kernel is tested against it in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

Array = npt.NDArray[Any]
Region = tuple[slice, slice]


def local_attention(
    query: Array, keys: Array, values: Array, look: Look, *, valid: npt.NDArray[np.bool_] | None = None
) -> Array:
    """Paul et al., IROS 2021, eq. 5 and 6, one displacement of the whole picture at a time.

    Every displacement is visited twice, once for the largest logit and once for the weights, so that only arrays of
    the picture's size are held and a position is touched only where it lies in a window.

    Args:
        query: `(h, w, heads, dk)` float32 or float64.
        keys: `(T, h, w, heads, dk)`.
        values: `(T, h, w, heads, dv)`.
        look: windows, border rule and scale.
        valid: `(T,)` bool; None = all.

    Returns:
        `(h, w, heads, dv)` in the dtype of `query`.

    Raises:
        AttentionError: no slot is valid.
    """
    h, w, heads, _ = query.shape
    slots = range(len(keys)) if valid is None else np.flatnonzero(valid).tolist()
    if len(slots) == 0:
        raise AttentionError("local attention wants at least one valid slot, got none; skip the read")
    outside = _outside(h, w, [look.window_of(slot) for slot in slots])
    if look.border is Border.MASK:
        outside[:] = 0

    # A position outside the picture has logit 0.
    largest = np.broadcast_to(np.where(outside > 0, 0.0, -np.inf)[..., None], (h, w, heads)).astype(query.dtype)
    for slot in slots:
        for here, there in _shifts(h, w, look.window_of(slot)):
            logits = look.scale * np.einsum("yxhd,yxhd->yxh", query[here], keys[slot][there])
            np.maximum(largest[here], logits, out=largest[here])

    total = (outside[..., None] * np.exp(-np.maximum(largest, 0))).astype(query.dtype)
    seen = np.zeros((h, w, heads, values.shape[-1]), query.dtype)
    for slot in slots:
        for here, there in _shifts(h, w, look.window_of(slot)):
            logits = look.scale * np.einsum("yxhd,yxhd->yxh", query[here], keys[slot][there])
            weights = np.exp(logits - largest[here])
            total[here] += weights
            seen[here] += weights[..., None] * values[slot][there]
    seen /= total[..., None]
    return seen


def _shifts(h: int, w: int, window: int) -> Iterator[tuple[Region, Region]]:
    """For every displacement of a window: the queries that have a neighbour there, and those neighbours."""
    rows, columns = min(window // 2, h - 1), min(window // 2, w - 1)
    for dy in range(-rows, rows + 1):
        for dx in range(-columns, columns + 1):
            here = slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx))
            there = slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx))
            yield here, there


def _outside(h: int, w: int, windows: list[int]) -> npt.NDArray[np.float64]:
    """`(h, w)`, how many positions of all windows around a query lie outside the picture."""
    return sum((window**2 - np.outer(_inside(h, window), _inside(w, window)) for window in windows), np.zeros((h, w)))


def _inside(cells: int, window: int) -> npt.NDArray[np.float64]:
    """Along one axis: how many positions of the window around each cell lie in the picture."""
    at, reach = np.arange(cells), window // 2
    return (np.minimum(cells - 1, at + reach) - np.maximum(0, at - reach) + 1).astype(np.float64)
