# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention beside plain torch and beside the machine's matrix product, on the same inputs in one run.

    python bench/attention.py [--json FILE] [--threads N] [--quick]

Contenders take turns, so that a busy machine slows all alike; the best turn of each counts. Useful products only:
2 * (dk + dv) for every (query, slot, displacement) inside the picture. `share of sgemm` is the rate of useful products
over the rate of the faster one of numpy's and torch's float32 matrix product with as many threads. With one thread
the clock counts CPU time, which other jobs on the machine do not reach; with more it is the wall clock.

Two rows are not the dense read: a list of half of the queries, drawn at random, and windows moved by up to 3 cells, at
random for each query, which is harder than any motion of a camera. Their useful products are those of their windows.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.attention import cpu, explain, local_attention, reference
from vss_ros.cli.options import write_json
from vss_ros.core.look import Look

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

Contender = Callable[[], Any]
OURS, LISTED, MOVED = "vss_ros", "vss_ros, listed", "vss_ros, moved"
NOT_PEERS = OURS, LISTED, MOVED, "numpy reference"
SAMPLE = 41  # one of so many listed or moved queries is compared with the definition
SGEMM = 1536  # rows and columns of the matrix product
BAND = 4  # query rows that torch unfolds at once; the whole picture would take 9 GB


@dataclass(frozen=True)
class Size:
    """One problem; `window` is a diameter in cells."""

    name: str
    h: int
    w: int
    slots: int
    window: int
    dk: int
    dv: int

    def cells(self) -> Any:
        """`(h, w, 2)`, row and column of each."""
        return np.moveaxis(np.indices((self.h, self.w)), 0, -1)

    def useful_flop(self, centres: Any) -> float:
        """Of the products with keys and values inside the picture, in windows about `(..., 2)` cells."""
        seen, reach = np.ones(centres.shape[:-1]), self.window // 2
        for axis, cells in enumerate((self.h, self.w)):
            at = centres[..., axis]
            seen *= np.maximum(np.minimum(cells - 1, at + reach) - np.maximum(0, at - reach) + 1, 0)
        return 2.0 * (self.dk + self.dv) * self.slots * float(seen.sum())


SIZES = (
    Size("target", 64, 128, 4, 21, 32, 128),
    Size("LMANet-ERF 64x128", 64, 128, 4, 21, 16, 64),
    Size("LMANet-ERF CamVid 45x60", 45, 60, 4, 21, 16, 64),
)


@dataclass(frozen=True)
class Row:
    """One contender at one size; times are the best of its turns, `max_error` is relative to the largest value."""

    size: str
    contender: str
    threads: int
    best_ms: float
    useful_gflop_s: float
    share_of_sgemm: float
    times_ours: float
    max_error: float


def unfold_read(query: Any, keys: Any, values: Any, look: Look) -> Any:
    """Local attention as most reimplementations write it: unfold, softmax, weighted sum, in bands of rows."""
    h, w, _, dk = query.shape
    slots, window, reach = len(keys), look.windows[0], look.windows[0] // 2
    padded = [torch.nn.functional.pad(x[..., 0, :].permute(0, 3, 1, 2), (reach,) * 4) for x in (keys, values)]
    out = []
    for top in range(0, h, BAND):
        rows = min(BAND, h - top)
        k, v = (
            torch.nn.functional.unfold(x[:, :, top : top + rows + 2 * reach], window)
            .view(slots, -1, window**2, rows * w)
            .permute(3, 0, 2, 1)
            .reshape(rows * w, slots * window**2, -1)
            for x in padded
        )
        weights = torch.softmax(query[top : top + rows].reshape(rows * w, 1, dk) @ k.transpose(1, 2) * look.scale, -1)
        out.append((weights @ v).view(rows, w, -1))
    return torch.cat(out)[:, :, None]


def contenders(arrays: list[Any], look: Look, threads: int, peers: bool) -> dict[str, Contender]:
    """Calls by name; ours first."""
    found: dict[str, Contender] = {OURS: lambda: local_attention(*arrays, look, threads=threads)}
    if not peers:
        return found
    found["numpy reference"] = lambda: reference.local_attention(*arrays, look)
    if torch is not None:
        from vss_ros.attention.training import local_attention_dense

        tensors = [torch.from_numpy(x) for x in arrays]
        query, keys, values = tensors[0][None], tensors[1][:, None], tensors[2][:, None]
        found["torch unfold"] = lambda: unfold_read(*tensors, look).numpy()
        found["torch tiled dense"] = lambda: local_attention_dense(query, keys, values, look)[0].numpy()
    return found


def scattered(arrays: list[Any], size: Size) -> dict[str, tuple[Any, Any]]:
    """Queries and the centres of their windows, of the reads that are not dense."""
    rng = np.random.default_rng(0)
    half = np.sort(rng.permutation(size.h * size.w)[: size.h * size.w // 2])
    listed = arrays[0].reshape(-1, 1, size.dk)[half], size.cells().reshape(-1, 2)[half]
    return {LISTED: listed, MOVED: (arrays[0], size.cells() + rng.integers(-3, 4, (size.h, size.w, 2)))}


def sgemms() -> dict[str, Contender]:
    """The float32 matrix products of this machine's libraries."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SGEMM, SGEMM), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    found: dict[str, Contender] = {"numpy.matmul": lambda: np.matmul(a, b, out=out)}
    if torch is not None:
        tensors = [torch.from_numpy(x) for x in (a, b, out)]
        found["torch.mm"] = lambda: torch.mm(tensors[0], tensors[1], out=tensors[2])
    return found


def measure(size: Size, threads: int, turns: int, peer_turns: int) -> tuple[list[Row], dict[str, float]]:
    """Rows of one size, and GFLOP/s of the matrix products in the same run."""
    rng = np.random.default_rng(0)
    grid, look = (size.h, size.w, 1), Look(size.window)
    shapes = (*grid, size.dk), (size.slots, *grid, size.dk), (size.slots, *grid, size.dv)
    arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    others = scattered(arrays, size)
    reads = contenders(arrays, look, threads, peer_turns > 0)
    for name, (query, centres) in others.items():
        reads[name] = partial(local_attention, query, *arrays[1:], look, centres=centres, threads=threads)
    products = sgemms()
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in (*products, *reads)}
    results: dict[str, Any] = {}
    for turn in range(turns):
        for name, call in {**products, **reads}.items():
            if turn >= peer_turns and name in reads and name not in (OURS, *others):
                continue
            started = clock()
            results[name] = call()
            times[name].append(clock() - started)
    rates = {name: 2e-9 * SGEMM**3 / min(times[name]) for name in products}
    errors = errors_of({name: results[name] for name in reads}, arrays, look, others)
    rows = []
    for name in reads:
        best = min(times[name])
        rate = 1e-9 * size.useful_flop(others[name][1] if name in others else size.cells()) / best
        times_ours = best / min(times[OURS][: len(times[name])])  # of the same turns
        share = rate / max(rates.values())
        rows.append(Row(size.name, name, threads, 1e3 * best, rate, share, times_ours, errors[name]))
    return rows, rates


def errors_of(results: dict[str, Any], arrays: list[Any], look: Look, others: dict[str, Any]) -> dict[str, float]:
    """Largest error of each result over the largest value of the definition in float64."""
    query, keys, values = (x.astype(np.float64) for x in arrays)
    dense = reference.local_attention(query, keys, values, look)
    errors = {}
    for name, got in results.items():
        wanted = dense
        if name in others:
            query, centres = (x.reshape(-1, *x.shape[-n:])[::SAMPLE] for x, n in zip(others[name], (2, 1), strict=True))
            wanted = reference.local_attention(query.astype(np.float64), keys, values, look, centres=centres)
            got = got.reshape(-1, *got.shape[-2:])[::SAMPLE]
        errors[name] = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    return errors


def cpu_model() -> str:
    """Name of the processor as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu_model": cpu_model(),
        "physical_cores": cpu.physical_cores(),
        "threads": threads,
        "kernel": explain()[0],
        "clock": "cpu time" if threads == 1 else "wall",
        "numpy": np.__version__,
        "torch": None if torch is None else torch.__version__,
    }


def show(rows: list[Row], rates: dict[str, float], about: dict[str, Any]) -> None:
    title = f"local attention, {about['kernel']}, {about['threads']} threads on {about['cpu_model']} ({about['clock']})"
    table = Table(title=title, caption=", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items()))
    for heading in ("size", "contender", "best ms", "useful GFLOP/s", "share of sgemm", "times ours", "max error"):
        table.add_column(heading, justify="left" if heading in ("size", "contender") else "right")
    for row in rows:
        figures = (f"{row.best_ms:.1f}", f"{row.useful_gflop_s:.2f}", f"{row.share_of_sgemm:.3f}")
        table.add_row(row.size, row.contender, *figures, f"{row.times_ours:.1f}", f"{row.max_error:.1e}")
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--threads", type=int, default=cpu.physical_cores(), help="default: one per physical core")
    parser.add_argument("--quick", action="store_true", help="few turns, peers at the smallest size only")
    options = parser.parse_args()
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(options.threads))
    if any(os.environ.get(name) != limit for name, limit in limits.items()):
        # matrix libraries read these when they are loaded, which has happened: start over
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits})

    rows, best_rates = [], dict[str, float]()
    for size in SIZES:
        peer_turns = 2 if not options.quick or size is SIZES[-1] else 0
        found, rates = measure(size, options.threads, 5 if options.quick else 20, peer_turns)
        rows += found
        best_rates = {name: max(rate, best_rates.get(name, 0)) for name, rate in rates.items()}
    about = machine(options.threads)
    show(rows, best_rates, about)
    if options.json:
        compared = [row for row in rows if row.size == (SIZES[-1] if options.quick else SIZES[0]).name]
        peers = [row.times_ours for row in compared if row.contender not in NOT_PEERS]
        figures = {
            "share_of_sgemm": next(row.share_of_sgemm for row in rows if row.contender == OURS),
            "times_best_peer": min(peers, default=None),
            "times_best_peer_at": compared[0].size,
            "sgemm_gflop_s": best_rates,
            "rows": [asdict(row) for row in rows],
            "machine": about,
        }
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
