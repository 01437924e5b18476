# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Local attention on torch tensors of a CUDA device, compiled by Triton on the first call of a size."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vss_ros.attention import triton_kernel
from vss_ros.attention.check import check_centres, check_look, check_shapes, checked_logits, checked_valid
from vss_ros.attention.triton_plan import (
    DTYPES,
    FARTHEST,
    LOG2_E,
    MOST_KEY_CHANNELS,
    NO_SINK,
    Grid,
    Read,
    Tiles,
    sink_entries,
    table_entries,
    tiles,
)
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

if TYPE_CHECKING:
    from torch import Tensor, device


def attend_triton(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    centres: Tensor | None = None,
    sink: Tensor | Sequence[float] | float | None = None,
    out: Tensor | None = None,
    parts: int | None = None,
) -> Tensor:
    """`vss_ros.attention.local_attention` on a GPU, queued on the current stream.

    Products of half-precision inputs are summed in float32, the softmax is float32, and weights are rounded to the
    dtype of the values before they meet them. A NaN or infinity among the values also reaches queries up to a query
    block and a key tile beyond its window (in slots that are not valid it reaches nobody). May be recorded in a
    CUDA graph after one call with the same arguments.

    Args:
        query: `(h, w, heads, dk)` float16, bfloat16 or float32. With centres the h and w of the queries need not be
            those of the keys, and a list `(N, heads, dk)` will do, even an empty one; of a list 64 queries in a row
            share the walk over their windows, so neighbours belong together.
        keys: `(T, h, w, heads, dk)` in the same dtype, read in place where contiguous.
        values: `(T, h, w, heads, dv)` in the same dtype, read in place where contiguous.
        look: windows (one, or one per slot), border rule and scale of the logits.
        valid: `(T,)` bool on the host, which slots take part; the others are never read. None = all.
        centres: `(h, w, 2)` or, of a list, `(N, 2)` int32 (int64 costs a copy): row and column of the cell that each
            query's windows are about, in the picture or outside. None = the query's own cell.
        sink: a logit with value 0 that joins every softmax, one for all heads or `(heads,)`; a tensor on the device is
            not looked at, and is multiplied there. None or -inf = none.
        out: contiguous, in the shape of the result and the dtype of the query or float32; None = a new tensor.
        parts: number of programs among which the slots of a query are split; None = as many as fill the GPU.

    Returns:
        `(h, w, heads, dv)` or `(N, heads, dv)` in the dtype of the query; `out` where it was given. A query with no
        position of its windows in the picture recalls 0.

    Raises:
        AttentionError: shapes, dtypes or options do not fit, no slot is valid, or Triton or the GPU is missing.
    """
    _check(query, keys, values, look, centres)
    slots, height, width, heads, dk = keys.shape
    numbers = np.flatnonzero(checked_valid(valid, slots)).tolist()
    grid = Grid.of(tuple(query.shape[:-2]), height, width, heads, len(numbers))
    out = _out(out, query, (*query.shape[:-1], values.shape[-1]))
    if grid.queries == 0:
        return out
    capability, processors = _gpu(query.device)
    cut = tiles(_dtype(query), dk, values.shape[-1], capability)
    parts = _checked_parts(parts, grid.slots) or grid.parts(cut, processors)
    table = _table(query.device, table_entries(look, numbers))
    _launch(query, keys, values, look, centres, table, _sink(sink, heads, query.device), out, grid, cut, parts)
    return out


def why_not(device: str) -> str:
    """Why `attend_triton` cannot be used on tensors of this type of device; an empty string if it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device != "cuda" and not _interpreted():
        return f"the GPU kernel wants tensors on a CUDA device, got {device}"
    return ""


def _launch(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    centres: Tensor | None,
    table: Tensor,
    sink: Tensor,
    out: Tensor,
    grid: Grid,
    cut: Tiles,
    parts: int,
) -> None:
    """Queue the kernels of a checked read."""
    import torch

    partial, partial_log = (torch.empty(count, device=out.device) for count in grid.partial_floats(cut, parts))
    read = Read(
        query=query.contiguous(),
        keys=keys.contiguous(),
        values=values.contiguous(),
        centres=None if centres is None else _int32(centres),
        table=table,
        sink=sink,
        out=out,
        partial=partial,
        partial_log=partial_log,
        grid=grid,
        parts=parts,
        zero_border=look.border is Border.ZERO,
        scale=look.scale,
    )
    with torch.cuda.device(out.device) if out.is_cuda else contextlib.nullcontext():
        programs = grid.read_programs(cut, parts)
        triton_kernel.local_read[programs](*read.read_arguments(), **cut.read_constants(), **cut.read_options())
        if parts > 1:
            programs, constants = grid.merge_programs(cut), cut.merge_constants()
            triton_kernel.merge_parts[programs](*read.merge_arguments(), **constants, **cut.merge_options())


def _interpreted() -> bool:
    """Whether Triton runs kernels in Python, on tensors of the CPU (for tests)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _check(query: Tensor, keys: Tensor, values: Tensor, look: Look, centres: Tensor | None) -> None:
    refused = why_not(query.device.type)
    if refused:
        raise AttentionError(f"{refused}; use vss_ros.attention.local_attention on the CPU")
    check_shapes(tuple(query.shape), tuple(keys.shape), tuple(values.shape), moved=centres is not None)
    slots, dk = keys.shape[0], keys.shape[-1]
    dtypes = [_dtype(x) for x in (query, keys, values)]
    if len({*dtypes}) > 1 or dtypes[0] not in DTYPES:
        raise AttentionError(f"query, keys and values want one dtype of {', '.join(DTYPES)}, got {', '.join(dtypes)}")
    most = MOST_KEY_CHANNELS[dtypes[0]]
    if dk > most:
        raise AttentionError(
            f"the GPU kernel wants at most {most} key channels in {dtypes[0]}, got {dk}; project them, or use float16"
        )
    if centres is not None:
        check_centres(tuple(centres.shape), _dtype(centres), tuple(query.shape[:-2]))
    check_look(look, slots)
    given = [query, keys, values, *([] if centres is None else [centres])]
    if len({x.device for x in given}) > 1:
        raise AttentionError(f"all tensors want one device, got {', '.join(str(x.device) for x in given)}")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _checked_parts(parts: int | None, slots: int) -> int | None:
    if parts is not None and not 1 <= parts <= slots:
        raise AttentionError(f"parts wants 1 to {slots}, the number of valid slots, got {parts}; pass None")
    return parts


def _out(out: Tensor | None, query: Tensor, shape: tuple[int, ...]) -> Tensor:
    if out is None:
        return query.new_empty(shape)
    fits = out.dtype == query.dtype or str(out.dtype) == "torch.float32"
    if tuple(out.shape) != shape or not fits or not out.is_contiguous() or out.device != query.device:
        raise AttentionError(
            f"out wants contiguous {shape} {query.dtype} or float32 on {query.device}, "
            f"got {tuple(out.shape)} {out.dtype} on {out.device}; pass None for a new tensor"
        )
    return out


def _sink(sink: Tensor | Sequence[float] | float | None, heads: int, where: device) -> Tensor:
    """`(heads,)` float32 on the device, in the units of the kernel."""
    import torch

    if not isinstance(sink, torch.Tensor):
        return _host_sink(where, sink_entries(checked_logits(sink, heads)))
    if tuple(sink.shape) not in ((), (heads,)):
        raise AttentionError(f"sink wants a number or ({heads},), got shape {tuple(sink.shape)}; give one per head")
    return (sink.detach().to(where, torch.float32) * LOG2_E).clamp(min=NO_SINK).expand(heads).contiguous()


@functools.lru_cache(maxsize=64)
def _host_sink(where: device, entries: tuple[float, ...]) -> Tensor:
    import torch

    return torch.tensor(entries, dtype=torch.float32, device=where)


def _int32(centres: Tensor) -> Tensor:
    import torch

    if centres.dtype != torch.int32:
        centres = centres.clamp(-FARTHEST, FARTHEST).to(torch.int32)
    return centres.contiguous()


@functools.lru_cache(maxsize=256)
def _table(where: device, entries: tuple[tuple[int, int], ...]) -> Tensor:
    """Numbers and reaches on the device; kept, because an upload costs more than a read."""
    import torch

    return torch.tensor(entries, dtype=torch.int32, device=where)


@functools.lru_cache
def _gpu(where: device) -> tuple[int, int]:
    """Compute capability (87 for 8.7) and number of processors."""
    import torch

    if where.type != "cuda":
        return 90, 1
    about = torch.cuda.get_device_properties(where)
    return 10 * about.major + about.minor, about.multi_processor_count
