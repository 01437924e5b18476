# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg's ways to follow motion, on maps of several hosts: milliseconds of each part (docs/adr/0019).

    python bench/warp.py [--threads 2] [--turns 20] [--json FILE]

`projections` are the two depthwise convolutions alone; before them a bilinear warp, as shipped, or the nearest cell by
one gather; `read` is the attention, `read about centres` that of the option `motion: offset`. Files run in ONNX
Runtime, set up as the node's; all take turns, and what is shown is the median.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vss_ros.attention import local_attention
from vss_ros.cli.options import write_json
from vss_ros.evaluate.machine import machine
from vss_ros.methods.arseg.modules import Project, WarpAndProject
from vss_ros.methods.arseg.plan import ARSeg
from vss_ros.runtimes.export import trace
from vss_ros.runtimes.onnx import session_options

MAPS = ((256, 64, 128), (256, 45, 60), (16, 180, 240))  # channels and cells of F: BiSeNet at two sizes, ERFNet
_MOVED = 3.0  # cells, standard deviation


class NearestAndProject(Project):
    """Keys and values of the features at the nearest cell to where motion leads."""

    def forward(self, keyframe: Tensor, motion: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return super().forward(at_nearest(keyframe, motion))


def at_nearest(features: Tensor, motion: Tensor) -> Tensor:
    """Features `(1, C, h, w)` at p + motion(p) to the nearest cell, within the picture, by one gather."""
    height, width = features.shape[2:]
    columns = (torch.arange(width) + motion[0, ..., 0]).round().clamp(0, width - 1).long()
    rows = (torch.arange(height).unsqueeze(1) + motion[0, ..., 1]).round().clamp(0, height - 1).long()
    return features.flatten(2)[:, :, rows * width + columns]


class _Pair(torch.nn.Module):
    """Key and value as a tuple, as the exporter wants them."""

    def __init__(self, stage: torch.nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        made = self.stage(*inputs)
        return made["key"], made["value"]


def _runs(stage: torch.nn.Module, inputs: dict[str, Tensor], threads: int) -> Callable[[], Any]:
    """A stage in ONNX Runtime, ready to be called."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "stage.onnx"
        trace(_Pair(stage).eval(), tuple(inputs.values()), file, (list(inputs), ["key", "value"]))
        options = session_options(threads)
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = {name: x.numpy() for name, x in inputs.items()}
    return lambda: session.run(None, given)


def contenders(channels: int, height: int, width: int, threads: int) -> dict[str, Callable[[], Any]]:
    """What takes turns on one map."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((1, channels, height, width), np.float32))
    motion = torch.from_numpy(rng.normal(0, _MOVED, (1, height, width, 2)).astype(np.float32))
    query, key, value = rng.standard_normal((3, height, width, 1, channels), np.float32)
    cells = np.moveaxis(np.indices((height, width)), 0, -1)
    centres = (cells + motion[0].numpy()[..., ::-1]).round().astype(np.int32)
    look, of_one = ARSeg().look, (key[np.newaxis], value[np.newaxis])
    moved = {"keyframe": features, "motion": motion}
    return {
        "projections": _runs(Project(channels), {"features": features}, threads),
        "warp and projections": _runs(WarpAndProject(channels), moved, threads),
        "nearest and projections": _runs(NearestAndProject(channels), moved, threads),
        "read": lambda: local_attention(query, *of_one, look, threads=threads),
        "read about centres": lambda: local_attention(query, *of_one, look, centres=centres, threads=threads),
    }


def measure(channels: int, height: int, width: int, threads: int, turns: int) -> dict[str, Any]:
    """Median milliseconds of each contender."""
    calls = contenders(channels, height, width, threads)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):  # the first one is not counted
        for name, call in calls.items():
            began = perf_counter()
            call()
            if turn:
                spent[name].append(1e3 * (perf_counter() - began))
    return {"map": [channels, height, width], "ms": {name: float(np.median(times)) for name, times in spent.items()}}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args(arguments)
    if min(chosen.threads, chosen.turns) < 1:
        parser.error(f"--threads and --turns want at least 1, got {chosen.threads} and {chosen.turns}")
    rows = [measure(*size, chosen.threads, chosen.turns) for size in MAPS]
    table = Table("map", *(f"{name}, ms" for name in rows[0]["ms"]), title=f"{chosen.threads} threads")
    for row in rows:
        table.add_row("x".join(map(str, row["map"])), *(f"{ms:.1f}" for ms in row["ms"].values()))
    Console().print(table)
    if chosen.json:
        write_json(chosen.json, {"threads": chosen.threads, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
