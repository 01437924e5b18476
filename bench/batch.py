# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Several cameras' pictures through the network at once, beside one after the other: would a batch pay on this CPU?

    python bench/batch.py [--json FILE] [--model single_erfnet_camvid] [--turns 12]

The stages `encode` and `decode` are exported with a batch axis and run in ONNX Runtime as the node runs them. Both
ways take turns; `batch over single` is the median time of one batch of N over the median of N single pictures, below 1
where the batch pays. Needs torch and onnx.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vss_ros.assemble import load_card, loaded_stages, plan_for
from vss_ros.cli.options import write_json
from vss_ros.runtimes.onnx import session_options

BATCHES = (2, 4)


class Network(nn.Module):
    """Pictures `(B, H, W, 3)` uint8 to labels and confidence `(B, H, W)` uint8."""

    def __init__(self, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        found = self.stages["decode"](features=self.stages["encode"](image=image)["features"])
        return found["labels"], found["confidence"]


def session_of(name: str) -> tuple[Any, tuple[int, int]]:
    """An ONNX Runtime session with a free batch axis, set up as the node's, and the picture's size."""
    card = load_card(name)
    stages = loaded_stages(card, plan_for(card.method, card.options))
    file: Any = io.BytesIO()  # torch's stub knows paths alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in runtimes/export.py
        torch.onnx.export(
            Network(stages.eval()),
            (torch.zeros((1, *card.input_size, 3), dtype=torch.uint8),),
            file,
            input_names=["image"],
            dynamic_axes={"image": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(
        file.getvalue(), session_options(threads=0), providers=["CPUExecutionProvider"]
    )
    return session, card.input_size


def measure(session: Any, size: tuple[int, int], turns: int) -> list[dict[str, float]]:
    """A row for each batch size."""
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *size, 3), np.uint8)
    seconds: dict[int, list[float]] = {count: [] for count in (1, *BATCHES)}
    for _ in range(turns + 1):  # the first turn allocates
        for count, spent in seconds.items():
            began = time.perf_counter()
            session.run(None, {"image": pictures[:count]})
            spent.append(time.perf_counter() - began)
    single = float(np.median(seconds[1][1:]))
    return [
        {"cameras": count, "batch_over_single": float(np.median(seconds[count][1:])) / (count * single)}
        for count in BATCHES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", default="single_erfnet_camvid")
    parser.add_argument("--turns", type=int, default=12)
    options = parser.parse_args()
    session, size = session_of(options.model)
    rows = measure(session, size, options.turns)
    table = Table("cameras", "batch over single", title=f"{options.model}, {size[1]}x{size[0]}, {os.cpu_count()} cores")
    for row in rows:
        table.add_row(str(row["cameras"]), f"{row['batch_over_single']:.2f}")
    Console().print(table)
    if options.json:
        write_json(options.json, {"model": options.model, "size": list(size), "cores": os.cpu_count(), "rows": rows})


if __name__ == "__main__":
    main()
