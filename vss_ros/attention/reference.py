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
Cells = npt.NDArray[np.integer[Any]]
Region = tuple[Any, ...]  # what selects positions: a slice, or the numbers of those wanted, per axis


def local_attention(
    query: Array,
    keys: Array,
    values: Array,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    centres: Cells | None = None,
    sink: float | Array | None = None,
) -> Array:
    """Paul et al., IROS 2021, eq. 5 and 6, one displacement of all windows at a time.

    Every displacement is visited twice, once for the largest logit and once for the weights, so that only arrays of
    the query's size are held and a position is touched only where it lies in a window.

    Args:
        query: `(h, w, heads, dk)` float32 or float64; with centres any grid of queries, or a list `(N, heads, dk)`.
        keys: `(T, h, w, heads, dk)`.
        values: `(T, h, w, heads, dv)`.
        look: windows, border rule and scale.
        valid: `(T,)` bool; None = all.
        centres: `(..., 2)` int, row and column of the cell that each query's windows are about, in the picture or
            not; None = the query's own cell.
        sink: a logit with value 0 that joins every softmax, for all heads or `(heads,)`; None or -inf = none.

    Returns:
        As `query`, dv in place of dk, in its dtype. 0 where no position of the windows lies in the picture.

    Raises:
        AttentionError: no slot is valid.
    """
    h, w = keys.shape[1:3]
    slots = range(len(keys)) if valid is None else np.flatnonzero(valid).tolist()
    if len(slots) == 0:
        raise AttentionError("local attention wants at least one valid slot, got none; skip the read")
    shifts = _Shifts(h, w, centres)
    windows = [look.window_of(slot) for slot in slots]
    inside = np.sum([shifts.inside(window) for window in windows], axis=0)
    # Positions outside the picture have logit 0, or do not exist.
    outside = sum(window**2 for window in windows) - inside if look.border is Border.ZERO else 0 * inside
    sinks = np.full(query.shape[-2], -np.inf if sink is None else sink, query.dtype)

    largest = np.maximum(np.where(outside > 0, 0.0, -np.inf)[..., None], sinks).astype(query.dtype)
    for slot, window in zip(slots, windows, strict=True):
        for here, there in shifts(window):
            logits = look.scale * np.einsum("...d,...d->...", query[here], keys[slot][there])
            largest[here] = np.maximum(largest[here], logits)
    largest[np.isneginf(largest)] = 0  # nothing has any weight: no reference is needed

    total = (outside[..., None] * np.exp(-np.maximum(largest, 0)) + np.exp(sinks - largest)).astype(query.dtype)
    seen = np.zeros((*query.shape[:-1], values.shape[-1]), query.dtype)
    for slot, window in zip(slots, windows, strict=True):
        for here, there in shifts(window):
            logits = look.scale * np.einsum("...d,...d->...", query[here], keys[slot][there])
            weights = np.exp(logits - largest[here])
            total[here] += weights
            seen[here] += weights[..., None] * values[slot][there]
    sees = inside > 0
    seen[sees] /= total[sees][..., None]
    return seen


class _Shifts:
    """Which queries have a neighbour at a displacement of their window, and which neighbour."""

    def __init__(self, h: int, w: int, centres: Cells | None) -> None:
        self._size = h, w
        self._dense = centres is None
        self._centres = np.moveaxis(np.indices(self._size), 0, -1) if centres is None else centres

    def __call__(self, window: int) -> Iterator[tuple[Region, Region]]:
        """For every displacement: the queries whose position there lies in the picture, and those positions.

        No query is in a region twice, so that what is added to a region arrives.
        """
        if self._centres.size == 0:
            return
        rows, columns = (self._displacements(window, axis) for axis in (0, 1))
        for dy in rows:
            for dx in columns:
                yield self._slices(dy, dx) if self._dense else self._numbers(dy, dx)

    def inside(self, window: int) -> npt.NDArray[np.float64]:
        """How many positions of the window about each centre lie in the picture."""
        reach, product = window // 2, np.ones(self._centres.shape[:-1])
        for axis, cells in enumerate(self._size):
            at = self._centres[..., axis].astype(np.int64)
            product *= np.maximum(np.minimum(cells - 1, at + reach) - np.maximum(0, at - reach) + 1, 0)
        return product

    def _displacements(self, window: int, axis: int) -> range:
        """Those along one axis that lead any query into the picture."""
        at, last, reach = self._centres[..., axis], self._size[axis] - 1, window // 2
        return range(max(-reach, -int(at.max())), min(reach, last - int(at.min())) + 1)

    def _slices(self, dy: int, dx: int) -> tuple[Region, Region]:
        """Of queries that look about their own cells; the definition's shortcut, for slices are not copied."""
        (h, w) = self._size
        here = slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx))
        there = slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx))
        return here, there

    def _numbers(self, dy: int, dx: int) -> tuple[Region, Region]:
        at = self._centres + np.array([dy, dx])
        here = np.nonzero(((at >= 0) & (at < self._size)).all(axis=-1))
        return here, tuple(at[here].T)
