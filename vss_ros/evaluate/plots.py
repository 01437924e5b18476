# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A report's plots, as SVG to be put into HTML; needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_WIDTH = 9.0  # inches of 72 px
_LETTERS = 13.0  # of a legend in one inch
_HANDLE = 8  # letters that a line or patch with its margins takes in a legend
_STYLE: Any = {
    "svg.fonttype": "none",  # letters stay text: small, and in the reader's font
    "svg.hashsalt": "vss_ros",  # the same figures give the same bytes
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}
_OF_THE_WHOLE = ("total", "infer")  # sums of the other parts, more or less
_ORDER = ("prepare", "encode", "attend", "fuse", "decode", "finish")  # what is not named comes before decode
_PART_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f")

Reports = Sequence[Mapping[str, Any]]


def iou_bars(reports: Reports) -> str:
    """IoU of each class, a bar for each model."""
    classes = list(reports[0]["iou"])
    thick = 0.8 / len(reports)

    def draw(axes: Any) -> None:
        for number, report in enumerate(reports):
            heights = [np.nan if report["iou"][name] is None else report["iou"][name] for name in classes]
            places = np.arange(len(classes)) + (number + 0.5) * thick - 0.4
            axes.bar(places, heights, thick * 0.9, label=report["model"], color=f"C{number}")
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
        axes.set(ylabel="IoU, 0 to 1", ylim=(0, 1))
        axes.grid(axis="x", visible=False)

    return _svg(draw, height=3.4)


def latency_bars(reports: Reports) -> str:
    """Median time of each part, one on top of the other, and a mark at the median of the whole."""
    ran = dict.fromkeys(part for report in reports for part in report["parts"] if part not in _OF_THE_WHOLE)
    parts = sorted(ran, key=lambda part: _ORDER.index(part) if part in _ORDER else _ORDER.index("decode") - 0.5)
    rows = np.arange(len(reports))

    def draw(axes: Any) -> None:
        left = np.zeros(len(reports))
        for number, part in enumerate(parts):
            widths = np.array([r["parts"].get(part, {}).get("latency_p50_ms", 0.0) for r in reports])
            axes.barh(rows, widths, 0.6, left=left, label=part, color=_PART_COLOURS[number % len(_PART_COLOURS)])
            left += widths
        totals = [report["latency_p50_ms"] or 0.0 for report in reports]
        axes.scatter(totals, rows, marker="|", s=300, color="black", label="whole", zorder=3)
        axes.set_yticks(rows, [report["model"] for report in reports])
        axes.set(xlabel="median time of a frame, ms", xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    return _svg(draw, height=1.3 + 0.4 * len(reports))


def over_frames(series: Mapping[str, Sequence[float | None]], ylabel: str) -> str:
    """One line for each model over the number of the frame; gaps where a value is None."""

    def draw(axes: Any) -> None:
        for number, (name, values) in enumerate(series.items()):
            heights = [np.nan if value is None else value for value in values]
            axes.plot(heights, label=name, color=f"C{number}", linewidth=1.2)
        axes.set(xlabel="number of the frame", ylabel=ylabel)
        axes.margins(x=0.01)

    return _svg(draw, height=2.9)


def reliability(reports: Reports) -> str:
    """Share of right pixels over the confidence that was given, with the diagonal of a perfect forecaster."""

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color="#999", linestyle="--", linewidth=1, label="as right as confident")
        for number, report in enumerate(reports):
            curve = report["calibration"]
            points = [row["confidence"] for row in curve], [row["accuracy"] for row in curve]
            label = f"{report['model']} (error {report['calibration_error']:.3f})"
            axes.plot(*points, marker="o", markersize=3.5, linewidth=1.2, label=label, color=f"C{number}")
        axes.set(xlabel="mean confidence, 0 to 1", ylabel="share of right pixels, 0 to 1", xlim=(0, 1), ylim=(0, 1))

    return _svg(draw, height=4.2, width=7.0)


def _svg(draw: Any, *, height: float, width: float = _WIDTH) -> str:
    """One pair of axes with its legend above, as an `<svg>` element."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        longest = max(len(label) for label in axes.get_legend_handles_labels()[1])
        figure.legend(loc="outside upper left", ncols=max(int(width * _LETTERS / (longest + _HANDLE)), 1))
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
