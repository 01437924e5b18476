# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention on a GPU: right in every mode, and how fast beside its peers on the same inputs in one run.

    python bench/gpu_attention.py [--json FILE] [--quick] [--tune]

Wants a CUDA device and Triton. First every mode is compared with the definition in float64; a wrong one ends the run.
Times are the median of turns, each a CUDA graph of several calls (`eager`: launched from Python one by one); memory is
as warm as the calls before left it. Useful products only: 2 * (dk + dv) for every (query, slot, displacement) inside
the picture. FlexAttention masks what lies outside the picture; all others read it as zeros.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from attention_problem import SIZES as CPU_SIZES
from attention_problem import Size
from attention_torch_peers import flex, own_cells, sdpa_tiles, three_passes
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vss_ros.attention import triton_launch
from vss_ros.attention.ptx_loader import PtxAttention
from vss_ros.attention.triton_launch import attend_triton
from vss_ros.attention.triton_plan import NO_SINK, Grid, Read, Tiles, tiles
from vss_ros.cli.options import write_json
from vss_ros.core.look import Border, Look

Arrays = tuple[Tensor, Tensor, Tensor]
Contender = Callable[[], Tensor]
OURS = "vss_ros"
CALLS = 10  # in a CUDA graph
TOLERANCES = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5}  # of the largest magnitude


@dataclasses.dataclass(frozen=True)
class GpuSize(Size):
    """One problem with its tensors."""

    def tensors(self, device: str, dtype: torch.dtype, heads: int = 1) -> Arrays:
        """Query, keys and values; logits of a few units, as in trained networks."""
        generator = torch.Generator(device).manual_seed(0)
        grid = (self.h, self.w, heads)
        shapes = (*grid, self.dk), (self.slots, *grid, self.dk), (self.slots, *grid, self.dv)
        query, keys, values = (torch.randn(shape, device=device, generator=generator) for shape in shapes)
        return (query * self.dk**-0.5).to(dtype), keys.to(dtype), values.to(dtype)


SIZES = (
    *(GpuSize(**dataclasses.asdict(size)) for size in CPU_SIZES),
    GpuSize("LMANet-PSP 64x128", 64, 128, 3, 21, 128, 2048),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one size; `max_error` is relative to the largest value of the definition."""

    size: str
    contender: str
    median_us: float
    useful_tflop_s: float
    times_ours: float
    max_error: float


def definition(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    *,
    valid: Any = None,
    centres: Tensor | None = None,
    sink: float | None = None,
) -> Tensor:
    """Local attention in float64, one slot and displacement of all queries at a time, as an online softmax."""
    slots, h, w, heads, _ = keys.shape
    at = (own_cells(h, w, keys.device) if centres is None else centres).reshape(-1, 2).long()
    q = query.reshape(len(at), heads, -1).double()
    top = torch.full(q.shape[:2], -torch.inf if sink is None else sink, dtype=q.dtype, device=q.device)
    total = torch.full_like(top, 0.0 if sink is None else 1.0)
    seen = q.new_zeros(len(at), heads, values.shape[-1])
    for slot in range(slots) if valid is None else np.flatnonzero(valid).tolist():
        reach = look.window_of(slot) // 2
        for shift in itertools.product(range(-reach, reach + 1), repeat=2):
            y, x = (at + torch.tensor(shift, device=at.device)).unbind(-1)
            inside = ((y >= 0) & (y < h) & (x >= 0) & (x < w))[:, None]
            y, x = y.clamp(0, h - 1), x.clamp(0, w - 1)
            logit = look.scale * (q * keys[slot, y, x]).sum(-1)
            logit = logit.where(inside, torch.tensor(0.0 if look.border is Border.ZERO else -torch.inf).to(logit))
            new_top = torch.maximum(top, logit)
            base = new_top.where(new_top > -torch.inf, torch.zeros_like(top))
            weight, shrink = (logit - base).exp(), (top - base).exp()
            total = total * shrink + weight
            seen = seen * shrink[..., None] + (weight * inside)[..., None] * values[slot, y, x]
            top = new_top
    seen = seen / total.where(total > 0, torch.ones_like(total))[..., None]
    return seen.reshape(*query.shape[:-1], -1)


def error(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted).abs().max() / wanted.abs().max())


def modes(device: str, dtype: torch.dtype) -> Iterator[tuple[str, Arrays, Look, dict[str, Any]]]:
    """Name, arrays, look and options of a call in every mode."""
    size = GpuSize("", 33, 50, 3, 9, 32, 64)
    arrays, (query, keys, values) = size.tensors(device, dtype, 2), size.tensors(device, dtype, 2)
    cells = own_cells(33, 50, device)
    moved = cells + torch.randint(-9, 10, cells.shape, dtype=torch.int32, device=device)
    picked = torch.rand(33, 50, device=device) < 0.2
    few = (query[picked], keys, values)
    for border in Border:
        yield f"dense {border.value}", arrays, Look(9, border), {}
        yield f"centres {border.value}", arrays, Look(9, border), {"centres": moved}
        yield f"list {border.value}", few, Look((9, 5, 1), border), {"centres": moved[picked]}
        yield f"sink {border.value}", arrays, Look((3, 9, 5), border), {"sink": 0.7}
        yield f"global {border.value}", GpuSize("", 9, 20, 2, 41, 32, 64).tensors(device, dtype), Look(41, border), {}
    yield "ring with a hole", arrays, Look(9), {"valid": np.array([True, False, True])}
    for dk, dv in ((16, 64), (128, 512), (21, 77)):
        yield f"dk {dk} dv {dv}", GpuSize("", 20, 41, 2, 9, dk, dv).tensors(device, dtype), Look(9), {}


def check_modes(device: str) -> dict[str, float]:
    """The error of every mode, dtype and split; exits where one is too large."""
    errors = {}
    for dtype, tolerance in TOLERANCES.items():
        for name, arrays, look, options in modes(device, dtype):
            wanted = definition(*arrays, look, **options)
            for parts in (1, 2):
                full = f"{name}, {dtype}, {parts} parts"
                errors[full] = error(attend_triton(*arrays, look, parts=parts, **options), wanted)
                if not errors[full] < tolerance:
                    sys.exit(f"wrong: {full} has a relative error of {errors[full]:.1e}, at most {tolerance} is right")
    return errors


def shipped_ptx(query: Tensor, keys: Tensor, values: Tensor, look: Look) -> Contender:
    """Our kernel from the PTX of the package, launched through the driver without Triton."""
    slots, h, w, heads, dk = keys.shape
    attention = PtxAttention(str(query.dtype).removeprefix("torch."), dk, values.shape[-1])
    grid = Grid.of((h, w), h, w, heads, slots)
    entries = [(slot, look.window_of(slot) // 2) for slot in range(slots)]
    table = torch.tensor(entries, dtype=torch.int32, device=query.device)
    sink = torch.full((heads,), NO_SINK, device=query.device)
    out = query.new_empty(h, w, heads, values.shape[-1])
    scratch = [torch.empty(count, dtype=torch.uint8, device=query.device) for count in attention.scratch_bytes(grid)]
    held = query, keys, values, table, sink, out, *scratch
    q, k, v, *rest, partial, partial_log = (x.data_ptr() for x in held)
    zero, parts = look.border is Border.ZERO, attention.parts(grid)
    read = Read(q, k, v, None, rest[0], rest[1], rest[2], partial, partial_log, grid, parts, zero, look.scale)

    def call() -> Tensor:
        attention(read, torch.cuda.current_stream().cuda_stream)
        return held[5]  # `out`; addresses do not keep the others

    return call


def contenders(arrays: Arrays, size: GpuSize, quick: bool) -> Iterator[tuple[str, Border, Callable[[], Contender]]]:
    """Name, border rule and what makes the call ready; ours first."""
    look = Look(size.window)
    ours = functools.partial(attend_triton, *arrays, look)
    yield OURS, Border.ZERO, lambda: ours
    for parts in (1, 2, size.slots):
        yield f"{OURS}, {parts} parts", Border.ZERO, functools.partial(functools.partial, ours, parts=parts)
    yield f"{OURS}, shipped PTX", Border.ZERO, lambda: shipped_ptx(*arrays, look)
    yield "FlexAttention compiled", Border.MASK, lambda: flex(*arrays, look)
    yield "SDPA tiles", Border.ZERO, lambda: sdpa_tiles(*arrays, look)
    if not quick:
        yield "three passes", Border.ZERO, lambda: three_passes(*arrays, look)


def median_us(call: Callable[[], Any], turns: int, *, graph: bool = True) -> float:
    """Of one call in microseconds; in a CUDA graph where that can be had."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    replay, calls = call, 1
    if graph:
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            for _ in range(CALLS):
                call()
        replay, calls = recorded.replay, CALLS
    times = []
    for _ in range(turns + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end) / calls)
    return statistics.median(times[1:])


def measure(size: GpuSize, device: str, turns: int, quick: bool) -> list[Row]:
    arrays = size.tensors(device, torch.float16)
    wanted = {border: definition(*arrays, Look(size.window, border)) for border in Border}
    rows: list[Row] = []
    for name, border, prepare in contenders(arrays, size, quick):
        try:
            call = prepare()
            wrong = error(call(), wanted[border])
            found = {name: median_us(call, turns)}
            if name == OURS:
                found[f"{OURS}, eager"] = median_us(call, turns, graph=False)
        except Exception as refused:  # of any library: a size it does not take, or too little memory
            Console(stderr=True).print(f"{size.name}: no {name}: {str(refused).splitlines()[0][:200]}")
            continue
        for full, us in found.items():
            ours = rows[0].median_us if rows else us
            rows.append(Row(size.name, full, us, 1e-6 * size.useful_flop(size.cells()) / us, us / ours, wrong))
    return rows


def tune(size: GpuSize, device: str) -> list[dict[str, Any]]:
    """Ours with other tiles than those of `triton_plan.tiles`, fastest first."""
    arrays, base = size.tensors(device, torch.float16), tiles("float16", size.dk, size.dv)
    found = []
    chunks = [block for block in (64, 128, 256) if block <= size.dv]
    for block, rows, warps, stages, registers in itertools.product(chunks, (1, 2, 4), (4, 8), (1, 2, 3), (None, 200)):
        cut = Tiles(base.dk, base.dv, block, rows, 32, warps, stages, registers)
        with mock.patch.object(triton_launch, "tiles", lambda *_, cut=cut: cut):
            for parts in {1, 2, size.slots}:
                try:
                    call = functools.partial(attend_triton, *arrays, Look(size.window), parts=parts)
                    us = median_us(call, 10)
                except Exception as refused:  # Triton's own errors for what does not fit the GPU have no common class
                    Console(stderr=True).print(f"{cut}: {type(refused).__name__}")
                    break
                found.append({"size": size.name, "us": us, "parts": parts, **dataclasses.asdict(cut)})
    return sorted(found, key=lambda one: float(one["us"]))


def yardsticks(device: str) -> dict[str, float]:
    """What the machine does at best: copying memory, and half-precision matrix products."""
    source = torch.empty(2**29, dtype=torch.float16, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / median_us(lambda: target.copy_(source), 20, graph=False)
    a, b = (torch.randn(8192, 8192, dtype=torch.float16, device=device) for _ in range(2))
    product = torch.empty_like(a)
    multiplied = 2 * 8192**3 / median_us(lambda: torch.mm(a, b, out=product), 20, graph=False)
    return {"copy_gb_s": 1e-3 * copied, "matmul_tflop_s": 1e-6 * multiplied}


def show(rows: list[Row], title: str) -> None:
    table = Table(title=title)
    for heading in ("size", "contender", "median us", "useful TFLOP/s", "times ours", "max error"):
        table.add_column(heading, justify="left" if heading in ("size", "contender") else "right")
    for row in rows:
        figures = (f"{row.median_us:.1f}", f"{row.useful_tflop_s:.1f}", f"{row.times_ours:.2f}", f"{row.max_error:.1e}")
        table.add_row(row.size, row.contender, *figures)
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="few turns, without the three passes")
    parser.add_argument("--tune", action="store_true", help="also try other tiles (minutes)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench/gpu_attention.py wants a CUDA device, torch finds none; bench/attention.py measures the CPU.")
    if importlib.util.find_spec("triton") is None:
        sys.exit("bench/gpu_attention.py wants Triton, which is not installed; run pip install triton.")
    device, gpu = "cuda", torch.cuda.get_device_properties(0)
    errors = check_modes(device)
    best = yardsticks(device)
    rows = [row for size in SIZES for row in measure(size, device, 5 if options.quick else 20, options.quick)]
    show(rows, f"local attention, half precision, {gpu.name}; " + ", ".join(f"{k} {v:.0f}" for k, v in best.items()))
    tuned = [one for size in SIZES[:2] for one in tune(size, device)[:10]] if options.tune else []
    Console().print(*tuned, sep="\n")
    if options.json:
        target = {row.contender: row for row in rows if row.size == SIZES[0].name}
        figures = {
            "target_us": target[OURS].median_us,
            "times_ours": {name: row.times_ours for name, row in target.items()},
            **best,
            "gpu": {name: getattr(gpu, name) for name in ("name", "major", "minor", "multi_processor_count")},
            "torch": torch.__version__,
            "rows": [dataclasses.asdict(row) for row in rows],
            "errors": errors,
            "tuned": tuned,
        }
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
