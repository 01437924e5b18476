# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""LMANet beside its single-frame twin, frame by frame in one run: what the memory costs a stream.

    python bench/stream.py [--json FILE] [--size 480x360] [--frames 40]

Every frame is segmented by each contender before the next one, so that a busy machine slows all alike; the ratio is
the median over frames. The twin runs LMANet's own encode and decode files, without projections, read and fusion.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.assemble import Model, load_model, load_settings
from vss_ros.cli.options import write_json
from vss_ros.core.look import Look
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.machine import cpu_name
from vss_ros.runtimes.onnx import OnnxRuntime


class UnfoldRuntime(OnnxRuntime):
    """The same stages; the read in plain torch, as most reimplementations write it: unfold, softmax, weighted sum."""

    name = "onnx + torch unfold"

    def attend(self, query: Any, keys: Any, values: Any, look: Look, *, valid: Any = None, **_: Any) -> Any:
        import torch
        from torch.nn import functional as F

        window, slots = look.windows[0], np.flatnonzero(valid).tolist()
        height, width, _, channels = query.shape
        q = torch.from_numpy(np.ascontiguousarray(query)).view(-1, 1, channels)
        unfolded = []
        for tensor in (keys, values):
            x = torch.from_numpy(tensor[slots])[:, :, :, 0].permute(0, 3, 1, 2)
            x = F.unfold(x, window, padding=window // 2)  # (T, d * window^2, cells)
            x = x.view(len(slots), tensor.shape[-1], window * window, height * width)
            unfolded.append(x.permute(3, 0, 2, 1).reshape(height * width, -1, tensor.shape[-1]))
        weights = torch.softmax((q @ unfolded[0].transpose(1, 2)) * look.scale, dim=-1)
        return (weights @ unfolded[1]).view(height, width, 1, -1).numpy()


def contenders(lmanet: str, single: str, peers: bool) -> dict[str, Model]:
    """Loaded models by the name they have in the table."""

    def model(name: str, **values: Any) -> Model:
        return load_model(load_settings(values={"model.name": name, **values}))

    found = {
        "single-frame twin": model(single),
        "LMANet": model(lmanet),
        "LMANet, memory off": model(lmanet, **{"memory.slots": 0}),
    }
    if peers:
        ours = found["LMANet"]
        runtime = UnfoldRuntime(ours.card, ours.plan.stages(ours.card.host))
        found["LMANet, torch unfold"] = Model(ours.card, ours.plan, runtime, ours.options, ours.resize)
    return found


def measure(models: dict[str, Model], size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Latency of each contender and its ratio to the twin, after the memory is full."""
    streams = {name: model.stream() for name, model in models.items()}
    warm_up = 1 + max(getattr(model.plan, "slots", 0) for model in models.values())
    times: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for index, frame in enumerate(SyntheticDrive(seed=1, size=size, frames=warm_up + frames)):
        names = list(streams)
        turn = index % len(names)  # whoever comes first after a frame was rendered finds cold caches
        for name in names[turn:] + names[:turn]:
            if index < warm_up + (frames if "unfold" not in name else 6):  # the slow peer is measured on fewer frames
                times_ms = dict(streams[name](frame).times_ms)
                if index >= warm_up:
                    times[name].append(times_ms)
    twin = np.array([t["total"] for t in times["single-frame twin"]])
    rows = []
    for name, spent in times.items():
        total = np.array([t["total"] for t in spent])
        parts = {part: float(np.median([t[part] for t in spent])) for part in spent[0]}
        ratio = float(np.median(total / twin[: len(total)]))
        rows.append(
            {
                "name": name,
                "frames": len(total),
                "latency_p50_ms": parts["total"],
                "times_twin": ratio,
                "parts_ms": parts,
            }
        )
    return {"rows": rows}


def show(result: dict[str, Any]) -> None:
    table = Table("", "times the twin", "total ms", "encode", "attend", "fuse", "decode", title=result["title"])
    for row in result["rows"]:
        parts = [
            f"{row['parts_ms'][p]:.1f}" if p in row["parts_ms"] else "-" for p in ("encode", "attend", "fuse", "decode")
        ]
        table.add_row(row["name"], f"{row['times_twin']:.3f}", f"{row['latency_p50_ms']:.1f}", *parts)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--size", default="480x360", help="of the camera's picture; the network runs at about its pixel count"
    )
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--model", default="lmanet_erfnet_camvid")
    parser.add_argument("--twin", default="single_erfnet_camvid")
    parser.add_argument("--no-peers", action="store_true", help="leave out the torch read")
    chosen = parser.parse_args()
    width, height = (int(x) for x in chosen.size.split("x"))
    models = contenders(chosen.model, chosen.twin, not chosen.no_peers)
    result = measure(models, (height, width), chosen.frames)
    result |= {
        "title": f"one streamed frame, {chosen.size}",
        "cores": os.cpu_count(),
        "machine": cpu_name(),
    }
    result["lmanet_times_twin"] = next(row["times_twin"] for row in result["rows"] if row["name"] == "LMANet")
    show(result)
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
