# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from vss_ros.core.errors import DataError
from vss_ros.data.images import ImageFolder


def write(folder, name, red):
    cv2.imwrite(str(folder / name), np.full((8, 10, 3), (0, 0, red), np.uint8))


def test_natural_order_and_stamps_from_the_rate(tmp_path):
    for name, red in (("frame10.png", 30), ("frame2.png", 20), ("frame1.PNG", 10), ("Frame0.jpg", 0)):
        write(tmp_path, name, red)
    (tmp_path / "notes.txt").write_text("x")
    source = ImageFolder(tmp_path, fps=4)
    frames = list(source)
    assert len(source) == 4 and [file.name for file in source.files][1:] == ["frame1.PNG", "frame2.png", "frame10.png"]
    assert [frame.stamp_ns for frame in frames] == [0, 250_000_000, 500_000_000, 750_000_000]
    assert [int(frame.image[0, 0, 0]) for frame in frames[1:]] == [10, 20, 30]
    assert frames[1].image[0, 0, 2] == 0 and frames[0].stream == tmp_path.name


def test_the_default_rate_is_ten(tmp_path):
    for i in range(2):
        write(tmp_path, f"{i}.png", 0)
    assert [frame.stamp_ns for frame in ImageFolder(tmp_path)] == [0, 100_000_000]


def test_damaged_files_are_left_out_and_their_time_passes(tmp_path):
    write(tmp_path, "0.png", 1)
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "2.png").write_bytes(b"")
    write(tmp_path, "3.png", 3)
    source = ImageFolder(tmp_path)
    assert [frame.stamp_ns for frame in source] == [0, 300_000_000]
    assert source.skipped == {"damaged file": 2}


def test_what_cannot_be_a_folder_of_images(tmp_path):
    with pytest.raises(DataError, match="but there is none"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(DataError, match="but has none"):
        ImageFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 1 images"):
        list(ImageFolder(tmp_path))
    with pytest.raises(DataError, match="fps > 0"):
        ImageFolder(tmp_path, fps=0)
