# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Golden frames: written, read back, and a measure that sees what differs."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from test.core.fakes import HOST, FakeRuntime, Summing
from test.core.test_card import card as plain_card
from vss_ros.core.card import GoldenFile, ModelCard
from vss_ros.core.errors import CardError
from vss_ros.data.resize import resize
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.runtimes.golden import Agreement, GoldenCheck, golden_images, write_golden_file

SIZE = (48, 64)


@functools.cache
def written() -> tuple[dict[str, Any], bytes]:
    """The card's entry and the file for pictures of `SIZE`."""
    with tempfile.TemporaryDirectory() as folder:
        entry = write_golden_file(plain_card(Path(folder), input_size=list(SIZE)))
        return entry, (Path(folder) / "golden.jpg").read_bytes()


def golden_card(folder: Path, **changes: Any) -> ModelCard:
    entry, content = written()
    (folder / "golden.jpg").write_bytes(content)
    return replace(plain_card(folder, input_size=list(SIZE)), host=HOST, golden=GoldenFile(**{**entry, **changes}))


def test_three_consecutive_frames_of_the_drive(tmp_path: Path) -> None:
    images = golden_images(golden_card(tmp_path))
    assert [image.shape for image in images] == [(*SIZE, 3)] * 3
    wanted = SyntheticDrive(2026, size=SIZE, frames=3, motion=False)
    for image, frame in zip(images, wanted, strict=True):
        assert np.abs(image.astype(int) - frame.image).mean() < 6, "RGB, in order, but for the JPEG"


def test_large_pictures_are_kept_small(tmp_path: Path) -> None:
    card = plain_card(tmp_path, input_size=[1024, 2048])
    golden = GoldenFile(**write_golden_file(card))
    images = golden_images(replace(card, golden=golden))
    height, width = images[0].shape[:2]
    assert height * width < 180_000 and abs(width / height - 2) < 0.1
    assert (tmp_path / golden.file).stat().st_size < 300_000


def test_what_is_damaged_or_missing_is_refused(tmp_path: Path) -> None:
    card = golden_card(tmp_path)
    with pytest.raises(CardError, match="its card has none; run vss export with --golden"):
        golden_images(replace(card, golden=None))
    with pytest.raises(CardError, match="wants 7 pictures of one height, got 144 rows"):
        golden_images(golden_card(tmp_path, frames=7))
    with pytest.raises(CardError, match="wants 0 pictures of one height"):
        golden_images(golden_card(tmp_path, frames=0))
    (tmp_path / "golden.jpg").write_bytes(b"no picture")
    with pytest.raises(CardError, match="the file is damaged or was exchanged"):
        golden_images(card)
    (tmp_path / "golden.jpg").unlink()
    with pytest.raises(CardError, match="the file is missing"):
        golden_images(card)


def test_bytes_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    card = golden_card(tmp_path, sha256=hashlib.sha256(b"no picture").hexdigest())
    (tmp_path / "golden.jpg").write_bytes(b"no picture")
    with pytest.raises(CardError, match="wants 3 pictures of one height, got no picture"):
        golden_images(card)


class Off(FakeRuntime):
    """Gives a quarter of the labels wrong, and the confidence too low by 51 of 255 in half of the pixels."""

    def run(self, stage: str, /, **inputs: Any) -> dict[str, Any]:
        outputs = super().run(stage, **inputs)
        if stage != "decode":
            return outputs
        confidence = outputs["confidence"].astype(int)
        confidence[:, ::2] += np.where(confidence[:, ::2] > 128, -51, 51)
        return {**outputs, "confidence": confidence.astype(np.uint8)}

    def download(self, array: np.ndarray) -> np.ndarray:
        return array

    def upload(self, array: np.ndarray) -> np.ndarray:
        image = array.copy()
        image[: len(image) // 4, :, 0] += 1
        return image


def test_the_figures_are_those_of_the_pictures(tmp_path: Path) -> None:
    card = golden_card(tmp_path)
    check = GoldenCheck(card, Summing(0), FakeRuntime, resize)
    assert check(FakeRuntime(), SIZE) == Agreement(0.0, 0.0)
    found = check(Off(), SIZE)
    assert found.labels_differ == 0.25
    assert found.confidence_differs == pytest.approx(0.1, abs=0.003), "a fifth in half of them"
    assert str(found).startswith("25.00% of the labels differ, the confidence by 0.1")


def test_the_memory_takes_part(tmp_path: Path) -> None:
    """Only from the second frame on: the first one has none."""

    class Forgetful(FakeRuntime):
        def attend(self, *arguments: Any, **options: Any) -> Any:
            return super().attend(*arguments, **options) + 1

    found = GoldenCheck(golden_card(tmp_path), Summing(2), FakeRuntime, resize)(Forgetful(), SIZE)
    assert found.labels_differ == pytest.approx(4 / 5) and found.labels_differ_again == 0


def test_the_pictures_fit_whatever_size_the_engines_have(tmp_path: Path) -> None:
    sizes = []

    class Sized(FakeRuntime):
        def upload(self, array: np.ndarray) -> np.ndarray:
            sizes.append(array.shape)
            return array

    GoldenCheck(golden_card(tmp_path), Summing(2), FakeRuntime, resize)(Sized(), (32, 80))
    assert sizes == [(32, 80, 3)] * 10, "five of a ring of two, twice"


@pytest.mark.parametrize(
    ("labels", "confidence", "good"),
    [(0.005, 0.01, True), (0.0051, 0.0, False), (0.0, 0.0101, False), (float("nan"), 0.0, False)],
)
def test_limits_are_the_cards(labels: float, confidence: float, good: bool) -> None:
    limits = GoldenFile("golden.jpg", "", 3, 0.005, 0.01)
    assert Agreement(labels, confidence).is_within(limits) is good
    assert Agreement(0.0, 0.0, labels, confidence).is_within(limits) is good, "the second time too"


def test_the_worst_frame_of_the_second_time_counts(tmp_path: Path) -> None:
    class Forgets(FakeRuntime):
        """One frame of the second time, which is all black then."""

        frames = 0

        def upload(self, array: np.ndarray) -> np.ndarray:
            self.frames += 1
            return np.zeros_like(array) if self.frames == 5 else array

    found = GoldenCheck(golden_card(tmp_path), Summing(0), FakeRuntime, resize)(Forgets(), SIZE)
    assert (found.labels_differ, found.confidence_differs) == (0.0, 0.0)
    assert found.labels_differ_again > 0.9 and found.confidence_differs_again > 0.1
    assert not found.is_within(GoldenFile("golden.jpg", "", 3, 0.005, 0.01))
    assert f"by 0.0000, and of a frame that comes again up to {found.labels_differ_again:.2%}, by 0." in str(found)


def test_a_person_can_look_at_the_file(tmp_path: Path) -> None:
    golden_card(tmp_path)
    assert cv2.imread(str(tmp_path / "golden.jpg")).shape == (3 * SIZE[0], SIZE[1], 3)
