# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Intervals of a difference: against the definition written out, and that they behave as intervals do."""

from __future__ import annotations

import numpy as np
import pytest

from vss_ros.evaluate.bootstrap import BLOCK, RESAMPLED, Pairs, mean_difference, miou_difference, pairs_of
from vss_ros.evaluate.metrics import ConfusionMatrix


def confusions(right: list[int], wrong: list[int]) -> list[Pairs]:
    return [pairs_of(np.array([[r, w, 0], [0, 100, 0]])) for r, w in zip(right, wrong, strict=True)]


def test_a_confusion_without_its_zeros() -> None:
    where, counts = pairs_of(np.array([[3, 0, 0], [0, 0, 7]]))
    assert (where.tolist(), counts.tolist()) == ([0, 5], [3, 7])


def test_no_difference_has_no_width() -> None:
    same = confusions([50] * 40, [50] * 40)
    assert miou_difference(same, same, 2) == (0.0, 0.0, 0.0)
    assert mean_difference([0.5] * 40, [0.5] * 40) == (0.0, 0.0, 0.0)


def test_an_interval_covers_the_difference_and_widens_with_the_noise() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for spread in (2, 20):
        noise = rng.integers(-spread, spread + 1, 120)
        better = confusions((70 + noise).tolist(), (30 - noise).tolist())
        low, mean, high = miou_difference(better, confusions([60] * 120, [40] * 120), 2)
        assert low < mean < high and low > 0, "the difference is real in both"
        widths.append(high - low)
    assert widths[0] < widths[1]


def test_against_the_definition() -> None:
    """Frames drawn in blocks of a ring, their confusions summed, mIoU of the sums; of windows the plain mean."""
    rng = np.random.default_rng(1)
    frames = 37
    one, other = (rng.integers(0, 50, (frames, 3, 4)) * (rng.random((frames, 3, 4)) < 0.5) for _ in range(2))
    shares = rng.random((2, frames))

    def miou(counts: np.ndarray) -> float:
        confusion = ConfusionMatrix(3)
        confusion.counts = counts
        return confusion.miou()

    draws, of_miou, of_mean = np.random.default_rng(5), [], []
    for _ in range(RESAMPLED):
        starts = draws.integers(0, frames, 3)  # 3 blocks cover 37 frames
        drawn = [(start + step) % frames for start in starts for step in range(BLOCK)][:frames]
        of_miou.append(miou(one[drawn].sum(0)) - miou(other[drawn].sum(0)))
        of_mean.append(shares[0, drawn].mean() - shares[1, drawn].mean())
    found = miou_difference([pairs_of(c) for c in one], [pairs_of(c) for c in other], 3, seed=5)
    low, high = np.percentile(of_miou, (2.5, 97.5))
    assert found == pytest.approx((low, miou(one.sum(0)) - miou(other.sum(0)), high))
    low, high = np.percentile(of_mean, (2.5, 97.5))
    assert mean_difference(*shares.tolist(), seed=5) == pytest.approx((low, shares[0].mean() - shares[1].mean(), high))


def test_draws_without_a_labelled_frame_say_nothing() -> None:
    nothing = pairs_of(np.zeros((2, 3), np.int64))
    one, other = ([*confusions([right] * 3, [10] * 3), *[nothing] * 37] for right in (90, 50))
    low, difference, high = miou_difference(one, other, 2)
    assert low == pytest.approx(difference) and high == pytest.approx(difference) and difference > 0
