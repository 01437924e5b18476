# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Figures of single frames by hand, and a selection of pictures that stays bounded."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vss_ros.core.frame import Frame, Segmentation
from vss_ros.evaluate.keeper import Keeper, encode

SIZE = (4, 10)
COLOURS = np.arange(768, dtype=np.uint32).astype(np.uint8).reshape(256, 3)


def frame(number: int, truth: np.ndarray | None = None, size: tuple[int, int] = SIZE) -> Frame:
    return Frame(number * 100_000_000 + 7, np.full((*size, 3), number % 256, np.uint8), truth=truth)


def result(labels: np.ndarray, *, confidence: int = 255, reset: str | None = None) -> Segmentation:
    return Segmentation(0, labels, np.full_like(labels, confidence), reset=reset)


def of(value: int, changed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Labels of one value, the first `changed` pixels of another one."""
    labels = np.full(size, value, np.uint8)
    labels.flat[:changed] = value + 1
    return labels


def test_notes_by_hand() -> None:
    keeper = Keeper(3, COLOURS, frames=3)
    keeper.see(frame(5, of(0)), {"a": result(of(0), confidence=51), "b": result(of(0, 10))})
    keeper.see(frame(6), {"a": result(of(0, 4)), "b": result(of(0), reset="gap")})
    keeper.see(frame(7, of(9)), {"a": result(of(1))})
    first, second, third = keeper.notes
    assert [note.index for note in keeper.notes] == [0, 1, 2] and second.time_s == pytest.approx(0.1)
    # b: 30 of 40 pixels right; class 0 is 30 / 40, class 1 is 0 / 10
    assert first.notes["a"].miou == 1.0 and first.notes["b"].miou == pytest.approx(0.375)
    assert first.miou == pytest.approx(0.6875) and first.notes["a"].confidence == pytest.approx(0.2)
    assert second.notes["a"].churn == pytest.approx(0.1) and second.notes["a"].miou is None
    assert second.notes["b"].churn is None, "over a reset nothing is compared"
    assert third.notes["a"].miou is None and "b" not in third.notes, "truth of other classes is none"


def test_the_worst_frames_are_those_of_the_lowest_miou_and_lie_apart() -> None:
    keeper = Keeper(2, COLOURS, frames=60)
    wrong = {n: 0 for n in range(60)} | {20: 10, 21: 30, 22: 20, 40: 15}
    for number, pixels in wrong.items():
        keeper.see(frame(number, of(0)), {"a": result(of(0, pixels))})
    assert [note.index for note in keeper.worst][:2] == [21, 40], "20 and 22 show the same fault as 21"
    assert len(keeper.worst) == 8
    indices = sorted(note.index for note in keeper.worst)
    assert min(np.diff(indices)) >= 5


def test_without_truth_the_worst_frames_are_those_of_most_churn_then_of_low_confidence() -> None:
    keeper = Keeper(2, COLOURS, frames=20)
    for number in range(20):
        labels = of(0, 30 if number in (6, 13) else 0)
        keeper.see(frame(number), {"a": result(labels, confidence=10 if number in (13, 19) else 255)})
    assert [note.index for note in keeper.worst] == [13, 6, 19, 0]


def test_pictures_are_few_whatever_the_length_and_fit_into_the_limit() -> None:
    rng = np.random.default_rng(0)
    keeper = Keeper(200, COLOURS, frames=500)
    for number in range(500):
        keeper.see(frame(number), {"a": result(rng.integers(0, 200, SIZE, np.uint8))})
    pictures = keeper.pictures()
    assert len(keeper.notes) == 500 and 24 <= len(pictures) <= 32 and list(pictures) == sorted(pictures)
    assert {note.index for note in keeper.worst} <= pictures.keys() and {0, 21, 42} <= pictures.keys()
    whole = sum(kept.size for kept in pictures.values())
    fewer = keeper.pictures(limit_bytes=whole // 2)
    assert 1 <= len(fewer) < len(pictures) and sum(kept.size for kept in fewer.values()) <= whole // 2
    assert len(keeper.pictures(limit_bytes=1)) == 1


def test_pictures_are_small_and_labels_exact() -> None:
    size = (200, 960)
    labels = np.repeat(np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2), 100, 0), 480, 1)
    labels[:, -2:] = 255
    pictures = encode(frame(7, labels, size), {"a": result(labels, confidence=128)}, COLOURS)
    image = Image.open(io.BytesIO(pictures.image))
    assert image.format == "JPEG" and image.size == (480, 100)
    coded = Image.open(io.BytesIO(pictures.labels["a"]))
    np.testing.assert_array_equal(np.array(coded), labels[1::2, 1::2])
    assert coded.mode == "P" and coded.getpalette()[:12] == COLOURS.reshape(-1)[:12].tolist()
    assert coded.info["transparency"] in (255, bytes([255] * 255 + [0])) and pictures.truth == pictures.labels["a"]
    confidence = np.array(Image.open(io.BytesIO(pictures.confidence["a"])))
    assert confidence.shape == (100, 480) and np.abs(confidence.astype(int) - 128).max() <= 2
