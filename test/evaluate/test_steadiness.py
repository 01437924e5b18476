# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""VC and TC against cases worked out by hand, and VC against the definition in four nested loops."""

from __future__ import annotations

import numpy as np
import pytest

from vss_ros.core.frame import UInt8Array
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.steadiness import DisFlow, OncePerPair, TemporalConsistency, VideoConsistency, warp_labels


def maps(*rows: list[int]) -> list[UInt8Array]:
    return [np.array([row], np.uint8) for row in rows]


def vc(frames: int, truth: list[UInt8Array], labels: list[UInt8Array]) -> VideoConsistency:
    consistency = VideoConsistency(frames)
    for t, label in zip(truth, labels, strict=True):
        consistency.add(t, label)
    return consistency


def test_by_hand() -> None:
    """Pixel 0: steady and right. 1: steady and wrong. 2: flickers. 3: its truth changes, so it does not count."""
    truth = maps([1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 1, 2], [9, 9, 9, 9])
    labels = maps([1, 5, 1, 1], [1, 5, 2, 2], [1, 5, 1, 2], [9, 9, 9, 9])
    # windows of 2 that count: frames 0-1 (truth fixed at 0, 1, 2) and 1-2 (all four)
    two = vc(2, truth, labels)
    assert two.value() == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert two.strict() == pytest.approx((1 / 3 + 2 / 4) / 2)
    three = vc(3, truth, labels)
    assert three.value() == pytest.approx(2 / 3) and three.strict() == pytest.approx(1 / 3)


def test_the_last_window_is_left_out_and_a_short_video_has_no_value() -> None:
    still = maps([1], [1], [1])
    assert vc(3, still, still).value() is None, "the only window ends with the last frame"
    assert vc(2, still, maps([1], [1], [2])).value() == 1.0, "the change at the end is not seen"
    assert vc(4, still, still).value() is None and vc(4, still, still).strict() is None


def test_unlabelled_truth_counts_as_steady_but_never_as_right() -> None:
    truth, labels = maps([255, 1], [255, 1], [0, 0]), maps([3, 1], [4, 1], [0, 0])
    assert (vc(2, truth, labels).value(), vc(2, truth, labels).strict()) == (0.5, 1.0)


def test_videos_do_not_run_into_each_other() -> None:
    consistency = VideoConsistency(2)
    for first, second in (([1], [1]), ([1], [1]), ([1], [1])):
        consistency.add(*maps(first, second))
    consistency.end()
    for first, second in (([1], [7]), ([1], [8]), ([1], [9])):
        consistency.add(*maps(first, second))
    assert consistency.value() == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_against_the_definition(frames: int) -> None:
    rng = np.random.default_rng(frames)
    truth, labels = (rng.choice([0, 0, 0, 0, 1, 255], (9, 6, 7)).astype(np.uint8) for _ in range(2))
    shares = []
    for start in range(len(truth) - frames):
        fixed = (truth[start : start + frames] == truth[start]).all(0)
        steady = (labels[start : start + frames] == labels[start]).all(0)
        if fixed.any():
            shares.append((steady & fixed).sum() / fixed.sum())
    assert vc(frames, list(truth), list(labels)).value() == pytest.approx(np.mean(shares))


def test_labels_follow_the_flow_and_what_leaves_the_picture_is_marked() -> None:
    later = np.array([[0, 1, 2, 3]], np.uint8)
    warped, inside = warp_labels(later, np.full((1, 4, 2), (1.0, 0.0)))
    assert warped[inside].tolist() == [1, 2, 3] and inside.tolist() == [[True, True, True, False]]
    assert warp_labels(later, np.full((1, 4, 2), (0.4, -0.4)))[0].tolist() == later.tolist()


def test_tc_of_a_moving_street_sees_flicker_but_not_motion() -> None:
    drive = list(SyntheticDrive(seed=3, size=(120, 160), frames=6))
    truth = [frame.truth for frame in drive]
    rng = np.random.default_rng(0)
    values = {}
    for name in ("true", "flickering", "none"):
        tc = TemporalConsistency(11)
        for frame, labels in zip(drive, truth, strict=True):
            assert labels is not None
            noisy = np.where(rng.random(labels.shape) < 0.2, rng.integers(0, 11, labels.shape), labels)
            tc.add(
                frame.image,
                labels if name == "true" else noisy.astype(np.uint8) if name == "flickering" else labels * 0,
            )
        values[name] = tc.value()
    assert values["none"] == 1.0
    assert values["true"] > 0.75 > values["flickering"]


def test_a_flow_of_ones_own_is_named() -> None:
    def still(before: UInt8Array, now: UInt8Array) -> np.ndarray:
        return np.zeros((*now.shape[:2], 2), np.float32)

    tc = TemporalConsistency(3, still)
    image = np.zeros((1, 4, 3), np.uint8)
    assert tc.value() is None and tc.flow_name == "custom" and TemporalConsistency(3).flow_name == "DIS medium"
    tc.add(image, np.array([[0, 0, 1, 1]], np.uint8))
    tc.add(image, np.array([[0, 1, 1, 1]], np.uint8))
    assert tc.value() == pytest.approx((1 / 2 + 2 / 3) / 2)
    tc.end()
    tc.add(image, np.array([[2, 2, 2, 2]], np.uint8))
    assert tc.value() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_shared_flow_is_computed_once_for_each_two_pictures() -> None:
    asked: list[int] = []

    def flow(before: np.ndarray, now: np.ndarray) -> np.ndarray:
        asked.append(int(now[0, 0, 0]))
        return np.zeros((*now.shape[:2], 2), np.float32)

    shared = OncePerPair(flow)
    contenders = [TemporalConsistency(3, shared) for _ in range(3)]
    for number in range(4):
        image = np.full((8, 9, 3), number, np.uint8)
        for tc in contenders:
            tc.add(image, np.zeros((8, 9), np.uint8))
    assert asked == [1, 2, 3]
    assert {tc.value() for tc in contenders} == {1.0} and contenders[0].flow_name == "custom"
    assert OncePerPair(DisFlow()).name == "DIS medium"
