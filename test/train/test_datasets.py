# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Data sets by name: which one a recipe means, and clips of their own videos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from test.train.test_temperature import TINY
from vss_ros.core.errors import TrainError
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.train.clips import PhaseClips
from vss_ros.train.datasets import DATA_SETS, data_set_of, labels_of, spread
from vss_ros.train.publish import pixels_per_class
from vss_ros.train.recipe import Data, Recipe

SKY = 5


def trained_on(*names: str, remembered: int = 0) -> Recipe:
    data = tuple(Data(name, samples=4, drives=1) for name in names)
    return replace(TINY, labels="vspw124", phases=(replace(TINY.phases[0], data=data, remembered=remembered),))


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    """One video of four frames; the left half is sky and brightens by 10 a frame."""
    for kind in ("origin", "mask"):
        (tmp_path / "data" / "v" / kind).mkdir(parents=True)
    mask = np.zeros((80, 120), np.uint8)
    mask[:, :60] = SKY + 1
    for number in range(4):
        picture = np.full((80, 120, 3), 100 + 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "data" / "v" / "origin" / f"{number}.jpg"), picture)
        Image.fromarray(mask).save(tmp_path / "data" / "v" / "mask" / f"{number}.png")
    (tmp_path / "train.txt").write_text("v\n")
    return tmp_path


def test_the_data_set_of_a_recipe() -> None:
    assert data_set_of(trained_on("cityscapes", "synthetic")) is DATA_SETS["cityscapes"]
    assert data_set_of(trained_on("synthetic")) is DATA_SETS["camvid"]
    with pytest.raises(TrainError, match="one data set with a folder, got camvid, vspw"):
        data_set_of(trained_on("vspw", "camvid"))


def test_labels_that_are_not_shipped_come_from_the_folder(vspw: Path) -> None:
    with pytest.raises(TrainError, match="label set 'vspw124' is read from the data folder, got none"):
        labels_of(trained_on("vspw"), None)
    assert len(labels_of(TINY, None)) == 11
    numbers = {f"class {n}": n for n in range(1, 125)}
    (vspw / "label_num_dic_final.json").write_text(json.dumps(numbers))
    assert labels_of(trained_on("vspw"), vspw).names[SKY] == f"class {SKY + 1}"


def test_sources_of_other_classes_are_refused(vspw: Path) -> None:
    with pytest.raises(
        TrainError, match="label set 'vspw124' was wanted, but source 'synthetic' has the classes of 'c"
    ):
        labels_of(trained_on("vspw", "synthetic"), vspw)
    with pytest.raises(TrainError, match="label set 'cityscapes19' was wanted, but source 'synthetic' has"):
        labels_of(replace(TINY, labels="cityscapes19"), None)
    pictures = Data("cityscapes", samples=4)
    taught = replace(TINY, phases=(replace(TINY.phases[0], unlabelled=(pictures,)),))
    with pytest.raises(TrainError, match="label set 'camvid11' was wanted, but source 'cityscapes' has"):
        labels_of(taught, None)
    assert SyntheticDrive(frames=1).classes == labels_of(TINY, None).names


def test_pictures_are_made_to_move_where_one_is_wanted(vspw: Path) -> None:
    recipe = trained_on("vspw")
    images, labels, _ = PhaseClips(recipe, 0, vspw)[0]
    assert images.shape == (1, 64, 80, 3) and set(np.unique(labels)) <= {SKY, 255}


def test_clips_of_videos_are_real_and_share_one_view(vspw: Path) -> None:
    recipe = trained_on("vspw", remembered=2)
    for images, labels, _ in (PhaseClips(recipe, 0, vspw)[index] for index in range(4)):
        assert 2 <= len(images) <= 3 and labels.shape == (64, 80)
        means = images.float().mean((1, 2, 3)).numpy()
        assert (np.diff(means) > 2).all(), "frames are in order, each brighter than the one before"


def test_counting_takes_pictures_from_everywhere() -> None:
    assert list(spread(range(10), most=5)) == [0, 2, 4, 6, 8]  # type: ignore[arg-type]
    assert list(spread(range(3), most=5)) == [0, 1, 2]  # type: ignore[arg-type]


def test_only_labels_that_are_trained_on_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Picture `i` shows class `i` alone, on `i + 1` pixels."""
    pictures = [(np.zeros((1, i + 1, 3), np.uint8), np.full((1, i + 1), i, np.uint8)) for i in range(10)]
    monkeypatch.setitem(DATA_SETS, "camvid", replace(DATA_SETS["camvid"], pictures=lambda root, split: pictures))

    def counted(*data: Data, unlabelled: tuple[Data, ...] = ()) -> list[int]:
        phases = [replace(TINY.phases[0], data=(source,), unlabelled=unlabelled) for source in data]
        return pixels_per_class(replace(TINY, phases=tuple(phases)), tmp_path, 10)

    whole, streets = Data("camvid", samples=4), Data("synthetic", samples=4, drives=1)
    first, second = replace(whole, part=(0.0, 0.5)), replace(whole, part=(0.5, 1.0))
    assert counted(whole) == counted(whole, streets) == list(range(1, 11))
    chosen = np.random.default_rng(TINY.seed).permutation(10)[:5]
    assert counted(first) == [i + 1 if i in chosen else 0 for i in range(10)]
    assert counted(first, unlabelled=(second,)) == counted(first, first) == counted(first)
    assert counted(first, second) == counted(whole)
    assert counted(streets, unlabelled=(whole,)) == [1] * 10
