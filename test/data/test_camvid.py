# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from test.conftest import SHARED, needs_shared_data
from vss_ros.core.errors import DataError
from vss_ros.data.camvid import CamVid, CamVidVideo, camvid_labels


@pytest.fixture
def tree(tmp_path):
    """Two drives in val: A at 1 Hz, B at 15 Hz listed out of order; labels count up to void."""
    runs = {"A": [30, 60], "B": [11, 9, 13]}
    sequences = {}
    for drive, numbers in runs.items():
        names = [f"{drive}_{number:05d}" for number in sorted(numbers)]
        sequences[drive] = {
            "fps_of_frame_numbers": 30,
            "frames": [{"name": f"{drive}_{n:05d}", "frame": n, "split": "val"} for n in numbers],
            "runs": [{"split": "val", "label_rate_hz": 1 if drive == "A" else 15, "names": names}],
        }
        for number in numbers:
            for kind in ("images", "labels"):
                (tmp_path / "val" / kind).mkdir(parents=True, exist_ok=True)
            stem = f"{drive}_{number:05d}"
            cv2.imwrite(str(tmp_path / "val" / "images" / f"{stem}.jpg"), np.full((12, 16, 3), (0, 0, 200), np.uint8))
            indexed = Image.fromarray(np.tile(np.arange(12, dtype=np.uint8)[:, None], (1, 16)), "P")
            indexed.putpalette([255] * 768)
            indexed.save(tmp_path / "val" / "labels" / f"{stem}.png")
    (tmp_path / "sequences.json").write_text(json.dumps(sequences))
    return tmp_path


def test_images_are_rgb_and_void_is_unlabelled(tree):
    frames = CamVid(tree, "val")
    assert len(frames) == 5 and frames.names[0] == "A_00030"
    image, labels = frames[0]
    assert image.shape == (12, 16, 3) and image[..., 0].min() > 180 and image[..., 2].max() < 30
    assert labels[:, 0].tolist() == [*range(11), 255] and labels.dtype == np.uint8


def test_the_video_is_the_run_at_video_rate_in_the_order_of_its_stamps(tree):
    video = CamVidVideo(tree)
    assert len(video) == 3 and video.drive == "B" and video.classes == camvid_labels().names
    assert [frame.stamp_ns for frame in video] == [300_000_000, 366_666_666, 433_333_333]
    assert video[0].truth is not None and video[0].stream == "camvid/val/B"


def test_a_drive_can_be_chosen(tree):
    assert [frame.stamp_ns for frame in CamVidVideo(tree, drive="A")] == [1_000_000_000, 2_000_000_000]
    with pytest.raises(DataError, match=r"no drive 'C'; it has: A, B"):
        CamVidVideo(tree, drive="C")


def test_a_whole_split_is_its_drives_one_after_another(tree):
    """Also of drives that `sequences.json` does not know, as a split that was added later."""
    for kind, ending in (("images", "jpg"), ("labels", "png")):
        for number in (7, 10):
            (tree / "val" / kind / f"Seq05VD_f{number:05d}.{ending}").write_bytes(
                (tree / "val" / kind / f"A_00030.{ending}").read_bytes()
            )
    video = CamVidVideo(tree, drive="all")
    assert (len(video), video.name, video.classes) == (7, "camvid/val/all", camvid_labels().names)
    assert [round(frame.stamp_ns / 1e6) for frame in video] == [0, 1000, 61000, 61067, 61133, 121133, 121233]
    assert all(frame.truth is not None for frame in video)
    (tree / "val" / "images" / "A_00030.jpg").rename(tree / "val" / "images" / "A_x.jpg")
    (tree / "val" / "labels" / "A_00030.png").rename(tree / "val" / "labels" / "A_x.png")
    with pytest.raises(DataError, match="such as 0016E5_07959, got A_x"):
        CamVidVideo(tree, drive="all")


def test_missing_split_and_missing_label_are_named(tree):
    with pytest.raises(DataError, match="split 'train' has no images"):
        CamVid(tree, "train")
    (tree / "val" / "labels" / "B_00011.png").unlink()
    with pytest.raises(DataError, match=r"1 are missing, first B_00011\.png"):
        CamVid(tree, "val")


def test_labels_beyond_void_are_refused(tree):
    Image.fromarray(np.full((12, 16), 12, np.uint8)).save(tree / "val" / "labels" / "A_00030.png")
    with pytest.raises(DataError, match=r"indices 0\.\.11"):
        CamVid(tree, "val")[0]


def test_damaged_image_and_label_are_refused(tree):
    (tree / "val" / "images" / "A_00030.jpg").write_bytes(b"no jpeg")
    with pytest.raises(DataError, match="cannot be decoded"):
        CamVid(tree, "val").read("A_00030")
    (tree / "val" / "labels" / "A_00060.png").write_bytes(b"no png")
    with pytest.raises(DataError, match="PNG of labels"):
        CamVid(tree, "val").read("A_00060")


@needs_shared_data
def test_the_real_validation_video():
    video = CamVidVideo(SHARED / "camvid")
    assert len(video) == 101 and video.drive == "0016E5"
    first, last = video[0], video[100]
    assert first.size == (360, 480) and first.stamp_ns == 7959 * 1_000_000_000 // 30
    assert last.stamp_ns - first.stamp_ns == pytest.approx(200 / 30 * 1e9, abs=2)
    assert set(np.unique(first.truth)) <= {*range(len(camvid_labels())), 255}


@needs_shared_data
def test_the_whole_real_training_split():
    assert len(CamVidVideo(SHARED / "camvid", "train", "all")) == 367


@needs_shared_data
def test_the_real_training_split():
    assert len(CamVid(SHARED / "camvid", "train")) == 367
