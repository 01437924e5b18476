# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What keyframes save on paper: multiply-adds of each host on every frame, and of AR-Seg on it, averaged over a period.

    python bench/keyframes.py [--period 12] [--scale 0.5] [--json FILE]
    python bench/keyframes.py --data ../shared/data/camvid [--model arseg_erfnet_camvid] [--json FILE]

Nothing is computed but shapes; a time is measured with `vss evaluate`. With `--data` instead what they cost: mIoU of a
trained model by the distance to the keyframe, see `keyframe_distance.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from keyframe_distance import by_distance, distance_table
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from vss_ros.assemble import build_stages, host_named
from vss_ros.cli.options import write_json
from vss_ros.core.method import Host
from vss_ros.methods.arseg.plan import ARSeg
from vss_ros.runtimes.cost import Cost, macs_per_frame

_CASES = (  # host, height, width in px, classes
    ("pspnet18_camvid", 720, 960, 12),
    ("bisenet18", 720, 960, 12),
    ("erfnet", 720, 960, 12),
    ("pspnet18", 1024, 2048, 19),
    ("bisenet18", 1024, 2048, 19),
    ("bisenet34", 512, 1024, 19),
    ("erfnet", 512, 1024, 19),
)


def stage_costs(plan: ARSeg, host: Host, height: int, width: int, classes: int) -> dict[str, Cost]:
    """Of each stage and of the read."""
    with torch.device("meta"):
        stages = build_stages("arseg", plan, host.name, classes, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    cells = height // host.classified_stride * (width // host.classified_stride)
    costs = {"attend": Cost(0, plan.window**2 * cells * 2 * host.classified_channels)}
    for spec in plan.stages(host):
        inputs = {t.name: torch.empty(1, *t.at(height, width), device="meta") for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        costs[spec.name] = Cost(0, counter.get_total_flops() // 2)
    return costs


def measure(plan: ARSeg) -> list[dict[str, Any]]:
    rows = []
    for name, height, width, classes in _CASES:
        host = host_named(name)
        costs = stage_costs(plan, host, height, width, classes)
        every, average = (macs_per_frame(costs, p, host) / 1e9 for p in (replace(plan, period=1), plan))
        saved = 1 - average / every
        rows.append({"host": name, "size": f"{width}x{height}", "every": every, "average": average, "saved": saved})
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--period", type=int, default=12)
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--data", help="frames with truth, as `vss evaluate` takes them")
    parser.add_argument("--model", default="arseg_erfnet_camvid", help="trained, by name or path; for --data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.data:
        found = by_distance(options.model, options.data)
        Console().print(distance_table(found))
        if options.json:
            write_json(options.json, found)
        return
    rows = measure(ARSeg(period=options.period, scale=options.scale))
    table = Table("host", "size", "every frame, GMAC", "average, GMAC", "saved")
    for row in rows:
        table.add_row(row["host"], row["size"], f"{row['every']:.1f}", f"{row['average']:.1f}", f"{row['saved']:.1%}")
    Console().print(table)
    if options.json:
        write_json(options.json, {"period": options.period, "scale": options.scale, "rows": rows})


if __name__ == "__main__":
    main()
