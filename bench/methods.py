# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""All methods on all hosts in one table: parameters, multiply-adds, memory, time beside the host alone, accuracy.

    python bench/methods.py [--json FILE] [--hosts erfnet,bisenet18,pspnet18] [--size 480x360]
                            [--data ../shared/data/camvid] [--models NAME ...] [--seconds 30]
                            [--options "stt: {width: 128, heads: 4, hidden: 512}"]

A pair for which a trained model is installed runs with that, others with random weights and the options of their
recipe, or of the method's README; methods in `--options` run with random weights and those. Accuracy is that of trained
models on `--data`, beside the single frame's. All models of a host take turns frame by frame, as in `vss evaluate`,
which measures them. The first round, of a period of the methods with keyframes, fills memories and is not timed; then
come whole rounds, one at least, until the seconds are over: a slow host gets few frames, and the table says how many.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table

from vss_ros.assemble import (
    Model,
    build_stages,
    host_named,
    load_card,
    load_model,
    load_settings,
    methods,
    model_folders,
    plan_for,
)
from vss_ros.cli.options import write_json
from vss_ros.core.config import parse_size
from vss_ros.core.errors import CardError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.keyframes import reads_codec_motion
from vss_ros.core.method import KeyframeMethod
from vss_ros.core.prepare import Size
from vss_ros.core.share import share_folder
from vss_ros.data.camvid import camvid_labels
from vss_ros.data.source import open_source
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.machine import machine
from vss_ros.evaluate.side_by_side import Contender, check_classes, evaluate
from vss_ros.nets import NETS
from vss_ros.runtimes.export import export_model
from vss_ros.train.recipe import load_recipe

Options = Mapping[str, Mapping[str, Any]]  # by method

TWIN = "single"
HOSTS = ("erfnet", "bisenet18", "pspnet18")
MOST_ROUNDS = 6  # the first one is not timed
_SLIMMABLE = ("pspnet18", "pspnet50", "pspnet101")
_WIDE = (*_SLIMMABLE, "pspnet18_camvid")
# Of pairs without a recipe, as the READMEs of the methods have them; all others run with their defaults.
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    **{
        ("lmanet", net): {"key_channels": 128, "value_channels": NETS[net].feature_channels, "fusion": "bottleneck"}
        for net in _WIDE
    },
    **{("stt", net): {"head": "slim"} for net in _SLIMMABLE},
    **{("ssltm", net): {"width": 512, "hidden": 2048, "context_width": 256} for net in _WIDE},
}
ACCURACY = {"miou": "mIoU", "tc": "TC", "vc8": "VC8"}


@dataclass(frozen=True)
class Entry:
    """A method on a host, ready to run."""

    method: str
    model: Model
    is_trained: bool

    @property
    def name(self) -> str:
        return self.model.card.name


@dataclass
class Times:
    """Sees what each frame took of each contender."""

    of: dict[str, list[Mapping[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def see(self, frame: Frame, results: Mapping[str, Segmentation]) -> None:
        for name, result in results.items():
            self.of[name].append(result.times_ms)


def options_of(method: str, host: str) -> dict[str, Any]:
    """Of a pair that has no trained model."""
    recipe = share_folder("config") / "recipes" / f"{method}_{host}_camvid.yaml"
    return load_recipe(recipe).options if recipe.is_file() else OPTIONS.get((method, host), {})


def untrained(method: str, host: str, folder: Path, options: Mapping[str, Any] | None = None) -> Path:
    """A model folder with random weights, these options or the pair's own, and CamVid's classes.

    Raises:
        CardError: the method cannot stand on this host.
    """
    torch.manual_seed(0)
    labels, options = camvid_labels(), options_of(method, host) if options is None else options
    statistics: dict[str, Any] = {"mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3)}
    plan, about = plan_for(method, options), host_named(host)
    stages = build_stages(method, plan, host, len(labels), **statistics)
    card = {
        "name": folder.name,
        "summary": "Random weights, to be timed.",
        "method": method,
        "options": dict(options),
        "host": asdict(about),
        "labels": list(labels.names),
        "palette": labels.palette.tolist(),
        "input_size": [32, 48],  # at which the files are compared with torch; they run at any
        **{name: list(values) for name, values in statistics.items()},
        "licence": "Apache-2.0",
    }
    export_model(stages.eval(), plan, about, card, folder)
    return folder


def entries_of(
    host: str, trained: Sequence[Path], size: Size, scratch: Path, options: Options
) -> tuple[list[Entry], dict[str, str]]:
    """Every method on a host, the host alone first, and what was refused for which reason.

    Args:
        host: name of the net.
        trained: model folders of any method and host.
        size: `(height, width)` px of the network's input.
        scratch: folder for models with random weights; it must last as long as the entries.
        options: of methods that run with random weights and these instead.
    """
    entries, refused = [], {}
    fitting = {folder: card.method for folder in trained if (card := load_card(folder)).host.name == host}
    for method in sorted(methods(), key=lambda name: (name != TWIN, name)):
        given = options.get(method)
        folders = [folder for folder, of in fitting.items() if of == method and given is None]
        try:
            for folder in folders or [untrained(method, host, scratch / f"{method}_{host}", given)]:
                values = {"model.name": str(folder), "model.input_size": f"{size[1]}x{size[0]}"}
                model = load_model(load_settings(values=values | {"runtime.backend": "onnx"}))
                entries.append(Entry(method, model, bool(folders)))
        except CardError as error:
            refused[f"{method} on {host}"] = str(error)
    return entries, refused


def round_length(models: Sequence[Model]) -> int:
    """Frames after which memories are full, and keyframes come as they did before."""
    plans = [model.plan for model in models]
    period = math.lcm(*(plan.period for plan in plans if isinstance(plan, KeyframeMethod)))
    remembered = 1 + max(getattr(plan, "slots", 0) for plan in plans)
    return period * -(-remembered // period)


def rounds(drive: Iterable[Frame], length: int, seconds: float) -> Iterator[Frame]:
    """Pictures of whole rounds: two, and more until the seconds are over or the drive is."""
    began = perf_counter()
    for index, frame in enumerate(drive):
        if index >= 2 * length and index % length == 0 and perf_counter() - began > seconds:
            return
        yield Frame(frame.stamp_ns, frame.image)


def per_frame(spent: Sequence[Mapping[str, float]], host: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Milliseconds of a frame, and how many times the host's: medians, weighed by how often each kind of frame came.

    Frames that ran the same parts are of a kind: keyframes, and those between them.
    """
    kinds: dict[frozenset[str], list[tuple[float, float]]] = defaultdict(list)
    for own, alone in zip(spent, host, strict=True):
        kinds[frozenset(own)].append((own["total"], own["total"] / alone["total"]))
    ms, ratio = np.sum([len(kind) * np.median(kind, axis=0) for kind in kinds.values()], axis=0) / len(spent)
    return float(ms), float(ratio)


def medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Milliseconds of each part, over the frames that ran it."""
    parts = {part for frame in spent for part in frame}
    return {part: float(np.median([frame[part] for frame in spent if part in frame])) for part in sorted(parts)}


def cost_rows(entries: Sequence[Entry], size: Size, seconds: float) -> list[dict[str, Any]]:
    """What each entry costs for one frame of a stream; the first one is the host alone."""
    length, times = round_length([entry.model for entry in entries]), Times()
    drive = SyntheticDrive(seed=1, size=size, frames=MOST_ROUNDS * length, motion=False)
    contenders = [Contender(entry.name, entry.model) for entry in entries]
    reports = evaluate(rounds(drive, length, seconds), contenders, observers=[times])
    timed = {name: spent[length:] for name, spent in times.of.items()}
    rows = []
    for entry, report in zip(entries, reports, strict=True):
        ms, ratio = per_frame(timed[entry.name], timed[entries[0].name])
        rows.append(
            {
                "host": entry.model.card.host.name,
                "method": entry.method,
                "model": entry.name if entry.is_trained else None,
                "parameters": report["parameters"],
                "gmac_per_frame": report["gmac"],
                "memory_mb": report["memory_mb"],
                "frames": len(timed[entry.name]),
                "time_per_frame_ms": ms,
                "time_over_host": ratio,
                "parts_ms": medians(timed[entry.name]),
            }
        )
    return rows


def judged(entries: Sequence[Entry], data: str | None) -> dict[str, dict[str, float | None]]:
    """Accuracy of each trained entry, and of the host alone where that is trained, by name; empty without data.

    Raises:
        DataError: no truth of these classes is there.
    """
    trained = {entry.name: entry for entry in entries if entry.is_trained}
    if data is None or not trained:
        return {}
    # the same runtimes, at the size that a user gets
    settings = {name: load_settings(values={"model.name": str(e.model.card.folder)}) for name, e in trained.items()}
    models = {name: entry.model.tuned(settings[name]) for name, entry in trained.items()}
    motion = any(reads_codec_motion(model.plan, model.options.keyframes) for model in models.values())
    source = open_source(data, motion=motion)
    for model in models.values():
        check_classes(source, model.card)
    reports = {r["model"]: r for r in evaluate(source, [Contender(name, model) for name, model in models.items()])}
    twin = next((reports[name] for name, entry in trained.items() if entry.method == TWIN), {})
    found = {}
    for name, entry in trained.items():
        beside = {} if entry.method == TWIN else {f"twin_{key}": twin.get(key) for key in ACCURACY}
        found[name] = {key: reports[name][key] for key in ACCURACY} | beside
    return found


def measure(
    hosts: Sequence[str], size: Size, seconds: float, trained: Sequence[Path], data: str | None, options: Options
) -> dict[str, Any]:
    """Rows of all hosts, and who did not run for which reason."""
    rows: list[dict[str, Any]] = []
    not_run: dict[str, str] = {}
    for host in hosts:
        Console(stderr=True).print(f"{host} ...")
        with tempfile.TemporaryDirectory() as scratch:
            entries, refused = entries_of(host, trained, size, Path(scratch), options)
            not_run |= refused
            accuracy = judged(entries, data)
            rows += [row | accuracy.get(str(row["model"]), {}) for row in cost_rows(entries, size, seconds)]
    return {"rows": rows, "not_run": not_run}


def cell(row: Mapping[str, Any], key: str) -> str:
    """An accuracy, and in brackets the single frame's."""
    if row["model"] is None:
        return "untrained"
    own, twin = (None if row.get(name) is None else f"{row[name]:.3f}" for name in (key, f"twin_{key}"))
    return f"{own} ({twin})" if own and twin else own or "-"


def show(result: Mapping[str, Any], size: str) -> None:
    caption = "\n".join(f"no {name}: {why}" for name, why in result["not_run"].items())
    title = f"one streamed frame of {size} on {result['machine']['cpu']}; in brackets the host alone"
    table = Table(title=title, caption=caption, caption_justify="left")
    headings = "parameters, M", "GMAC", "memory, MB", "frames", "ms", "time / host", *ACCURACY.values()
    for heading in ("host", "method", *headings):
        table.add_column(heading, justify="right" if heading in headings else "left")
    for row in result["rows"]:
        numbers = (f"{row['parameters'] / 1e6:.2f}", f"{row['gmac_per_frame']:.2f}", f"{row['memory_mb']:.2f}")
        spent = (str(row["frames"]), f"{row['time_per_frame_ms']:.1f}", f"{row['time_over_host']:.2f}")
        table.add_row(
            row["host"], row["model"] or row["method"], *numbers, *spent, *(cell(row, key) for key in ACCURACY)
        )
    console = Console()
    console.width = max(console.width, 150)
    console.print(table)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--hosts", default=",".join(HOSTS), help=f"with commas: of {', '.join(NETS)}; or all")
    parser.add_argument("--size", default="480x360", help="of camera and network, in whole cells of the hosts")
    parser.add_argument("--data", help="what trained models are judged on: a source of `vss evaluate`")
    parser.add_argument("--models", nargs="*", help="trained ones by name or path; else all that are installed")
    parser.add_argument("--seconds", type=float, default=30, help="for each host; two rounds are run in any case")
    parser.add_argument("--options", default="{}", type=yaml.safe_load, help="of methods, as YAML: random weights then")
    chosen = parser.parse_args(arguments)
    chosen.hosts = list(NETS) if chosen.hosts == "all" else chosen.hosts.split(",")
    unknown = set(chosen.hosts) - set(NETS)
    if unknown:
        parser.error(f"--hosts wants some of {', '.join(NETS)}, got {', '.join(sorted(unknown))}")
    if not isinstance(chosen.options, dict) or set(chosen.options) - set(methods()):
        parser.error(f"--options wants 'METHOD: {{option: value}}' of {', '.join(methods())}, got {chosen.options}")
    return chosen


def main(arguments: list[str] | None = None) -> None:
    chosen = parsed(arguments)
    size = parse_size(chosen.size, "--size", ())
    assert not isinstance(size, str), "no words are taken"
    trained = model_folders() if chosen.models is None else [load_card(name).folder for name in chosen.models]
    result = measure(chosen.hosts, size, chosen.seconds, trained, chosen.data, chosen.options)
    result |= {
        "size": list(size),
        "data": chosen.data and Path(chosen.data).name,
        "options": chosen.options,
        "machine": machine(),
    }
    show(result, chosen.size)
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
