# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A replay's figures as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


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


def comparison_table(reports: Sequence[Mapping[str, Any]], title: str) -> Table:
    """One column for each contender of `side_by_side.evaluate`."""
    rows = {
        "mIoU": lambda r: _share(r.get("miou")),
        "mIoU over first": lambda r: _signed(r.get("miou_over_first")),
        "  from (95 %)": lambda r: _signed(r.get("miou_over_first_95", [None, None])[0]),
        "  to": lambda r: _signed(r.get("miou_over_first_95", [None, None])[1]),
        "TC": lambda r: _share(r.get("tc")),
        "VC8": lambda r: _share(r.get("vc8")),
        "VC8, right": lambda r: _share(r.get("vc8_strict")),
        "VC16": lambda r: _share(r.get("vc16")),
        "VC16, right": lambda r: _share(r.get("vc16_strict")),
        "label churn": lambda r: _share(r.get("churn")),
        "calibration error": lambda r: _share(r.get("calibration_error")),
        "latency / first": lambda r: _number(r.get("latency_times_first"), "{:.2f}"),
        "latency p50, ms": lambda r: _number(r.get("latency_p50_ms"), "{:.1f}"),
        "GMAC": lambda r: _number(r.get("gmac"), "{:.2f}"),
        "memory, MB": lambda r: _number(r.get("memory_mb"), "{:.2f}"),
    }
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(str(report["model"]), justify="right", overflow="fold")
    for name, show in rows.items():
        table.add_row(name, *(show(report) for report in reports))
    return table


def _signed(value: float | None) -> str:
    return _number(value, "{:+.3f}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
