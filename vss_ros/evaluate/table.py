# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Figures as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from vss_ros.evaluate.quantities import FLOOR, IOU, QUANTITIES, Quantity

# What fits beside a model's name in 80 columns; JSON and HTML hold every figure.
_TABLES = {
    "accuracy": ("miou", "miou_over_first", "pixel_accuracy", "calibration_error"),
    "steadiness": ("tc", "vc8", "vc8_strict", "vc16", "vc16_strict", "churn", "agreement_with_first"),
    "time and cost": ("latency_p50_ms", "latency_p99_ms", "latency_times_first", "gmac", "parameters", "memory_mb"),
}


def figures_table(report: Mapping[str, Any], title: str) -> Table:
    """Speed by part, steadiness and, where truth was present, accuracy by class."""
    table = Table(title=escape(title), title_justify="left")
    for heading, side in (("", "left"), ("p50", "right"), ("p95", "right"), ("p99", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    if report["frames"]:
        table.add_row("latency, ms", *(f"{report[f'latency_p{p}_ms']:.1f}" for p in (50, 95, 99)))
        for part, figures in report["parts"].items():
            table.add_row(f"  {escape(part)}", *(f"{figures[f'latency_p{p}_ms']:.1f}" for p in (50, 95, 99)))
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
        table.add_row(escape(name), escape(str(value)))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in counts.items()) or "none"


@dataclass(frozen=True)
class Row:
    """One figure of several contenders: what to show of each, and which of the models are the best."""

    key: str
    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def comparison_rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every figure that at least one of the contenders has, in the order of QUANTITIES."""
    rows = []
    for quantity in QUANTITIES:
        values = [quantity.of(report) for report in reports]
        of_models = [None if report["model"] == FLOOR else quantity.of(report) for report in reports]
        cells = tuple(map(quantity.show, values))
        rows.append(Row(quantity.key, quantity.name, cells, _best(of_models, quantity.better)))
        if quantity.key.endswith("_over_first"):
            intervals = (report.get(f"{quantity.key}_95") for report in reports)
            cells = tuple(f"{i[0]:+.3f} to {i[1]:+.3f}" if i else "-" for i in intervals)
            rows.append(Row(quantity.key, "  95 % interval", cells))
    return [row for row in rows if any(cell != "-" for cell in row.cells)]


def _best(values: Sequence[float | None], better: int) -> frozenset[int]:
    known = [value * better for value in values if value is not None]
    if not better or len(known) < 2 or min(known) == max(known):
        return frozenset()
    return frozenset(i for i, value in enumerate(values) if value is not None and value * better == max(known))


def comparison_tables(reports: Sequence[Mapping[str, Any]], title: str) -> list[Table]:
    """The main figures of `side_by_side.evaluate` in tables of a kind, one row for each contender."""
    rows = comparison_rows(reports)
    kinds = {kind: [row for row in rows if row.key in keys] for kind, keys in _TABLES.items()}
    names = [escape(str(report["model"])) for report in reports]
    titles = {kind: f"{title}: {kind}" for kind in kinds}
    flow = next((report.get("tc_flow") for report in reports if report.get("tc") is not None), None)
    if flow:
        titles["steadiness"] += f", TC along {flow}"
    return [_table_of(figures, names, titles[kind]) for kind, figures in kinds.items() if figures]


def _table_of(figures: Sequence[Row], names: Sequence[str], title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for figure in figures:
        # as narrow as its longest word, so that the headings break and not the figures
        width = max(map(len, (*figure.name.split(), *figure.cells)))
        table.add_column(figure.name.strip(), justify="right", width=width)
    for name, *cells in zip(names, *(figure.cells for figure in figures), strict=True):
        if any(cell != "-" for cell in cells):
            table.add_row(name, *cells)
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
