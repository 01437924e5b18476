# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Against figures computed by hand."""

import math

import numpy as np
import pytest

from vss_ros.core.errors import DataError
from vss_ros.evaluate.metrics import ConfusionMatrix, churn, percentiles


def labels(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_iou_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(labels([0, 0, 1, 1, 255]), labels([0, 1, 1, 1, 2]))
    # class 0: 1 right of {2 true + 0 false}; class 1: 2 right of {2 true + 1 false}; class 2: only on a void pixel
    assert matrix.iou()[:2].tolist() == [1 / 2, 2 / 3] and math.isnan(matrix.iou()[2])
    assert matrix.miou() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert matrix.pixel_accuracy() == 3 / 4
    assert matrix.pixels == 4


def test_counts_add_up_over_pictures_not_means() -> None:
    whole, parts = ConfusionMatrix(2), ConfusionMatrix(2)
    truth, predicted = labels([0, 0, 0, 1], [1, 1, 1, 1]), labels([0, 1, 1, 1], [1, 1, 1, 0])
    whole.add(truth, predicted)
    for row in range(2):
        parts.add(truth[row : row + 1], predicted[row : row + 1])
    assert np.array_equal(whole.counts, parts.counts)


def test_a_predicted_void_is_a_miss_and_no_false_alarm() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(labels([0, 0, 1]), labels([0, 255, 1]))
    assert matrix.iou().tolist() == [1 / 2, 1.0]


def test_nothing_labelled_has_no_figure() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(labels([255, 255]), labels([0, 1]))
    assert math.isnan(matrix.miou()) and math.isnan(matrix.pixel_accuracy()) and matrix.pixels == 0


def test_refuses_other_sizes_and_unknown_classes() -> None:
    with pytest.raises(DataError, match=r"one size, got \(1, 2\) and \(1, 3\)"):
        ConfusionMatrix(2).add(labels([0, 1]), labels([0, 1, 1]))
    with pytest.raises(DataError, match=r"0\.\.1 or 255, got up to 7"):
        ConfusionMatrix(2).add(labels([0, 7]), labels([0, 1]))


def test_churn_is_the_share_of_changed_pixels() -> None:
    assert churn(labels([1, 2], [3, 4]), labels([1, 2], [3, 5])) == 0.25


def test_percentiles_have_their_unit_in_the_name() -> None:
    assert percentiles(range(101), "latency") == {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}
    assert percentiles([], "latency") == {}
