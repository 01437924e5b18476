# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The differentiable forms of local attention, in plain torch, with the semantics of `local_attention`.

Where each query looks about its own cell: dense tiles (`tiled.py`). Where centres are given: what the windows hold is
gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vss_ros.attention.tiled import attend_tiles, sinks_of, softmax_with_sinks
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

_GATHERED = 256  # queries whose windows are copied at once


def local_attention_dense(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    centres: Tensor | npt.NDArray[np.integer[Any]] | None = None,
    sink: Tensor | npt.NDArray[np.float32] | float | None = None,
) -> Tensor:
    """Local attention of a batch with gradients (Paul et al., IROS 2021, eq. 5 and 6).

    With centres, unless they are a list of different cells of the picture, what the windows hold is copied, of 256
    queries at a time and again in the backward pass: a few times `B * 256 * positions * heads * (dk + dv) * 4` bytes.
    A 7x7 window of 64 + 64 channels makes that 6 MB per picture of the batch, 4 slots of 21x21 with 16 + 64 channels
    145 MB.

    Args:
        query: `(B, h, w, heads, dk)` float; with centres any grid of queries, or a list `(B, N, heads, dk)`.
        keys: `(T, B, h, w, heads, dk)` float.
        values: `(T, B, h, w, heads, dv)` float.
        look: windows, border rule and scale.
        valid: `(T,)` bool, slots that take part; None = all.
        centres: `(B, h, w, 2)` or `(B, N, 2)` int, row and column of the cell that each query's windows are about.
        sink: logit with value 0 that joins every softmax, for all heads, `(heads,)` or, as stages give it,
            `(B, heads)`; may be learned.

    Returns:
        `(B, h, w, heads, dv)` or `(B, N, heads, dv)` in the dtype of `values`; logits and softmax are computed in at
        least float32.

    Raises:
        AttentionError: no slot is valid, or windows, centres or sink do not fit slots, queries or heads.
    """
    slots = list(range(len(keys))) if valid is None else np.flatnonzero(valid).tolist()
    if not slots:
        raise AttentionError(
            "local attention wants at least one valid slot, got none; skip the read while memory is empty"
        )
    if len(look.windows) not in (1, len(keys)):
        raise AttentionError(f"a look wants one window, or one for each of the {len(keys)} slots, got {look.windows}")
    look = Look(tuple(look.window_of(slot) for slot in slots), look.border, look.scale)
    if len(slots) < len(keys):
        keys, values = keys[slots], values[slots]
    dtype = values.dtype
    wide = torch.promote_types(dtype, torch.float32)
    query, keys, values = query.to(wide), keys.to(wide), values.to(wide)
    sinks = sinks_of(sink, query)
    with torch.autocast(query.device.type, enabled=False):
        if centres is None:
            return _again_for_gradients(attend_tiles, query, keys, values, look, sinks=sinks).to(dtype)
        cells = torch.as_tensor(centres, device=query.device)
        if _are_cells(query, keys, cells):
            return _attend_cells(query, keys, values, sinks, look, cells).to(dtype)
        return _attend_centres(query, keys, values, sinks, look, cells).to(dtype)


def _again_for_gradients(form: Callable[..., Tensor], *arguments: Any, **more: Any) -> Tensor:
    """The weights of all windows are the largest tensor of a training step: computed twice, not kept."""
    if not torch.is_grad_enabled():
        return form(*arguments, **more)
    return checkpoint(form, *arguments, use_reentrant=False, **more)


def _are_cells(query: Tensor, keys: Tensor, cells: Tensor) -> bool:
    """Is it a list of cells of the picture, none of them twice."""
    if query.ndim != 4 or cells.shape != (*query.shape[:2], 2) or cells.is_floating_point():
        return False
    size = cells.new_tensor(keys.shape[2:4])
    numbers = (cells[..., 0] * size[1] + cells[..., 1]).sort(dim=1).values
    return bool(((cells >= 0) & (cells < size)).all() & (numbers[:, 1:] > numbers[:, :-1]).all())


def _attend_cells(
    query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor | None, look: Look, cells: Tensor
) -> Tensor:
    """The queries in their places, and none elsewhere: tiles read in vain there, but copy nothing."""
    height, width = keys.shape[2:4]
    at = torch.arange(len(query), device=query.device).unsqueeze(1), *cells.long().unbind(dim=2)
    picture = query.new_zeros(len(query), height, width, *query.shape[2:]).index_put(at, query)
    return _again_for_gradients(attend_tiles, picture, keys, values, look, sinks=sinks)[at]


def _attend_centres(
    query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor | None, look: Look, cells: Tensor
) -> Tensor:
    """In portions of queries, for every query has its own copy of what its windows hold."""
    if cells.shape != (*query.shape[:-2], 2) or cells.is_floating_point():
        raise AttentionError(
            f"centres wants {(*query.shape[:-2], 2)} int, got {tuple(cells.shape)} {cells.dtype}; "
            "give one (row, column) in cells per query"
        )
    portions = (x.split(_GATHERED, dim=1) for x in (query.flatten(1, -3), cells.flatten(1, -2)))
    out = [
        _again_for_gradients(_attend_gathered, some, keys, values, sinks, look, at)
        for some, at in zip(*portions, strict=True)
    ]
    return torch.cat(out, dim=1).view(*query.shape[:-1], values.shape[-1])


def _attend_gathered(
    query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor | None, look: Look, cells: Tensor
) -> Tensor:
    """`query` `(B, n, heads, dk)`, `cells` `(B, n, 2)`."""
    height, width = keys.shape[2:4]
    at = [_positions(cells, window) for window in look.windows]
    inside = torch.cat([((p >= 0) & (p < p.new_tensor([height, width]))).all(dim=-1) for p in at], dim=2)
    k, v = (torch.cat([_found(slot, p) for slot, p in zip(x, at, strict=True)], dim=2) for x in (keys, values))
    k, v = (x.masked_fill_(~inside[..., None, None], 0) for x in (k, v))
    logits = torch.einsum("bnhd,bnphd->bhnp", query * look.scale, k)
    if look.border is Border.MASK:
        # who sees nothing may see the zeros outside: their values are 0, as the result is to be
        exists = inside | ~inside.any(dim=2, keepdim=True)
        logits = logits.masked_fill(~exists[:, None], -torch.inf)
    return torch.einsum("bhnp,bnphd->bnhd", softmax_with_sinks(logits, sinks), v)


def _positions(cells: Tensor, window: int) -> Tensor:
    """Of the windows about `(B, n, 2)` cells: `(B, n, window^2, 2)`."""
    shift = torch.arange(window, device=cells.device) - window // 2
    return cells[:, :, None] + torch.stack(torch.meshgrid(shift, shift, indexing="ij"), dim=-1).view(-1, 2)


def _found(slot: Tensor, at: Tensor) -> Tensor:
    """`(B, n, positions, heads, d)` of a slot `(B, h, w, heads, d)`; outside the picture, the nearest cell."""
    batch = torch.arange(len(slot), device=slot.device)[:, None, None]
    return slot[batch, at[..., 0].clamp(0, slot.shape[1] - 1), at[..., 1].clamp(0, slot.shape[2] - 1)]
