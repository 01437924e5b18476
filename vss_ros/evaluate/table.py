# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Figures as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from vss_ros.evaluate.quantities import FLOOR, IOU, QUANTITIES, Quantity


def figures_table(report: Mapping[str, Any], title: str) -> Table:
    """Speed by part, steadiness and, where truth was present, accuracy by class."""
    table = Table(title=title, title_justify="left")
    for heading, side in (("", "left"), ("p50", "right"), ("p95", "right"), ("p99", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    if report["frames"]:
        table.add_row("latency, ms", *(f"{report[f'latency_p{p}_ms']:.1f}" for p in (50, 95, 99)))
        for part, figures in report["parts"].items():
            table.add_row(f"  {part}", *(f"{figures[f'latency_p{p}_ms']:.1f}" for p in (50, 95, 99)))
        table.add_section()
    rows = {
        "frames": report["frames"],
        "frames per second": f"{report['fps']:.1f}",
        "dropped": _counts(report["dropped"]),
        "memory resets": _counts(report["resets"]),
        "label churn": _share(report["churn"]),
        "mean confidence": _share(report["confidence_mean"]),
    }
    if "miou" in report:
        rows |= {"mIoU": _share(report["miou"]), "pixel accuracy": _share(report["pixel_accuracy"])}
        rows |= {f"  IoU {name}": _share(iou) for name, iou in report["iou"].items() if iou is not None}
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in counts.items()) or "none"


@dataclass(frozen=True)
class Row:
    """One figure of several contenders: what to show of each, and which of the models are the best."""

    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def comparison_rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every figure that at least one of the contenders has, in the order of QUANTITIES."""
    rows = []
    for quantity in QUANTITIES:
        values = [quantity.of(report) for report in reports]
        of_models = [None if report["model"] == FLOOR else quantity.of(report) for report in reports]
        rows.append(Row(quantity.name, tuple(map(quantity.show, values)), _best(of_models, quantity.better)))
        if quantity.key == "miou_over_first":
            intervals = (report.get("miou_over_first_95") for report in reports)
            rows.append(Row("  95 % interval", tuple(f"{i[0]:+.3f} to {i[1]:+.3f}" if i else "-" for i in intervals)))
    return [row for row in rows if any(cell != "-" for cell in row.cells)]


def _best(values: Sequence[float | None], better: int) -> frozenset[int]:
    known = [value * better for value in values if value is not None]
    if not better or len(known) < 2 or min(known) == max(known):
        return frozenset()
    return frozenset(i for i, value in enumerate(values) if value is not None and value * better == max(known))


def comparison_table(reports: Sequence[Mapping[str, Any]], title: str) -> Table:
    """One column for each contender of `side_by_side.evaluate`."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(str(report["model"]), justify="right", overflow="fold")
    for row in comparison_rows(reports):
        table.add_row(row.name, *row.cells)
    return table


def difference_table(comparison: Mapping[str, Any], title: str) -> Table:
    """What `compare.compare` found: a row for each figure and class, a section for each model."""
    table = Table(title=escape(title), title_justify="left")
    for heading in ("", "A", "B", "difference", ""):
        table.add_column(heading, justify="right" if heading else "left")
    shown = {quantity.key: quantity for quantity in QUANTITIES}
    for pair in comparison["models"]:
        table.add_section()
        table.add_row(f"[bold]{escape(_title(pair))}[/]")
        for key, found in pair["figures"].items():
            table.add_row(f"  {shown[key].name}", *_cells(shown[key], found))
        for name, found in pair["iou"].items():
            table.add_row(f"  IoU {escape(name)}", *_cells(IOU, found))
    return table


def _title(pair: Mapping[str, Any]) -> str:
    return str(pair["a"]) if pair["a"] == pair["b"] else f"{pair['a']} / {pair['b']}"


def _cells(quantity: Quantity, found: Mapping[str, Any]) -> tuple[str, ...]:
    difference = format(found["difference"], "+" + quantity.form.lstrip("+"))
    return quantity.show(found["a"]), quantity.show(found["b"]), difference, str(found["verdict"])
