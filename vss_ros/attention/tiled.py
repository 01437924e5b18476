# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention in dense tiles, in plain torch: training differentiates it, the exporter writes it as plain ONNX.

A tile of queries meets every key of its halo, the cells that any of its windows reaches, in one matrix product; what
lies outside a query's own window is given no weight. That wastes products and needs no kernel: autograd knows all of
it, and so does every runtime that reads ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

_TILE = 8  # cells; 8x8 queries against (8 + window - 1)^2 keys
# added to logits that must not count; finite, for -inf - -inf is NaN where a query may look at nothing
_NEVER = -1e30


def attend_tiles(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    *,
    valid: Tensor | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Local attention of each query about its own cell (Paul et al., IROS 2021, eq. 5 and 6).

    Args:
        query: `(B, h, w, heads, dk)` float.
        keys: `(T, B, h, w, heads, dk)`, as `query`.
        values: `(T, B, h, w, heads, dv)`, as `query`.
        look: one window or one per slot, border rule and scale.
        valid: `(T,)` bool, slots that take part; what the others hold, NaN included, changes nothing, and where none
            takes part all queries recall 0. None = all.
        sinks: `(B, heads)` float, logits with value 0 that join the softmax; None = none.

    Returns:
        `(B, h, w, heads, dv)` float.
    """
    batch, height, width, heads, _ = (int(n) for n in query.shape)  # numbers, also where the exporter traces
    grid = _Grid(height, width, max(look.windows) // 2)
    if valid is not None:
        keys, values = (torch.where(valid.view(-1, 1, 1, 1, 1, 1), x, x.new_zeros(())) for x in (keys, values))
    found = grid.halos(keys).transpose(-1, -2)
    logits = grid.tiles(query * look.scale) @ found + _window_bias(grid, look, keys, valid)
    if look.border is Border.MASK:
        logits = logits + _bias(grid.inside(), keys).repeat(1, len(keys)).unsqueeze(1)
    weights = softmax_with_sinks(logits, None if sinks is None else sinks.reshape(-1, 1))
    return grid.picture(weights @ grid.halos(values), batch, heads)


def softmax_with_sinks(logits: Tensor, sinks: Tensor | None) -> Tensor:
    """Over the last axis of `(..., queries, positions)`; `sinks` `(...)` join as a position that is left out again."""
    if sinks is None:
        return torch.softmax(logits, dim=-1)
    # sum(exp(l)) / (sum(exp(l)) + exp(sink)), without another copy of the logits
    rest = torch.sigmoid(torch.logsumexp(logits, dim=-1, keepdim=True) - sinks[..., None, None])
    return torch.softmax(logits, dim=-1) * rest


def sinks_of(sink: object, query: Tensor) -> Tensor | None:
    """`(B, heads)` of a sink: a number, one per head, or both per picture and head; None stays None.

    Raises:
        AttentionError: another shape.
    """
    if sink is None:
        return None
    sinks = torch.as_tensor(sink, dtype=query.dtype, device=query.device)
    wanted = int(query.shape[0]), int(query.shape[-2])
    shape = tuple(int(n) for n in sinks.shape)
    if shape not in ((), wanted[1:], wanted):
        raise AttentionError(f"sink wants a number, {wanted[1:]} or {wanted}, got {shape}; one per head")
    return sinks.expand(wanted)


def _window_bias(grid: _Grid, look: Look, keys: Tensor, valid: Tensor | None) -> Tensor:
    """`(tile^2, T * halo^2)`: 0 where a position of the halo lies in a query's window of a valid slot."""
    near = torch.stack([grid.near(look.window_of(slot)) for slot in range(len(keys))], dim=1)
    bias = _bias(near, keys)
    if valid is not None:
        bias = bias + _bias(valid, keys).unsqueeze(1)
    return bias.flatten(1)


def _bias(counts: Tensor, like: Tensor) -> Tensor:
    counts = counts.to(like.device)
    return torch.zeros(counts.shape, dtype=like.dtype, device=like.device).masked_fill(~counts, _NEVER)


@dataclass(frozen=True)
class _Grid:
    """A picture cut into query tiles, row by row, each with the halo of positions that its windows reach.

    Attributes:
        height: of the picture in cells; need not be a multiple of the tile.
        width: of the picture in cells.
        reach: cells that the largest window extends beyond a query.
    """

    height: int
    width: int
    reach: int

    @property
    def rows(self) -> int:
        return -(-self.height // _TILE)

    @property
    def columns(self) -> int:
        return -(-self.width // _TILE)

    @property
    def beyond(self) -> tuple[int, int]:
        """Cells that the tiles extend beyond the picture, downwards and to the right."""
        return self.rows * _TILE - self.height, self.columns * _TILE - self.width

    def tiles(self, x: Tensor) -> Tensor:
        """`(B, h, w, heads, d)` to `(B * heads, tiles, tile^2, d)`."""
        batch, _, _, heads, channels = (int(n) for n in x.shape)
        down, right = self.beyond
        x = F.pad(x, (0, 0, 0, 0, 0, right, 0, down))
        x = x.view(batch, self.rows, _TILE, self.columns, _TILE, heads, channels).permute(0, 5, 1, 3, 2, 4, 6)
        return x.reshape(batch * heads, self.rows * self.columns, _TILE**2, channels)

    def picture(self, x: Tensor, batch: int, heads: int) -> Tensor:
        """The tiles as they were, `(B, h, w, heads, d)`."""
        channels = int(x.shape[-1])
        x = x.view(batch, heads, self.rows, self.columns, _TILE, _TILE, channels).permute(0, 2, 4, 3, 5, 1, 6)
        x = x.reshape(batch, self.rows * _TILE, self.columns * _TILE, heads, channels)
        # the exporter cannot follow shapes through its own padding: they are said once more
        return x[:, : self.height, : self.width].reshape(batch, self.height, self.width, heads, channels)

    def halos(self, x: Tensor) -> Tensor:
        """`(T, B, h, w, heads, d)` to `(B * heads, tiles, T * halo^2, d)`, zeros outside the picture."""
        down, right = self.beyond
        x = F.pad(x, (0, 0, 0, 0, self.reach, self.reach + right, self.reach, self.reach + down))
        slots, batch, height, width, heads, channels = (int(n) for n in x.shape)
        x = x.permute(1, 4, 0, 2, 3, 5).reshape(-1, channels)
        row, column = self._axis(self.rows), self._axis(self.columns)
        cell = (row[:, None, :, None] * width + column[None, :, None, :]).view(self.rows * self.columns, 1, -1)
        cell = cell + torch.arange(slots)[:, None] * (height * width)
        picture = torch.arange(batch * heads)[:, None, None] * (slots * height * width)
        # as an embedding: torch sums the gradients of its rows up to twice as fast as those of indexing
        return F.embedding((picture + cell.flatten(1)).to(x.device), x)

    def near(self, window: int) -> Tensor:
        """`(tile^2, halo^2)` bool: does this position of the halo lie in this query's window."""
        axis = torch.arange(_TILE + 2 * self.reach) - self.reach - torch.arange(_TILE)[:, None]
        axis = axis.abs() <= window // 2
        return (axis[:, None, :, None] & axis[None, :, None, :]).view(_TILE**2, -1)

    def inside(self) -> Tensor:
        """`(tiles, halo^2)` bool: does this position of the halo lie in the picture."""
        row, column = (self._axis(tiles) - self.reach for tiles in (self.rows, self.columns))
        row, column = (row >= 0) & (row < self.height), (column >= 0) & (column < self.width)
        return (row[:, None, :, None] & column[None, :, None, :]).view(self.rows * self.columns, -1)

    def _axis(self, tiles: int) -> Tensor:
        """`(tiles, halo)` positions along one axis of the padded picture."""
        return torch.arange(tiles)[:, None] * _TILE + torch.arange(_TILE + 2 * self.reach)
