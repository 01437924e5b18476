# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vss_ros.core.errors import DataError
from vss_ros.data.bag import BagSource
from vss_ros.data.bag_writer import BagWriter

COUNT = 12
# 0.75 MB each: the MCAP writer closes a chunk after 1 MiB, that is every second image.
IMAGES = np.random.default_rng(2).integers(0, 256, (COUNT, 500, 500, 3), np.uint8)
SUFFIX = {"mcap": ".mcap", "sqlite3": ".db3"}


@pytest.fixture(scope="module", params=["mcap", "sqlite3"])
def whole(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "whole"
    with BagWriter(path, storage=request.param) as out:
        for i, image in enumerate(IMAGES):
            out.write_image("/image", image, 10**9 + i)
    (file,) = path.glob(f"*{SUFFIX[request.param]}")
    return file


def read_until_error(source):
    frames = []
    with pytest.raises(DataError) as caught:
        for frame in source:
            frames.append(frame)
    return frames, str(caught.value)


def check(frames, text, low, high):
    assert low <= len(frames) <= high
    assert [frame.stamp_ns for frame in frames] == [10**9 + i for i in range(len(frames))]
    for frame, image in zip(frames, IMAGES, strict=False):
        np.testing.assert_array_equal(frame.image, image)
    assert f"breaks off after {len(frames)} frames of /image" in text and "copy or record the bag again" in text


@pytest.mark.parametrize(("part", "low", "high"), [(0.35, 2, 4), (0.7, 6, 8), (0.9995, 10, 12)])
def test_frames_before_the_cut_come_first_then_one_error(whole, tmp_path, part, low, high):
    data = whole.read_bytes()
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(data[: int(len(data) * part)])
    source = BagSource(cut)
    frames, text = read_until_error(source)
    check(frames, text, low, high)
    assert len(source) == len(frames)


def test_a_cut_file_in_its_folder(whole, tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    (folder / "metadata.yaml").write_bytes((whole.parent / "metadata.yaml").read_bytes())
    data = whole.read_bytes()
    (folder / whole.name).write_bytes(data[: len(data) * 7 // 10])
    frames, text = read_until_error(BagSource(folder))
    check(frames, text, 6, 8)


def test_a_hole_in_the_middle_is_noticed(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_200_000] = bytes(2_200_000)
    damaged = tmp_path / f"hole{whole.suffix}"
    damaged.write_bytes(data)
    frames, text = read_until_error(BagSource(damaged))
    assert 4 <= len(frames) < COUNT and f"breaks off after {len(frames)} frames" in text
    for frame, image in zip(frames[:4], IMAGES, strict=False):
        np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize("content", [b"", b"no bag at all" * 100, b"\x89MCAP0\r\n"])
@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag"])
def test_files_that_are_no_bags_get_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.(mcap|db3|bag) was wanted") as caught:
        BagSource(path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_bag(tmp_path):
    with pytest.raises(DataError, match=r"was wanted as a bag.*metadata"):
        BagSource(tmp_path)
    (tmp_path / "metadata.yaml").write_text("not: a bag")
    with pytest.raises(DataError, match="was wanted as a bag"):
        BagSource(tmp_path)
