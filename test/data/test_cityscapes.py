# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vss_ros.core.errors import DataError
from vss_ros.data.cityscapes import Cityscapes, CityscapesVideo, cityscapes_labels
from vss_ros.data.source import Source, open_source

SIZE = (8, 34)


def write_picture(path: Path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), (0, 0, red), np.uint8))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two labelled frames in val; ids count up along the row. Bonn's snippet has its 30 frames, red = frame number."""
    for city, frame in (("bonn", 40), ("aachen", 19)):
        name = f"{city}_000003_{frame:06d}"
        write_picture(tmp_path / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png", frame)
        labels = tmp_path / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png"
        labels.parent.mkdir(parents=True)
        Image.fromarray(np.tile(np.arange(SIZE[1], dtype=np.uint8), (SIZE[0], 1))).save(labels)
    for frame in range(40 - 19, 40 + 11):
        name = f"bonn_000003_{frame:06d}_leftImg8bit.png"
        write_picture(tmp_path / "leftImg8bit_sequence" / "val" / "bonn" / name, frame)
    return tmp_path


def test_ids_become_the_19_evaluated_classes(tree: Path) -> None:
    frames = Cityscapes(tree, "val")
    assert frames.names == ("aachen_000003_000019", "bonn_000003_000040")
    image, labels = frames[1]
    assert image.shape == (*SIZE, 3) and image[0, 0].tolist() == [40, 0, 0] and labels.dtype == np.uint8
    names = cityscapes_labels().names
    by_id = {7: "road", 8: "sidewalk", 19: "traffic light", 26: "car", 31: "train", 33: "bicycle"}
    assert {names[labels[0, number]] for number in by_id} == set(by_id.values())
    assert all(names[labels[0, number]] == name for number, name in by_id.items())
    assert sorted(labels[0][labels[0] != 255].tolist()) == list(range(19)) and labels[0, 0] == labels[0, 29] == 255


def test_the_video_has_truth_on_the_20th_frame_and_a_minute_between_snippets(tree: Path) -> None:
    video = CityscapesVideo(tree)
    assert len(video) == 31 and video.name == "cityscapes/val/all"
    assert video.classes is not None and video.classes[0] == "road" and len(video.classes) == 19
    assert [n for n, frame in enumerate(video) if frame.truth is not None] == [0, 20]
    assert video[2].stamp_ns - video[1].stamp_ns == pytest.approx(1e9 / 17, abs=1)
    assert video[1].stamp_ns - video[0].stamp_ns == 60_000_000_000
    assert [int(frame.image[0, 0, 0]) for frame in CityscapesVideo(tree, drive="bonn")] == list(range(21, 51))


def test_a_clip_ends_with_the_labelled_frame(tree: Path) -> None:
    images, labels = Cityscapes(tree, "val").clip(1, 3)
    assert images[:, 0, 0, 0].tolist() == [38, 39, 40] and labels[0, 7] == 0
    with pytest.raises(DataError, match=r"a clip of 3 frames was wanted .* 1 are there"):
        Cityscapes(tree, "val").clip(0, 3)


def test_what_is_missing_is_named(tree: Path) -> None:
    with pytest.raises(DataError, match="split 'train' has no images"):
        Cityscapes(tree, "train")
    with pytest.raises(DataError, match="no drive 'ulm'; it has: aachen, bonn"):
        CityscapesVideo(tree, drive="ulm")
    next((tree / "gtFine" / "val" / "bonn").iterdir()).unlink()
    with pytest.raises(DataError, match=r"1 are missing, first bonn_000003_000040_gtFine_labelIds\.png"):
        Cityscapes(tree, "val")


def test_damaged_files_are_refused(tree: Path) -> None:
    image, labels = (next((tree / kind / "val" / "bonn").iterdir()) for kind in ("leftImg8bit", "gtFine"))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(labels)
    with pytest.raises(DataError, match=r"wants the size of its image \(8, 34\), got \(4, 4\)"):
        Cityscapes(tree, "val")[1]
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(labels)
    with pytest.raises(DataError, match=r"wants labels \(H, W\) uint8"):
        Cityscapes(tree, "val")[1]
    labels.write_bytes(b"no png")
    with pytest.raises(DataError, match="as a PNG of labels"):
        Cityscapes(tree, "val")[1]
    image.write_bytes(b"no png")
    with pytest.raises(DataError, match="cannot be decoded"):
        Cityscapes(tree, "val")[1]


def test_a_folder_is_recognised(tree: Path) -> None:
    source = open_source(tree)
    assert isinstance(source, CityscapesVideo) and isinstance(source, Source)
