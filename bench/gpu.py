# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Everything about this package on a GPU, checked and timed in one run of some minutes.

    python bench/gpu.py [--json FILE] [--parts steps,cameras] [--size 1024x512] [--smoke]

Parts: the kernel beside its peers, each stage, a step by ours, by eager and compiled torch and with LMANet's original
structure, with and without graphs and memory, 1 to 8 cameras, memory of the GPU, the other methods beside their hosts,
TensorRT, TensorRT-RTX. Each part is a process of its own: one that fails, even one that takes CUDA down, is recorded
with its error, and the rest goes on. The exit code is 1 where a part of it failed or a target was missed; the figures
are written all the same.
`--smoke` runs the same parts in one process on the CPU with tiny pictures; its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_contenders import OURS, Problem
from gpu_parts import PARTS, targets, tried
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vss_ros.cli.options import write_json
from vss_ros.core.config import parse_size
from vss_ros.core.errors import ConfigError

SMOKE = Problem(size=(32, 48), turns=2, smoke=True)
MOST_SECONDS = 600  # of a part; TensorRT builds engines in one
WITH_PEERS = ("about", "steps")  # parts in which others than we may be missing or fail


def run_here(name: str, problem: Problem) -> dict[str, Any]:
    """A part in this process: `seconds`, and `result` or `error`."""
    began = time.perf_counter()
    made = tried(lambda: PARTS[name](problem))
    spent = {"seconds": time.perf_counter() - began}
    return {**spent, **made} if set(made) == {"error"} else {**spent, "result": made}


def run_apart(name: str, arguments: list[str]) -> dict[str, Any]:
    """The same in a process of its own."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        command = [sys.executable, __file__, *arguments, "--only", name, "--json", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            return {"seconds": time.perf_counter() - began, "error": f"not done after {MOST_SECONDS} s"}
        if file.is_file():
            return dict(json.loads(file.read_text(encoding="utf-8"), object_hook=_with_counts))
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        return {"seconds": time.perf_counter() - began, "error": f"exit code {done.returncode}: {last}"}


def _with_counts(found: dict[str, Any]) -> dict[Any, Any]:
    """JSON has no numbers as keys."""
    return {int(key) if key.isdigit() else key: value for key, value in found.items()}


def failures(parts: dict[str, Any], wanted: list[dict[str, Any]]) -> list[str]:
    """What of ours failed, and which targets were missed; a peer that is not installed is neither."""
    said = []
    for name, part in parts.items():
        if "error" in part:
            said.append(f"{name}: {part['error']}")
        for row, found in part.get("result", {}).items():
            ours = name not in WITH_PEERS or row == OURS
            if ours and isinstance(found, dict) and "error" in found:
                said.append(f"{name}, {row}: {found['error']}")
    return said + [f"{row['target']}: {row['wanted']:g}, got {row['got']:.3f}" for row in wanted if row["met"] is False]


def show(parts: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    table = Table("part", "s", "outcome", title="GPU bench")
    for name, part in parts.items():
        table.add_row(name, f"{part['seconds']:.1f}", escape(str(part.get("error", "done"))))
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)
    rows = parts.get("steps", {}).get("result", {})
    if rows:
        table = Table("a step", "frame ms", "step ms", "on the GPU ms", "host ms", "labels that differ")
        for name, row in rows.items():
            ms = row.get("ms", {})
            cells = [f"{ms[key]:.3f}" if key in ms else "" for key in ("total", "infer", "device", "host")]
            differ = row.get("labels_differ")
            table.add_row(name, *cells, row.get("error", "" if differ is None else f"{differ:.4%}"))
        console.print(table)
    rows = parts.get("methods", {}).get("result", {})
    if rows:
        table = Table("method, random weights", "step ms", "host ms", "over host", "graphs", "labels that differ")
        for name, row in rows.items():
            cells = [f"{row[key]:.3f}" if key in row else "" for key in ("ms", "host_ms", "over_host")]
            differ = row.get("error") or f"{row['labels_differ']:.4%}"
            table.add_row(name, *cells, str(row.get("graphs", "")), escape(differ))
        console.print(table)
    table = Table("target", "wanted", "got", "met")
    for row in wanted:
        got = "not measured" if row["got"] is None else f"{row['got']:.3f}"
        table.add_row(row["target"], f"{row['wanted']:g}", got, {True: "yes", False: "no", None: ""}[row["met"]])
    console.print(table)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures to this file, such as bench/results/gpu.json")
    parser.add_argument("--parts", default=",".join(PARTS), help="of it, with commas")
    parser.add_argument("--size", default="1024x512", help="of the picture, WIDTHxHEIGHT px")
    parser.add_argument("--turns", type=int, default=100, help="frames that are timed")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, to see that it runs")
    parser.add_argument("--only", choices=list(PARTS), help=argparse.SUPPRESS)  # how a part's process is told its part
    chosen = parser.parse_args(arguments)
    try:
        parse_size(chosen.size, "--size", ())
    except ConfigError as error:
        parser.error(str(error))
    unknown = set(chosen.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"--parts wants some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    chosen = parsed(arguments)
    size = parse_size(chosen.size, "--size", ())
    assert not isinstance(size, str), "no words are taken"
    problem = SMOKE if chosen.smoke else Problem(size, chosen.turns)
    if chosen.only:
        part = run_here(chosen.only, problem)
        write_json(chosen.json, part)
        return int("error" in part)
    told = ["--size", chosen.size, "--turns", str(chosen.turns)]
    parts = {}
    for name in chosen.parts.split(","):
        Console(stderr=True).print(f"{name} ...")
        parts[name] = run_here(name, problem) if chosen.smoke else run_apart(name, told)
    wanted = [{**row, "met": None} for row in targets(parts)] if chosen.smoke else targets(parts)
    show(parts, wanted)
    if chosen.json:
        write_json(chosen.json, {"smoke": chosen.smoke, "size": list(problem.size), "parts": parts, "targets": wanted})
    said = failures(parts, wanted)
    for line in said:
        Console(stderr=True).print(escape(line), soft_wrap=True)
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
