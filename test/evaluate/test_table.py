# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from io import StringIO

from rich.console import Console

from vss_ros.evaluate.replay import Figures
from vss_ros.evaluate.table import figures_table


def test_names_and_paths_are_shown_as_they_are() -> None:
    figures = Figures(["[road]"], dropped={"a picture [16, 16] was wanted": 1})
    report = {**figures.report(), "miou": 0.5, "pixel_accuracy": 0.5, "iou": {"[road]": 0.5, "[/sky]": 0.5}}
    shown = Console(file=StringIO(), width=100, record=True)
    shown.print(figures_table(report, "tiny on /tmp/[old]/[/x].mp4"))
    text = shown.export_text()
    for name in ("tiny on /tmp/[old]/[/x].mp4", "1 a picture [16, 16] was wanted", "IoU [road]", "IoU [/sky]"):
        assert name in text
