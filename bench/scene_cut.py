# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What `memory.scene_cut` sees: the change between neighbouring frames of a drive, and between those of different ones.

    python bench/scene_cut.py ../shared/data/camvid ../shared/data/bags/kitti_91f_10hz synthetic:3x60 [--json FILE]

A good threshold lies above all changes within a drive, also where a frame or two were dropped, and below most of those
between drives.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.cli.options import write_json
from vss_ros.core.config import Settings
from vss_ros.core.scene import Scene
from vss_ros.data.resize import resize
from vss_ros.data.source import open_source

_SIZE = (360, 480)
_EVERY = 7  # frames of a drive that are spliced to those of another


def within(scenes: list[Scene], step: int) -> list[float]:
    """Change from each frame to the one `step` later."""
    return [now.change(before) for before, now in zip(scenes, scenes[step:], strict=False)]


def measure(places: list[str], threshold: float) -> dict[str, Any]:
    """Rows of false cuts within each drive, and of cuts noticed between each two."""
    drives = {place: [Scene.of(resize(frame.image, _SIZE)) for frame in open_source(place)] for place in places}
    rows = []
    for place, scenes in drives.items():
        for step in (1, 2, 3):
            changes = within(scenes, step)
            cuts = int(np.sum(np.array(changes) > threshold))
            rows.append(
                {"drive": place, "step_frames": step, "largest": max(changes), "cuts": cuts, "of": len(changes)}
            )
    splices = []
    for one, other in itertools.combinations(drives, 2):
        changes = [a.change(b) for a in drives[one][::_EVERY] for b in drives[other][::_EVERY]]
        noticed = float(np.mean(np.array(changes) > threshold))
        splices.append({"from": one, "to": other, "smallest": min(changes), "noticed_share": noticed})
    return {"threshold": threshold, "within": rows, "between": splices}


def show(result: dict[str, Any]) -> None:
    table = Table("drive", "frames apart", "largest change", "false cuts", title=f"threshold {result['threshold']}")
    for row in result["within"]:
        apart, cuts = str(row["step_frames"]), f"{row['cuts']} of {row['of']}"
        table.add_row(Path(row["drive"]).name, apart, f"{row['largest']:.3f}", cuts)
    Console().print(table)
    table = Table("cut from", "to", "smallest change", "cuts noticed")
    for row in result["between"]:
        names = (Path(row[end]).name for end in ("from", "to"))
        table.add_row(*names, f"{row['smallest']:.3f}", f"{row['noticed_share']:.0%}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", nargs="+", help="bags, videos, image folders, CamVid, or synthetic:SEEDxFRAMES")
    parser.add_argument("--threshold", type=float, default=Settings().memory.scene_cut)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    result = measure(chosen.drives, chosen.threshold)
    show(result)
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
