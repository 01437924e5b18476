# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The figures of a report, declared once: key, name with unit, number format, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantity:
    """One figure.

    Attributes:
        key: in a model's report.
        name: in tables, with the unit.
        form: a format specification.
        better: +1 where more is better, -1 where less is, 0 where neither.
    """

    key: str
    name: str
    form: str
    better: int

    def show(self, value: float | None) -> str:
        """The value as a table shows it; `-` for None."""
        return "-" if value is None else format(value, self.form)

    def of(self, report: Mapping[str, Any]) -> float | None:
        """The value in a model's report; None where it cannot be said."""
        return report.get(self.key)


QUANTITIES = (
    Quantity("miou", "mIoU", ".3f", +1),
    Quantity("miou_over_first", "mIoU over first", "+.3f", +1),
    Quantity("pixel_accuracy", "pixel accuracy", ".3f", +1),
    Quantity("tc", "TC", ".3f", +1),
    Quantity("tc_over_first", "TC over first", "+.3f", +1),
    Quantity("vc8", "VC8", ".3f", +1),
    Quantity("vc8_over_first", "VC8 over first", "+.3f", +1),
    Quantity("vc8_strict", "VC8, right", ".3f", +1),
    Quantity("vc16", "VC16", ".3f", +1),
    Quantity("vc16_strict", "VC16, right", ".3f", +1),
    Quantity("churn", "label churn", ".3f", -1),
    Quantity("agreement_with_first", "agreement with first", ".3f", 0),
    Quantity("confidence_mean", "mean confidence", ".3f", 0),
    Quantity("calibration_error", "calibration error", ".3f", -1),
    Quantity("latency_p50_ms", "latency p50, ms", ".1f", -1),
    Quantity("latency_p95_ms", "latency p95, ms", ".1f", -1),
    Quantity("latency_p99_ms", "latency p99, ms", ".1f", -1),
    Quantity("latency_times_first", "latency / first", ".2f", -1),
    Quantity("fps", "frames per second", ".1f", +1),
    Quantity("gmac", "GMAC", ".2f", -1),
    Quantity("parameters", "parameters", ",", -1),
    Quantity("memory_mb", "memory, MB", ".2f", -1),
)

FLOOR = "truth of the frame before"  # the row beside the models'
IOU = Quantity("iou", "IoU", ".3f", +1)  # of one class
