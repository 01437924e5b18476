# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What int8 changes of a model's labels, without a GPU: its quantized files in ONNX Runtime beside float32.

    python bench/int8.py [--model NAME] [--data ../shared/data/camvid] [--calibration FOLDER] [--json FILE]

On the golden frames, which the gate of the engines looks at, and on CamVid's validation frames where they are. It is
calibrated on the golden frames, or on the pictures of a folder. On a GPU what is not quantized is float32 or half, and
sums are rounded elsewhere; the gate judges that again there. Stages can be left out: `--stages encode,decode`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from vss_ros.assemble import Model, load_model, load_settings, quantized_stages
from vss_ros.cli.options import write_json
from vss_ros.core.card import ModelCard
from vss_ros.core.frame import Frame
from vss_ros.core.method import TemporalMethod
from vss_ros.data.camvid import CamVidVideo
from vss_ros.evaluate.machine import machine
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.runtimes.golden import GoldenCheck
from vss_ros.runtimes.onnx import OnnxRuntime, session_options
from vss_ros.runtimes.quantized import QuantizedStages


class Int8Runtime(OnnxRuntime):
    """ONNX Runtime with some stages quantized."""

    name = "onnx int8"

    def __init__(self, card: ModelCard, plan: TemporalMethod, quantized: QuantizedStages, stages: set[str]) -> None:
        super().__init__(card, plan.stages(card.host))
        for stage in stages & self._sessions.keys():
            content, options = quantized.content(stage), session_options(threads=0)
            self._sessions[stage] = onnxruntime.InferenceSession(content, options)


def on_video(model: Model, runtime: Int8Runtime, folder: Path, frames: int) -> dict[str, Any]:
    """mIoU of float32 and of int8, and the share of labels that differ, on the first frames of CamVid's validation."""
    streams = {"float32": model.stream(), "int8": Model(**{**vars(model), "runtime": runtime}).stream()}
    matrices = {name: ConfusionMatrix(len(model.card.labels)) for name in streams}
    differ, count = 0.0, 0
    for frame in CamVidVideo(folder):
        if count == frames:
            break
        seen = {name: stream(Frame(frame.stamp_ns, frame.image)).labels for name, stream in streams.items()}
        differ += float(np.mean(seen["float32"] != seen["int8"]))
        count += 1
        for name, labels in seen.items():
            if frame.truth is not None:
                matrices[name].add(frame.truth, labels)
    miou = {f"miou_{name}": matrix.miou() for name, matrix in matrices.items()}
    return {"frames": count, "labels_differ": differ / count, **miou}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lmanet_erfnet_camvid")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/camvid"))
    parser.add_argument("--frames", type=int, default=101, help="of the data")
    parser.add_argument("--calibration", default="", help="folder of pictures; else the golden frames")
    parser.add_argument("--stages", default="", help="that are quantized, with commas; else all")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    settings = load_settings(
        values={"model.name": chosen.model, "runtime.backend": "onnx", "runtime.calibration": chosen.calibration}
    )
    model = load_model(settings)
    card, plan = model.card, model.plan
    stages = set(filter(None, chosen.stages.split(","))) or {spec.name for spec in plan.stages(card.host)}
    runtime = Int8Runtime(card, plan, quantized_stages(card, plan, settings), stages)
    golden = GoldenCheck(card, plan, lambda: model.runtime, model.resize)(runtime, card.input_size)
    result: dict[str, Any] = {"model": card.name, "stages": sorted(stages), "golden": vars(golden)}
    # a name stays when a model is replaced
    result["sha256"] = {name: file.sha256 for name, file in card.stages.items()}
    result["calibration"] = chosen.calibration or "golden frames"
    assert card.golden is not None, "the check was made"
    result["gate_takes_it"] = golden.is_within(card.golden)
    if chosen.data.is_dir():
        result["camvid_val"] = on_video(model, runtime, chosen.data, chosen.frames)
    table = Table("figure", "int8", title=f"{card.name} in int8, {', '.join(sorted(stages))}")
    for group in ("golden", "camvid_val"):
        for name, value in result.get(group, {}).items():
            table.add_row(f"{group} {name}", f"{value:.4f}" if isinstance(value, float) else str(value))
    table.add_row("gate takes it", "yes" if result["gate_takes_it"] else "no")
    Console().print(table)
    if chosen.json:
        write_json(chosen.json, {**result, "machine": machine()})


if __name__ == "__main__":
    main()
