# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vss_ros.core.errors import DataError
from vss_ros.data.source import Source, open_source
from vss_ros.data.vspw import VSPW, VSPWVideo, vspw_labels

MASK = np.array([[0, 1, 2, 124, 255, 7]] * 4, np.uint8)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two videos in val, of 3 and 2 frames; the images' red counts all frames."""
    red = 0
    for video, frames in (("9_a", 3), ("10_b", 2)):
        for kind in ("origin", "mask"):
            (tmp_path / "data" / video / kind).mkdir(parents=True)
        for number in range(frames):
            picture = np.full((*MASK.shape, 3), (0, 0, red := red + 40), np.uint8)
            cv2.imwrite(str(tmp_path / "data" / video / "origin" / f"{number:08d}.jpg"), picture)
            Image.fromarray(MASK).save(tmp_path / "data" / video / "mask" / f"{number:08d}.png")
    (tmp_path / "val.txt").write_text("9_a\n10_b\n")
    return tmp_path


def test_masks_lose_their_void(tree: Path) -> None:
    frames = VSPW(tree, "val")
    assert len(frames) == 5 and frames.names[4] == "10_b/00000001"
    image, labels = frames.read("9_a/00000001")
    assert abs(int(image[0, 0, 0]) - 80) < 4 and labels[0].tolist() == [255, 0, 1, 123, 255, 6]


def test_videos_follow_one_another_at_15_hz(tree: Path) -> None:
    video = VSPWVideo(tree)
    assert len(video) == 5 and video.name == "vspw/val/all" and all(frame.truth is not None for frame in video)
    assert video.classes is None, "without the file of names"
    gaps_s = np.diff([frame.stamp_ns for frame in video]) / 1e9
    assert gaps_s.tolist() == pytest.approx([1 / 15, 1 / 15, 60, 1 / 15])
    assert len(VSPWVideo(tree, drive="10_b")) == 2
    with pytest.raises(DataError, match=r"no drive 'c'; it has 2 videos, see val\.txt"):
        VSPWVideo(tree, drive="c")


def test_a_clip_stays_in_its_video(tree: Path) -> None:
    frames = VSPW(tree, "val")
    for index, reds in ((2, [80, 120]), (0, [40, 80]), (3, [160, 200])):
        images, labels = frames.clip(index, 2)
        assert np.abs(images[:, 0, 0, 0].astype(int) - reds).max() < 4 and labels[0, 1] == 0
    with pytest.raises(DataError, match="a clip of 3 frames was wanted"):
        frames.clip(3, 3)


def test_names_come_from_the_data_set(tree: Path) -> None:
    with pytest.raises(DataError, match=r"label_num_dic_final\.json was wanted with a number from 1 to 124"):
        vspw_labels(tree)
    numbers = {"others": 0} | {f"class {n}": str(n) for n in range(124, 0, -1)}
    (tree / "label_num_dic_final.json").write_text(json.dumps(numbers))
    labels = vspw_labels(tree)
    assert VSPWVideo(tree).classes == labels.names
    assert len(labels) == 124 and labels.names[0] == "class 1" and labels.names[-1] == "class 124"
    assert labels.palette[:4].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert len(np.unique(labels.palette, axis=0)) == 124


def test_what_is_missing_is_named(tree: Path) -> None:
    with pytest.raises(DataError, match=r"as VSPW with data/<video>/origin and train\.txt"):
        VSPW(tree, "train")
    (tree / "data" / "9_a" / "mask" / "00000002.png").unlink()
    with pytest.raises(DataError, match=r"1 are missing, first 00000002\.png"):
        VSPW(tree, "val")
    (tree / "val.txt").write_text("nowhere")
    with pytest.raises(DataError, match="it has no images"):
        VSPW(tree, "val")


def test_values_beyond_the_classes_are_refused(tree: Path) -> None:
    Image.fromarray(MASK + np.uint8(1)).save(tree / "data" / "9_a" / "mask" / "00000000.png")
    with pytest.raises(DataError, match=r"wants 0\.\.124 or 255, got up to 125"):
        VSPW(tree, "val")[0]


def test_a_folder_is_recognised(tree: Path) -> None:
    source = open_source(tree)
    assert isinstance(source, VSPWVideo) and isinstance(source, Source)
    (tree / "train.txt").write_text("10_b\n")
    assert len(open_source(tree, split="train")) == 2
