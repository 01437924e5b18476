# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a read costs against cells, slots, window and channels, one varied at a time around the target size."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from attention_measure import Row, measure
from attention_peers import NUMBA, ONNX, PEERS, SDPA, TILED
from attention_problem import SIZES, Size

TARGET = SIZES[0]
# not FlexAttention: it compiles for each size, and writing its mask for 128x256 cells takes over 20 GB
SWEPT = tuple(peer for peer in PEERS if peer.name in (NUMBA, ONNX, SDPA, TILED))
TURNS = 8  # of ours
LABELS = {"cells": "cells", "slots": "slots", "window": "window, cells across", "channels": "channels, dk + dv"}
NO_MATPLOTLIB = "--plot wants matplotlib, which is not installed; run pip install -r requirements-bench.txt."


def sizes() -> Iterator[tuple[str, int, Size]]:
    """What is varied, its value and the size; the target is in all four."""
    for h in (16, 32, 64, 128):
        yield "cells", 2 * h * h, replace(TARGET, h=h, w=2 * h)
    for slots in (1, 2, 4, 8):
        yield "slots", slots, replace(TARGET, slots=slots)
    for window in (5, 11, 21, 41):
        yield "window", window, replace(TARGET, window=window)
    for dk in (8, 16, 32, 64):
        yield "channels", 5 * dk, replace(TARGET, dk=dk, dv=4 * dk)


def sweep(threads: int) -> list[dict[str, Any]]:
    """A row for each contender at each size, with what is varied and its value."""
    measured: dict[Size, list[Row]] = {}
    rows = []
    for varied, value, size in sizes():
        if size not in measured:
            measured[size] = measure(size, threads, TURNS, SWEPT, sampled=True).rows
        problem = {name: asdict(size)[name] for name in ("h", "w", "slots", "window", "dk", "dv")}
        rows += [{"varied": varied, "value": value, **problem, **asdict(row)} for row in measured[size]]
    return rows


def can_plot() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def plot(rows: list[dict[str, Any]], about: dict[str, Any], path: Path) -> None:
    """Four panels on logarithmic axes; the format is that of the path's suffix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).flat
    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    for panel, (varied, label) in zip(panels, LABELS.items(), strict=True):
        for marker, contender in zip("osD^vX", contenders, strict=False):
            own = [row for row in rows if row["varied"] == varied and row["contender"] == contender]
            values, times = [row["value"] for row in own], [row["best_ms"] for row in own]
            panel.loglog(values, times, marker=marker, linewidth=2.5 if contender == contenders[0] else 1.2)
        ticks = sorted({row["value"] for row in rows if row["varied"] == varied})
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
    figure.supylabel("best ms of one read")
    t = TARGET
    around = f"{t.h}x{t.w} cells, {t.slots} slots, window {t.window}, dk {t.dk}, dv {t.dv}"
    figure.suptitle(f"Local attention around {around}; {about['threads']} threads, {about['cpu_model']}", fontsize=10)
    figure.legend(contenders, loc="outside lower center", ncols=len(contenders), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
