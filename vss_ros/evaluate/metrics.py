# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Accuracy and steadiness of label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, UInt8Array


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs over a whole data set; pixels whose truth is 255 are left out.

    A predicted 255 on a labelled pixel is an error: it counts against the true class and for none.

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = np.zeros((classes, classes + 1), np.int64)  # last column: predicted unlabelled

    def add(self, truth: UInt8Array, labels: UInt8Array) -> None:
        """Count one picture.

        Raises:
            DataError: sizes differ, or a label is neither a class nor 255.
        """
        if truth.shape != labels.shape:
            raise DataError(
                f"truth and labels want one size, got {truth.shape} and {labels.shape}; set output.size to camera"
            )
        known = truth != UNLABELLED
        true, predicted = truth[known].astype(np.int64), labels[known].astype(np.int64)
        predicted[predicted == UNLABELLED] = self.classes
        if true.size and (true.max() >= self.classes or predicted.max() > self.classes):
            raise DataError(
                f"labels want 0..{self.classes - 1} or {UNLABELLED}, got up to {max(true.max(), predicted.max())}"
            )
        pairs = true * (self.classes + 1) + predicted
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def pixels(self) -> int:
        """Labelled pixels seen."""
        return int(self.counts.sum())

    def iou(self) -> npt.NDArray[np.float64]:
        """`(K,)` true / (true + false) of each class; NaN for a class that is neither in truth nor predicted."""
        right = np.diag(self.counts).astype(float)
        union = self.counts.sum(1) + self.counts[:, :-1].sum(0) - right
        return np.divide(right, union, out=np.full(self.classes, np.nan), where=union > 0)

    def miou(self) -> float:
        """Mean IoU over the classes that occur; NaN without any."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of labelled pixels with the right label; NaN without any."""
        return float(np.diag(self.counts).sum() / self.pixels) if self.pixels else float("nan")


def churn(before: UInt8Array, now: UInt8Array) -> float:
    """Share of pixels whose label changed from one frame to the next; what moves in the scene counts too."""
    return float(np.count_nonzero(before != now)) / now.size


def percentiles(values: Sequence[float], prefix: str, unit: str = "ms") -> Mapping[str, float]:
    """`<prefix>_p50_<unit>`, p95 and p99 of some values; empty without values."""
    if not values:
        return {}
    points: npt.NDArray[Any] = np.percentile(np.asarray(values), (50, 95, 99))
    return {f"{prefix}_p{p}_{unit}": float(x) for p, x in zip((50, 95, 99), points, strict=True)}
