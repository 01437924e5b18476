# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention beside its peers and beside the machine's matrix product, on the same inputs in one run.

    python bench/attention.py [--json FILE] [--threads N] [--quick] [--sweep] [--plot FILE]

Contenders take turns, so that a busy machine slows all alike; the best turn of each counts. Useful products only:
2 * (dk + dv) for every (query, slot, displacement) inside the picture. `share of sgemm` is the rate of useful products
over the rate of the faster one of numpy's and torch's float32 matrix product with as many threads. With one thread
the clock counts CPU time, which other jobs on the machine do not reach; with more it is the wall clock. What a peer
does once for many reads, compilation above all, is not counted.

Two rows are not the dense read: a list of half of the queries, drawn at random, and windows moved by up to 3 cells, at
random for each query, which is harder than any motion of a camera. Their useful products are those of their windows.
`border` is the rule for positions outside the picture (`vss_ros/core/look.py`); NATTEN moves the window instead.

Peers are those that are installed: requirements-bench.txt says which that can be.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from attention_measure import OURS, Measured, measure, torch
from attention_memory import extra_memory_mb
from attention_peers import PEERS, REFERENCE, TILED
from attention_problem import SIZES
from attention_sweep import NO_MATPLOTLIB, can_plot, plot, sweep
from rich.console import Console
from rich.table import Table

from vss_ros.attention import cpu, explain
from vss_ros.cli.options import write_json
from vss_ros.evaluate.machine import cpu_name


def measure_all(threads: int, quick: bool) -> list[Measured]:
    """One for each size."""
    return [
        measure(size, threads, 5 if quick else 20, PEERS if not quick or size is SIZES[-1] else ()) for size in SIZES
    ]


def memory(threads: int) -> dict[str, float | None]:
    """MB beside inputs and output at each size; and, to show that much would be seen, of the peer that takes most."""
    of_ours = {size.name: extra_memory_mb(size, threads) for size in SIZES}
    return {
        **of_ours,
        f"{SIZES[0].name}, {TILED}": None if torch is None else extra_memory_mb(SIZES[0], threads, TILED),
    }


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu_model": cpu_name(),
        "physical_cores": cpu.physical_cores(),
        "threads": threads,
        "kernel": explain()[0],
        "clock": "cpu time" if threads == 1 else "wall",
        "numpy": np.__version__,
        "torch": None if torch is None else torch.__version__,
    }


def show(figures: dict[str, Any]) -> None:
    about, lines = figures["machine"], [", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in figures["sgemm_gflop_s"].items())]
    extra = {name: mb for name, mb in figures["extra_memory_mb"].items() if mb is not None}
    lines += [f"extra memory, {name}: {mb:.2f} MB" for name, mb in extra.items()]
    lines += [f"no {name}: {why}" for name, why in figures["not_run"].items()]
    title = f"local attention, {about['kernel']}, {about['threads']} threads on {about['cpu_model']} ({about['clock']})"
    table = Table(title=title, caption="\n".join(lines), caption_justify="left")
    texts = "size", "contender", "border"
    for heading in (*texts, "best ms", "useful GFLOP/s", "share of sgemm", "times ours", "max error"):
        table.add_column(heading, justify="left" if heading in texts else "right")
    for row in figures["rows"]:
        numbers = (f"{row['best_ms']:.1f}", f"{row['useful_gflop_s']:.2f}", f"{row['share_of_sgemm']:.3f}")
        table.add_row(
            *(row[text] for text in ("size", "contender", "border")),
            *numbers,
            f"{row['times_ours']:.1f}",
            f"{row['max_error']:.1e}",
        )
    console = Console()
    console.width = max(console.width, 130)
    console.print(table)


def summary(measured: list[Measured], compared: str, threads: int) -> dict[str, Any]:
    """The figures of all sizes; the best peer is the fastest at size `compared` that is not our C++ kernel."""
    rows = [row for one in measured for row in one.rows]
    peers = {peer.name for peer in PEERS if peer.name != REFERENCE}
    rivals = [row for row in rows if row.size == compared and row.contender in peers]
    best = min(rivals, key=lambda row: row.times_ours, default=None)
    return {
        "share_of_sgemm": next(row.share_of_sgemm for row in rows if row.contender == OURS),
        "times_best_peer": best and best.times_ours,
        "times_best_peer_at": compared,
        "best_peer": best and best.contender,
        "extra_memory_mb": memory(threads),
        "sgemm_gflop_s": {name: max(one.rates[name] for one in measured) for name in measured[0].rates},
        "rows": [asdict(row) for row in rows],
        "not_run": {name: why for one in measured for name, why in one.not_run.items()},
        "machine": machine(threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--threads", type=int, default=cpu.physical_cores(), help="default: one per physical core")
    parser.add_argument("--quick", action="store_true", help="few turns, peers at the smallest size only")
    parser.add_argument(
        "--sweep", action="store_true", help="also vary cells, slots, window and channels, in 3 minutes"
    )
    parser.add_argument("--plot", type=Path, help="draw the sweep into this file, PNG or SVG by its suffix")
    options = parser.parse_args()
    if options.plot and not can_plot():
        sys.exit(NO_MATPLOTLIB)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(options.threads))
    if any(os.environ.get(name) != limit for name, limit in limits.items()):
        # matrix libraries read these when they are loaded, which has happened: start over
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits})

    measured = measure_all(options.threads, options.quick)
    compared = (SIZES[-1] if options.quick else SIZES[0]).name
    figures = summary(measured, compared, options.threads)
    show(figures)
    if options.sweep or options.plot:
        figures["sweep"] = sweep(options.threads)
    if options.plot:
        plot(figures["sweep"], figures["machine"], options.plot)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
