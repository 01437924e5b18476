# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whether a confidence of 0.8 is right in 80 % of the pixels.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equations 2 and 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vss_ros.core.frame import UNLABELLED, UInt8Array

BINS = 15


class Calibration:
    """Counts right and wrong pixels at each of the 256 levels of confidence; those without truth or label, not."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, 256), np.int64)  # wrong, right

    def add(self, truth: UInt8Array, labels: UInt8Array, confidence: UInt8Array) -> None:
        """One picture's `(H, W)` truth, labels and confidence in 1/255."""
        known = (truth != UNLABELLED) & (labels != UNLABELLED)
        right = labels[known] == truth[known]
        for row, chosen in zip(self._counts, (confidence[known][~right], confidence[known][right]), strict=True):
            row += np.bincount(chosen, minlength=256)

    def curve(self) -> list[dict[str, Any]]:
        """For each of 15 equal bins that is not empty: mean confidence, share of right pixels, number of pixels."""
        levels = np.arange(256) / 255.0
        index = np.minimum((levels * BINS).astype(int), BINS - 1)
        rows = []
        for number in range(BINS):
            wrong, right = self._counts[:, index == number]
            pixels = int(wrong.sum() + right.sum())
            if pixels:
                confidence = float(((wrong + right) * levels[index == number]).sum() / pixels)
                rows.append({"confidence": confidence, "accuracy": float(right.sum() / pixels), "pixels": pixels})
        return rows

    def error(self) -> float | None:
        """Expected calibration error in 0..1; None without pixels."""
        curve = self.curve()
        total = sum(row["pixels"] for row in curve)
        if not total:
            return None
        return float(sum(row["pixels"] * abs(row["confidence"] - row["accuracy"]) for row in curve) / total)
