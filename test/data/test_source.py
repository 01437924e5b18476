# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from test.conftest import SHARED, needs_shared_data
from vss_ros.core.errors import DataError
from vss_ros.data.bag import BagSource
from vss_ros.data.bag_writer import BagWriter
from vss_ros.data.camvid import CamVidVideo
from vss_ros.data.images import ImageFolder
from vss_ros.data.source import Source, open_source
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.data.video import VideoSource, VideoWriter

PICTURE = np.full((32, 48, 3), 90, np.uint8)


@pytest.fixture
def bag(tmp_path):
    with BagWriter(tmp_path / "drive_bag") as out:
        out.write_image("/a/image_raw", PICTURE, 1)
        out.write_image("/b/image_raw", PICTURE, 2)
    return tmp_path / "drive_bag"


def test_a_bag_folder_and_its_file(bag):
    for path in (bag, str(bag), next(bag.glob("*.mcap"))):
        source = open_source(path, topic="/b/image_raw")
        assert isinstance(source, BagSource) and isinstance(source, Source)
        assert [frame.stamp_ns for frame in source] == [2]


def test_a_folder_of_storage_files_without_metadata_is_a_bag(bag):
    (bag / "metadata.yaml").unlink()
    assert isinstance(open_source(bag, topic="/a/image_raw"), BagSource)


def test_a_video(tmp_path):
    with VideoWriter(tmp_path / "v.MP4") as out:
        out.write(PICTURE)
    source = open_source(tmp_path / "v.MP4")
    assert isinstance(source, VideoSource) and isinstance(source, Source) and len(list(source)) == 1


def test_motion_is_passed_on_to_videos_and_bags(tmp_path, bag):
    with VideoWriter(tmp_path / "v.mp4") as out:
        out.write(np.zeros((32, 32, 3), np.uint8))
    for motion in (False, True):
        (frame,) = open_source(tmp_path / "v.mp4", motion=motion)
        assert (frame.motion is not None) == motion
        assert all(frame.motion is None for frame in open_source(bag, topic="/a/image_raw", motion=motion))


def test_a_folder_of_images_with_a_rate(tmp_path):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), PICTURE)
    source = open_source(tmp_path, fps=2)
    assert isinstance(source, ImageFolder) and isinstance(source, Source)
    assert [frame.stamp_ns for frame in source] == [0, 500_000_000]


@pytest.mark.parametrize(("text", "seed", "frames"), [("synthetic:3x6", 3, 6), ("synthetic:4", 4, 100)])
def test_a_synthetic_drive(text, seed, frames):
    source = open_source(text, fps=5)
    assert isinstance(source, SyntheticDrive) and isinstance(source, Source)
    assert (source.seed, len(source), source.fps, source.name) == (seed, frames, 5, f"synthetic:{seed}x{frames}")


def test_a_misspelt_synthetic_drive():
    for text in ("synthetic:", "synthetic:x", "synthetic:3x", "synthetic:-1"):
        with pytest.raises(DataError, match="such as synthetic:3x60"):
            open_source(text)


@needs_shared_data
def test_a_camvid_folder():
    source = open_source(SHARED / "camvid")
    assert isinstance(source, CamVidVideo) and isinstance(source, Source) and len(source) == 101
    assert len(open_source(SHARED / "camvid", split="train")) == 367


def test_only_data_sets_have_splits(bag):
    for path in (bag, "synthetic:1"):
        with pytest.raises(
            DataError, match=r"only a folder of CamVid, Cityscapes or VSPW has splits, .* leave out 'train'"
        ):
            open_source(path, split="train")


def test_a_missing_path_names_the_nearest(bag):
    with pytest.raises(DataError, match=rf"did you mean {bag}\?"):
        open_source(bag.parent / "drve_bag")
    with pytest.raises(DataError, match=rf"did you mean {bag}\?"):
        open_source(bag.parent / "drive_bg" / "deeper" / "x.mcap")
    with pytest.raises(DataError, match="nothing of a like name"):
        open_source(bag.parent / "0000000000")


def test_an_unknown_kind_lists_the_known(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=r"of no known kind; wanted: a bag .* a video .* synthetic:SEED"):
            open_source(path)


def test_a_topic_is_only_for_bags(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), PICTURE)
    for path in (tmp_path, "synthetic:1"):
        with pytest.raises(DataError, match="only a bag has topics"):
            open_source(path, topic="/image")
        with pytest.raises(DataError, match=r"only a bag has topics, .* topic '/labels' was given"):
            open_source(path, truth_topic="/labels")


def test_truth_of_a_named_topic_is_matched_by_stamp(tmp_path):
    labels = np.full(PICTURE.shape[:2], 3, np.uint8)
    with BagWriter(tmp_path / "bag") as out:
        for stamp in (1, 2):
            out.write_image("/camera/image_raw", PICTURE, stamp)
        out.write_labels("/camera/labels", labels, 2)
    with pytest.raises(DataError, match="several image topics"):
        open_source(tmp_path / "bag")
    first, second = open_source(tmp_path / "bag", truth_topic="/camera/labels")
    assert first.truth is None and (second.truth == labels).all()
