# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One training step of a host, with the C library keeping freed memory and without: page faults and time.

    python bench/training_step.py [--json FILE] [--net erfnet] [--steps 12]

Each way runs in a process of its own, because what the library was told cannot be taken back; the two take turns, and
the medians over all steps count. Forward, backward and AdamW on 4 pictures of 240x320, bfloat16, channels last.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.cli.options import write_json

WAYS = ("as the library does", "kept")
TURNS = 2
WARM_UP = 3  # steps


def run(net: str, steps: int, keep: bool) -> dict[str, list[float]]:
    """Milliseconds and page faults of each step, in this process."""
    import torch

    from vss_ros.nets import NETS
    from vss_ros.train.allocator import keep_freed_memory
    from vss_ros.train.losses import segmentation_loss

    if keep and not keep_freed_memory():
        raise SystemExit("Linux with glibc was wanted; another C library has no such switch")
    torch.manual_seed(0)
    model = NETS[net](11).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters())
    images = torch.rand(4, 3, 240, 320).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 11, (4, 240, 320), dtype=torch.uint8)
    found: dict[str, list[float]] = {"ms": [], "page_faults": []}
    for _ in range(WARM_UP + steps):
        faults, began_s = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        loss = segmentation_loss(logits, labels, torch.ones(11), 1.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        found["ms"].append(1e3 * (time.perf_counter() - began_s))
        found["page_faults"].append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
    return {name: values[WARM_UP:] for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--net", default="erfnet")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write(json.dumps(run(options.net, options.steps, options.child == WAYS[1])))
        return
    all_steps: dict[str, dict[str, list[float]]] = {way: {"ms": [], "page_faults": []} for way in WAYS}
    for _ in range(TURNS):
        for way in WAYS:
            command = [sys.executable, __file__, "--net", options.net, "--steps", str(options.steps), "--child", way]
            for name, values in json.loads(subprocess.run(command, check=True, capture_output=True).stdout).items():
                all_steps[way][name] += values
    medians = {way: {name: float(np.median(values)) for name, values in all_steps[way].items()} for way in WAYS}
    table = Table("freed memory", "page faults a step", "ms a step", title=f"training {options.net}")
    for way, found in medians.items():
        table.add_row(way, f"{found['page_faults']:.0f}", f"{found['ms']:.0f}")
    Console().print(table)
    ratio = medians[WAYS[1]]["ms"] / medians[WAYS[0]]["ms"]
    if options.json:
        write_json(options.json, {"net": options.net, "cores": os.cpu_count(), "time_kept_over_not": ratio, **medians})


if __name__ == "__main__":
    main()
