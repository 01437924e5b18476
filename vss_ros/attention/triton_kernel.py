# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N803  compile-time constants are in capitals, as is the habit in Triton
"""Local attention on a GPU: one kernel for every mode, and a small one that merges a read split over slots.

A program takes a block of queries (8x8 cells of their grid, or 64 in a row of a list), one head and one chunk of
the value channels. For each of its slots it walks the bounding box of the block's windows in small key tiles:

    logits  = q k^T                                  (64 x 64 matrix product)
    weights = 2^(logits - top), 0 outside a window   (online softmax: `top` is the largest logit so far)
    seen    = seen 2^(old top - top) + weights v     (64 x channels matrix product)

so that the weights of the whole window never exist. Three modes need no code of their own:

* A list of queries is a grid 8 columns wide: 64 queries in a row are an 8x8 block of it.
* A sink is where the softmax starts: `top` is its logit, the sum of weights 1, the value 0. No sink is a sink at -1e30,
  which the first logit makes vanish; a query that sees nothing at all keeps it, and reads 0. (Finite, because the
  difference of two of them has to be 0.)
* ZERO borders are a sum: n positions outside the picture have logit 0 and value 0, thus weigh n 2^(0 - top).

Logits are in units of log 2 throughout: the caller multiplies `scale` and `sink` by log2(e), and exp2 is one
instruction. Offsets inside a slot are 32 bit (a slot has fewer than 2^31 elements), between slots 64 bit.
`triton_launch.py` calls these kernels on torch tensors, `ptx_loader.py` on raw pointers without Triton.
"""

from __future__ import annotations

from typing import Any

try:
    import triton.language as tl
    from triton import jit
except ImportError:  # the module still imports where Triton is absent; `triton_launch.why_not` says what is missing

    def jit(**_: Any) -> Any:
        return lambda kernel: kernel


@jit(do_not_specialize=("queries", "slots", "parts"))
def local_read(
    query,  # (queries, heads, DK)
    keys,  # (T, height, width, heads, DK)
    values,  # (T, height, width, heads, DV)
    centres,  # (queries, 2) int32 (row, column), read where `moved`
    table,  # (slots, 2) int32: number of a slot in `keys`, reach of its window (window // 2)
    sink,  # (heads,) float32 logit, -1e30 for none
    out,  # (queries, heads, DV), written where `parts` is 1
    partial,  # (parts, queries, heads, DV) float32, written where `parts` is more: results of some slots each
    partial_log,  # (parts, queries, heads) float32: log2 of their summed weights
    queries,
    query_width,  # columns of their grid, QUERY_COLUMNS for a list
    height,
    width,
    heads,
    slots,
    parts,
    zero_border,  # 1: positions outside the picture have logit 0 and value 0; 0: they do not exist
    moved,  # 1: windows lie about `centres`; 0: about each query's own cell
    scale,
    DK: tl.constexpr,
    DV: tl.constexpr,
    DK_BLOCK: tl.constexpr,  # the next power of two, at least 16
    DV_BLOCK: tl.constexpr,  # channels of a chunk, a power of two
    QUERY_ROWS: tl.constexpr,
    QUERY_COLUMNS: tl.constexpr,
    KEY_ROWS: tl.constexpr,
    KEY_COLUMNS: tl.constexpr,
):
    """Grid: (blocks of queries, heads * chunks of value channels, parts)."""
    chunks: tl.constexpr = (DV + DV_BLOCK - 1) // DV_BLOCK
    head, first, part = tl.program_id(1) // chunks, tl.program_id(1) % chunks * DV_BLOCK, tl.program_id(2)
    at, live, row, column = _block(centres, moved, queries, query_width, QUERY_ROWS, QUERY_COLUMNS)
    box = _bounding_box(row, column, live)
    at = at.to(tl.int64) * heads + head
    q = _rows(query, at, live, 0, DK, DK_BLOCK)

    total = tl.full([QUERY_ROWS * QUERY_COLUMNS], 1.0, tl.float32)
    top = total * tl.load(sink + head, mask=part == 0, other=-1e30)
    seen = tl.zeros([QUERY_ROWS * QUERY_COLUMNS, DV_BLOCK], tl.float32)
    outside = tl.zeros_like(total)
    for entry in range(part, slots, parts):
        slot = tl.load(table + 2 * entry).to(tl.int64) * height * width * heads + head
        reach = tl.load(table + 2 * entry + 1)
        k, v = keys + slot * DK, values + slot * DV
        top, total, seen = _read_slot(
            q, k, v, row, column, box, reach, height, width, heads, scale, top, total, seen,
            first, DK, DV, DK_BLOCK, DV_BLOCK, KEY_ROWS, KEY_COLUMNS,
        )  # fmt: skip
        outside += _outside(row, column, reach, height, width)
    top, total, seen = _weigh_zeros(outside * zero_border, top, total, seen)

    seen = seen / total[:, None]
    if parts == 1:
        _store(out, at, live, first, seen, DV, DV_BLOCK)
    else:
        at += part.to(tl.int64) * queries * heads
        _store(partial, at, live, first, seen, DV, DV_BLOCK)
        tl.store(partial_log + at, top + tl.log2(total), mask=live & (first == 0))


@jit()
def _block(centres, moved, queries, query_width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """This program's queries: their places in memory, which of them exist, row and column of their windows' centres."""
    number, lane = tl.program_id(0), tl.arange(0, ROWS * COLUMNS)
    across = tl.cdiv(query_width, COLUMNS)
    row = number // across * ROWS + lane // COLUMNS
    column = number % across * COLUMNS + lane % COLUMNS
    at = row * query_width + column
    live = (column < query_width) & (at < queries)
    row = tl.load(centres + 2 * at, mask=live & (moved != 0), other=row)
    column = tl.load(centres + 2 * at + 1, mask=live & (moved != 0), other=column)
    far = 1 << 28  # cells; also of a broken motion vector the sums with a reach stay within 32 bits
    return at, live, tl.minimum(tl.maximum(row, -far), far), tl.minimum(tl.maximum(column, -far), far)


@jit()
def _rows(base, at, live, first, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """`(len(at), BLOCK)`: channels from `first` on of the rows `at`, zeros where a row or channel does not exist."""
    channel = first + tl.arange(0, BLOCK)
    exists = live[:, None] & (channel < WIDTH)[None, :]
    return tl.load(base + at[:, None] * WIDTH + channel[None, :], mask=exists, other=0.0)


@jit()
def _store(base, at, live, first, rows, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """The reverse of `_rows`, in the dtype of `base`."""
    channel = first + tl.arange(0, BLOCK)
    exists = live[:, None] & (channel < WIDTH)[None, :]
    tl.store(base + at[:, None] * WIDTH + channel[None, :], rows.to(base.dtype.element_ty), mask=exists)


@jit()
def _bounding_box(row, column, live):
    """First and last row, first and last column of the centres of the queries that exist."""
    y0, y1 = tl.min(tl.where(live, row, 1 << 28)), tl.max(tl.where(live, row, -(1 << 28)))
    x0, x1 = tl.min(tl.where(live, column, 1 << 28)), tl.max(tl.where(live, column, -(1 << 28)))
    return y0, y1, x0, x1


@jit()
def _outside(row, column, reach, height, width):
    """How many positions of the window about each query lie outside the picture, float32."""
    rows = tl.minimum(row + reach, height - 1) - tl.maximum(row - reach, 0) + 1
    columns = tl.minimum(column + reach, width - 1) - tl.maximum(column - reach, 0) + 1
    side = (2 * reach + 1).to(tl.float32)
    return side * side - tl.maximum(rows, 0).to(tl.float32) * tl.maximum(columns, 0).to(tl.float32)


@jit()
def _read_slot(
    q, keys, values, row, column, box, reach, height, width, heads, scale, top, total, seen,
    first, DK: tl.constexpr, DV: tl.constexpr, DK_BLOCK: tl.constexpr, DV_BLOCK: tl.constexpr,
    KEY_ROWS: tl.constexpr, KEY_COLUMNS: tl.constexpr,
):  # fmt: skip
    """The online softmax over one slot: the state (`top`, `total`, `seen`) after all keys of the block's windows."""
    y0, y1 = tl.maximum(box[0] - reach, 0), tl.minimum(box[1] + reach, height - 1)
    x0, x1 = tl.maximum(box[2] - reach, 0), tl.minimum(box[3] + reach, width - 1)
    lane = tl.arange(0, KEY_ROWS * KEY_COLUMNS)
    for left in range(x0, x1 + 1, KEY_COLUMNS):
        x = left + lane % KEY_COLUMNS
        near = (tl.abs(column[:, None] - x[None, :]) <= reach) & (x <= x1)[None, :]
        beside = tl.where(near, 0.0, float("-inf"))  # added to logits, which costs nothing
        for above in range(y0, y1 + 1, KEY_ROWS):
            y = above + lane // KEY_COLUMNS
            inside = (y <= y1) & (x <= x1)
            at = (y * width + x) * heads
            k = _rows(keys, at, inside, 0, DK, DK_BLOCK)
            v = _rows(values, at, inside, first, DV, DV_BLOCK)

            logits = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale + beside
            near = tl.abs(row[:, None] - tl.where(y <= y1, y, 1 << 29)[None, :]) <= reach
            logits = tl.where(near, logits, float("-inf"))
            new_top = tl.maximum(top, tl.max(logits, 1))
            weights = tl.exp2(logits - new_top[:, None])
            shrink = tl.exp2(top - new_top)
            total = total * shrink + tl.sum(weights, 1)
            seen = tl.dot(weights.to(v.dtype), v, seen * shrink[:, None], input_precision="tf32x3")
            top = new_top
    return top, total, seen


@jit()
def _weigh_zeros(count, top, total, seen):
    """The state after `count` more positions (float32, may be 0) of logit 0 and value 0."""
    new_top = tl.where(count > 0, tl.maximum(top, 0.0), top)
    shrink = tl.exp2(top - new_top)
    return new_top, total * shrink + count * tl.exp2(-tl.maximum(new_top, 0.0)), seen * shrink[:, None]


@jit(do_not_specialize=("rows", "parts"))
def merge_parts(
    partial,  # (parts, rows, DV) float32
    partial_log,  # (parts, rows) float32
    out,  # (rows, DV)
    rows,  # queries * heads
    parts,
    DV: tl.constexpr,
    DV_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The parts of a read as one: their mean, weighted by 2^partial_log. Grid: (blocks of ROWS rows, chunks)."""
    at = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live, first = at < rows, tl.program_id(1) * DV_BLOCK
    top = tl.load(partial_log + at, mask=live, other=0.0)
    row = at
    for _ in range(1, parts):
        row += rows
        top = tl.maximum(top, tl.load(partial_log + row, mask=live, other=0.0))

    total = tl.zeros([ROWS], tl.float32)
    seen = tl.zeros([ROWS, DV_BLOCK], tl.float32)
    row = at
    for _ in range(parts):
        weight = tl.exp2(tl.load(partial_log + row, mask=live, other=0.0) - top)
        total += weight
        seen += weight[:, None] * _rows(partial, row, live, first, DV, DV_BLOCK)
        row += rows
    _store(out, at, live, first, seen / total[:, None], DV, DV_BLOCK)
