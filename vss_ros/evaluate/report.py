# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""An evaluation as one HTML file that needs nothing else: tables, plots, the worst frames, and frames to flip through.

Needs jinja2 and matplotlib, which are optional; `ask_for_libraries` says so before anything is computed.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError, DataError
from vss_ros.evaluate import plots
from vss_ros.evaluate.keeper import FrameNote, Keeper, Pictures
from vss_ros.evaluate.quantities import FLOOR, IOU
from vss_ros.evaluate.table import comparison_rows


def ask_for_libraries() -> None:
    """Refuse in time what cannot be written at the end.

    Raises:
        BackendError: jinja2 or matplotlib is not installed.
    """
    try:
        for name in ("jinja2", "matplotlib"):
            importlib.import_module(name)
    except ImportError as error:
        raise BackendError(
            f"an HTML report wants jinja2 and matplotlib: {error}; pip install jinja2 matplotlib"
        ) from error


def write_report(path: Path, run: Mapping[str, Any], kept: Keeper, card: ModelCard) -> None:
    """Write an evaluation's report.

    Args:
        path: the file.
        run: what `vss evaluate --json` writes: source, command, settings, machine and the models' reports.
        kept: the observer of this evaluation.
        card: of a model, for names and colours of the classes.

    Raises:
        BackendError: as `ask_for_libraries`.
        DataError: the file cannot be written.
    """
    ask_for_libraries()
    text = render(run, kept, card)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"a report was wanted at {path}: {error}; name another file") from error


def render(run: Mapping[str, Any], kept: Keeper, card: ModelCard) -> str:
    """The report's HTML."""
    import jinja2

    reports = run["models"]
    models = [report for report in reports if report["model"] != FLOOR]
    names = [str(report["model"]) for report in models]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string((files(__package__) / "report.html.j2").read_text(encoding="utf-8"))
    return page.render(
        run=run,
        reports=reports,
        models=models,
        rows=comparison_rows(reports),
        plots=_plots(models, kept.notes, names),
        classes=_classes(reports, card),
        palette=[
            (name, "rgb({}, {}, {})".format(*colour)) for name, colour in zip(card.labels, card.palette, strict=True)
        ],
        worst=kept.worst,
        by_miou=any(note.miou is not None for note in kept.worst),
        names=names,
        flip=[_shown(kept.notes[index], pictures, names) for index, pictures in kept.pictures().items()],
    )


def _plots(
    models: Sequence[Mapping[str, Any]], notes: Sequence[FrameNote], names: Sequence[str]
) -> list[dict[str, str]]:
    """Title, caption and SVG of what this source allows to draw."""
    found = []

    def add(title: str, caption: str, svg: str) -> None:
        from markupsafe import Markup

        found.append({"title": title, "caption": caption, "svg": Markup(svg)})  # ours; matplotlib escapes names in it

    with_truth = [model for model in models if model.get("iou")]
    if with_truth:
        add("IoU by class", "One confusion matrix over all frames.", plots.iou_bars(with_truth))
    timed = [model for model in models if model["latency_p50_ms"] is not None]
    if timed:
        caption = "Medians of the parts; they need not add up to the median of the whole, which is the black mark."
        add("Latency by part", caption, plots.latency_bars(timed))
    for title, key, caption in (
        ("mIoU by frame", "miou", "Over the classes that are in the frame's truth or labels."),
        ("Label churn by frame", "churn", "Share of pixels whose label changed since the frame before."),
        ("Mean confidence by frame", "confidence", "Mean over the frame's pixels."),
    ):
        series = {name: [getattr(note.notes.get(name), key, None) for note in notes] for name in names}
        if any(value is not None for values in series.values() for value in values):
            add(title, caption, plots.over_frames(series, f"{title.partition(' by')[0]}, 0 to 1"))
    calibrated = [model for model in models if model["calibration"]]
    if calibrated:
        add("Reliability", "In 15 bins of confidence, empty ones left out.", plots.reliability(calibrated))
    return found


def _classes(reports: Sequence[Mapping[str, Any]], card: ModelCard) -> list[dict[str, Any]]:
    """For each class its name, colour and IoU by model; empty without truth."""
    if not any(report.get("iou") for report in reports):
        return []
    return [
        {
            "name": name,
            "colour": "rgb({}, {}, {})".format(*colour),
            "cells": [IOU.show((report.get("iou") or {}).get(name)) for report in reports],
        }
        for name, colour in zip(card.labels, card.palette, strict=True)
    ]


def _shown(note: FrameNote, pictures: Pictures, names: Sequence[str]) -> dict[str, Any]:
    """One frame of the flip-through."""
    return {
        "index": note.index,
        "time_s": round(note.time_s, 3),
        "image": _uri("jpeg", pictures.image),
        "truth": _uri("png", pictures.truth),
        "labels": [_uri("png", pictures.labels.get(name)) for name in names],
        "confidence": [_uri("jpeg", pictures.confidence.get(name)) for name in names],
    }


def _uri(kind: str, content: bytes | None) -> str | None:
    return None if content is None else f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
