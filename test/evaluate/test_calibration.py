# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.evaluate.calibration import Calibration


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def test_by_hand() -> None:
    """Four pixels at 0.6, half of them right; one at 1.0, right; no truth and no label do not count."""
    calibration = Calibration()
    calibration.add(row(1, 1, 1, 1, 2, 255, 1), row(1, 1, 2, 2, 2, 2, 255), row(153, 153, 153, 153, 255, 0, 0))
    assert calibration.error() == pytest.approx((4 * abs(0.6 - 0.5) + 1 * 0.0) / 5)
    assert calibration.curve() == [
        {"confidence": pytest.approx(0.6), "accuracy": 0.5, "pixels": 4},
        {"confidence": 1.0, "accuracy": 1.0, "pixels": 1},
    ]


def test_a_forecaster_who_is_as_often_right_as_he_says_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, 256, (400, 500), np.uint8)
    truth = np.ones(confidence.shape, np.uint8)
    labels = np.where(rng.random(truth.shape) < confidence / 255, 1, 0).astype(np.uint8)
    calibration = Calibration()
    calibration.add(truth, labels, confidence)
    assert calibration.error() < 0.01
    overconfident = Calibration()
    overconfident.add(truth, labels, np.full_like(confidence, 255))
    assert overconfident.error() == pytest.approx(0.5, abs=0.01)


def test_without_pixels_there_is_no_error() -> None:
    assert Calibration().error() is None and Calibration().curve() == []
