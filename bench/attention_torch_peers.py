# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention as others write it in torch, for the CPU bench and the GPU bench.

Each function takes query `(h, w, heads, dk)`, keys `(T, h, w, heads, dk)` and values `(T, h, w, heads, dv)`, on any
device, and a look with one window; it does what need be done once and returns the call that is to be timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vss_ros.attention.training import local_attention_dense
from vss_ros.core.look import Look

Call = Callable[[], Tensor]
TILE = 8  # cells; of FlexAttention's order of tokens and of the SDPA tiles
BAND = 4  # query rows that are unfolded at once; the whole picture would take 9 GB


def own_cells(h: int, w: int, device: Any) -> Tensor:
    """`(h, w, 2)` int32: row and column of each cell."""
    axes = (torch.arange(n, dtype=torch.int32, device=device) for n in (h, w))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def unfolded(query: Tensor, keys: Tensor, values: Tensor, look: Look, *, band: int = BAND) -> Call:
    """As most reimplementations write it: unfold, softmax, weighted sum, in bands of rows; one head."""
    h, w, _, dk = query.shape
    slots, window, reach = len(keys), look.windows[0], look.windows[0] // 2

    def call() -> Tensor:
        padded = [F.pad(x[..., 0, :].permute(0, 3, 1, 2), (reach,) * 4) for x in (keys, values)]
        out = []
        for top in range(0, h, band):
            rows = min(band, h - top)
            k, v = (
                F.unfold(x[:, :, top : top + rows + 2 * reach], window)
                .view(slots, -1, window**2, rows * w)
                .permute(3, 0, 2, 1)
                .reshape(rows * w, slots * window**2, -1)
                for x in padded
            )
            logits = query[top : top + rows].reshape(rows * w, 1, dk) @ k.transpose(1, 2) * look.scale
            out.append((torch.softmax(logits, -1) @ v).view(rows, w, -1))
        return torch.cat(out)[:, :, None]

    return call


def tiled_dense(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """Dense matrix products of 8x8 queries with their halo, as in training."""
    return lambda: local_attention_dense(query[None], keys[:, None], values[:, None], look)[0]


def sdpa_tiles(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """Dense attention of 8x8 queries with their halo under a mask; the gathering of halos is part of the time."""
    slots, h, w, heads, _ = keys.shape
    reach, down, right = look.windows[0] // 2, -h % TILE, -w % TILE
    halo, tall, wide = TILE + 2 * reach, (h + down) // TILE, (w + right) // TILE
    at, near = torch.arange(TILE), torch.arange(halo)
    axis = ((near - at[:, None] >= 0) & (near - at[:, None] <= 2 * reach)).to(query.device)
    mask = (axis[:, None, :, None] & axis[None, :, None, :]).reshape(TILE**2, halo**2).repeat(1, slots)

    def halos(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, reach, reach + right, reach, reach + down))
        x = x.unfold(1, halo, TILE).unfold(2, halo, TILE)  # (slots, tall, wide, heads, d, halo, halo)
        return x.permute(1, 2, 3, 0, 5, 6, 4).reshape(tall * wide, heads, slots * halo**2, -1)

    def call() -> Tensor:
        q = F.pad(query, (0, 0, 0, 0, 0, right, 0, down)).reshape(tall, TILE, wide, TILE, heads, -1)
        q = q.permute(0, 2, 4, 1, 3, 5).reshape(tall * wide, heads, TILE**2, -1)
        out = F.scaled_dot_product_attention(q, halos(keys), halos(values), mask, scale=look.scale)
        out = out.reshape(tall, wide, heads, TILE, TILE, -1).permute(0, 3, 1, 4, 2, 5)
        return out.reshape(tall * TILE, wide * TILE, heads, -1)[:h, :w]

    return call


def flex(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """FlexAttention compiled, tokens ordered by tiles of 8x8 cells, which leaves most blocks of its mask empty.

    It masks what lies outside the picture. The tokens are put in order before the clock starts.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    slots, h, w, heads, _ = keys.shape
    cells, reach = h * w, look.windows[0] // 2
    rows, columns = (own_cells(h, w, keys.device)[..., axis].reshape(-1) for axis in (0, 1))
    order = torch.argsort((rows // TILE * w + columns // TILE) * TILE**2 + rows % TILE * TILE + columns % TILE)
    rows, columns = rows[order], columns[order]

    def near(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((rows[q] - rows[k % cells]).abs() <= reach) & ((columns[q] - columns[k % cells]).abs() <= reach)

    block = TILE**2 if keys.device.type == "cpu" else 128  # the faster one on a CPU, and the default
    mask = create_block_mask(near, None, None, cells, slots * cells, device=keys.device.type, BLOCK_SIZE=block)
    q = query.reshape(1, cells, heads, -1)[:, order].transpose(1, 2).contiguous()
    k, v = (x.reshape(slots, cells, heads, -1)[:, order].flatten(0, 1).transpose(0, 1)[None] for x in (keys, values))
    k, v, back = k.contiguous(), v.contiguous(), torch.argsort(order)
    compiled = torch.compile(flex_attention, dynamic=False)  # or the second size is compiled for any, and slower
    return lambda: (
        compiled(q, k, v, block_mask=mask, scale=look.scale)[0].transpose(0, 1)[back].reshape(h, w, heads, -1)
    )


def three_passes(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """Correlation volume, softmax, weighted sum: each displacement of the picture written to memory and read again."""
    slots, h, w, heads, _ = keys.shape
    window, reach = look.windows[0], look.windows[0] // 2
    shifts = list(itertools.product(range(window), repeat=2))

    def call() -> Tensor:
        k = F.pad(keys, (0, 0, 0, 0, reach, reach, reach, reach))
        volume = query.new_empty(len(shifts), slots, h, w, heads)
        for logits, (y, x) in zip(volume, shifts, strict=True):
            torch.sum(query * k[:, y : y + h, x : x + w], -1, out=logits)
        return weighted_sum(torch.softmax((volume * look.scale).flatten(0, 1), 0).view_as(volume), values, window)

    return call


def correlation_sampler(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """The package spatial-correlation-sampler writes the correlation volume, as LMANet's code does; one head."""
    from spatial_correlation_sampler import spatial_correlation_sample

    (slots, h, w, heads, _), window = keys.shape, look.windows[0]
    q = query[..., 0, :].permute(2, 0, 1).expand(slots, -1, h, w).contiguous()
    k = keys[..., 0, :].permute(0, 3, 1, 2).contiguous()

    def call() -> Tensor:
        volume = spatial_correlation_sample(q, k, kernel_size=1, patch_size=window) * look.scale
        volume = volume.flatten(1, 2).transpose(0, 1).flatten(0, 1)
        weights = torch.softmax(volume, 0).view(window**2, slots, h, w, heads)
        return weighted_sum(weights, values, window)

    return call


def weighted_sum(weights: Tensor, values: Tensor, window: int) -> Tensor:
    """Weights `(displacements, T, h, w, heads)`, values `(T, h, w, heads, dv)`: `(h, w, heads, dv)` float32."""
    slots, h, w, heads, dv = values.shape
    reach = window // 2
    v = F.pad(values, (0, 0, 0, 0, reach, reach, reach, reach))
    seen = torch.zeros(slots, h, w, heads, dv, dtype=torch.float32, device=values.device)
    for weight, (y, x) in zip(weights, itertools.product(range(window), repeat=2), strict=True):
        seen += weight[..., None] * v[:, y : y + h, x : x + w]
    return seen.sum(0)


def natten_merged(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Call:
    """NATTEN slot by slot, merged by the logarithms of the sums; at borders its window moves inwards.

    On a CPU it wants as many channels in the keys as in the values: the keys get zeros.
    """
    from natten.functional import na2d

    more = values.shape[-1] - keys.shape[-1]
    q, ks = (F.pad(x, (0, more)) for x in (query, keys))

    def call() -> Tensor:
        one = [
            na2d(q[None], k[None], v[None], look.windows[0], scale=look.scale, return_lse=True)
            for k, v in zip(ks, values, strict=True)
        ]
        outs, sums = (torch.stack(parts) for parts in zip(*one, strict=True))
        return (torch.softmax(sums, 0)[..., None] * outs).sum(0)[0]

    return call
