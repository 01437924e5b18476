# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The differentiable form of local attention: dense products of query tiles with their halo, in plain torch.

Same semantics as `local_attention`; every position of a tile meets every key of the tile's halo and a mask keeps
the window. That wastes products and buys autograd for nothing, which is the right trade in training only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

_TILE = 8  # cells; 8x8 queries against (8 + window - 1)^2 keys


def local_attention_dense(
    query: Tensor, keys: Tensor, values: Tensor, look: Look, *, valid: npt.NDArray[np.bool_] | None = None
) -> Tensor:
    """Local attention of a batch with gradients (Paul et al., IROS 2021, eq. 5 and 6).

    Args:
        query: `(B, h, w, heads, dk)` float.
        keys: `(T, B, h, w, heads, dk)` float.
        values: `(T, B, h, w, heads, dv)` float.
        look: one window for all slots; border rule and scale.
        valid: `(T,)` bool, slots that take part; None = all.

    Returns:
        `(B, h, w, heads, dv)` in the dtype of `values`; logits and softmax are computed in at least float32.

    Raises:
        AttentionError: windows differ between slots, or no slot is valid.
    """
    if len(set(look.windows)) != 1:
        raise AttentionError(
            f"the training form wants one window for all slots, got {look.windows}; train with one window"
        )
    if valid is not None:
        slots = np.flatnonzero(valid).tolist()
        keys, values = keys[slots], values[slots]
    if keys.shape[0] == 0:
        raise AttentionError(
            "local attention wants at least one valid slot, got none; skip the read while memory is empty"
        )
    dtype = values.dtype
    wide = torch.promote_types(dtype, torch.float32)
    arguments = (query.to(wide), keys.to(wide), values.to(wide), look)
    with torch.autocast(query.device.type, enabled=False):
        if torch.is_grad_enabled():  # the weights of all tiles are the largest tensor of a training step
            return checkpoint(_attend_tiles, *arguments, use_reentrant=False).to(dtype)
        return _attend_tiles(*arguments).to(dtype)


def _attend_tiles(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Tensor:
    batch, height, width, heads, _ = query.shape
    reach = look.windows[0] // 2
    down, right = -height % _TILE, -width % _TILE
    rows, columns = (height + down) // _TILE, (width + right) // _TILE

    q = F.pad(query * look.scale, (0, 0, 0, 0, 0, right, 0, down))
    q = q.view(batch, rows, _TILE, columns, _TILE, heads, -1).permute(0, 1, 3, 5, 2, 4, 6)
    q = q.reshape(batch, rows, columns, heads, _TILE * _TILE, -1)
    k = _halos(keys, reach, down, right)
    v = _halos(values, reach, down, right)
    logits = q @ k.transpose(-1, -2) + _window_bias(keys, look, down, right)
    out = torch.softmax(logits, dim=-1) @ v
    out = out.view(batch, rows, columns, heads, _TILE, _TILE, -1).permute(0, 1, 4, 2, 5, 3, 6)
    return out.reshape(batch, height + down, width + right, heads, -1)[:, :height, :width]


def _halos(x: Tensor, reach: int, down: int, right: int) -> Tensor:
    """`(T, B, h, w, heads, d)` to `(B, rows, columns, heads, T * halo * halo, d)`, zeros outside the picture."""
    x = F.pad(x, (0, 0, 0, 0, reach, reach + right, reach, reach + down))
    halo = _TILE + 2 * reach
    x = x.unfold(2, halo, _TILE).unfold(3, halo, _TILE)  # (T, B, rows, columns, heads, d, halo, halo)
    x = x.permute(1, 2, 3, 4, 0, 6, 7, 5)
    return x.reshape(*x.shape[:4], -1, x.shape[-1])


def _window_bias(keys: Tensor, look: Look, down: int, right: int) -> Tensor:
    """0 where a key of the halo lies in a query's window, -inf elsewhere: `(rows, columns, 1, tile^2, T * halo^2)`.

    With ZERO borders a neighbour outside the picture stays (its padded key gives logit 0, its value is 0).
    """
    slots, _, height, width = keys.shape[:4]
    reach = look.windows[0] // 2
    rows = _axis_mask(height, reach, down, look.border)
    columns = _axis_mask(width, reach, right, look.border)
    inside = rows[:, None, :, None, :, None] & columns[None, :, None, :, None, :]
    tiles_y, tiles_x, tile, _, halo, _ = inside.shape
    bias = torch.zeros(inside.shape, dtype=keys.dtype).masked_fill(~inside, -torch.inf)
    bias = bias.reshape(tiles_y, tiles_x, 1, tile * tile, halo * halo)
    return bias.repeat(1, 1, 1, 1, slots).to(keys.device)


def _axis_mask(cells: int, reach: int, extra: int, border: Border) -> Tensor:
    """`(tiles, tile, halo)` bool along one axis: is this key of the halo in this query's window."""
    tiles = (cells + extra) // _TILE
    query = torch.arange(_TILE)
    key = torch.arange(_TILE + 2 * reach)
    near = ((key[None] - query[:, None] >= 0) & (key[None] - query[:, None] <= 2 * reach)).expand(tiles, -1, -1)
    if border is Border.ZERO:
        return near
    at = torch.arange(tiles)[:, None] * _TILE + key[None] - reach
    inside = near & ((at >= 0) & (at < cells))[:, None, :]
    # a padded query beyond the picture may see nothing; let it see something, its result is cut off anyway
    return inside | (~inside.any(dim=2, keepdim=True) & near)
