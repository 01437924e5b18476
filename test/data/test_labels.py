# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vss_ros.core.errors import DataError
from vss_ros.data.labels import load_labels, read_labels


def test_camvid_has_its_eleven_classes_in_order():
    labels = load_labels("camvid11")
    assert labels.names == (
        "sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    )  # fmt: skip
    assert len(labels) == 11 and labels.palette.shape == (11, 3) and labels.palette.dtype == np.uint8
    assert labels.palette[3].tolist() == [128, 64, 128]
    assert labels.index("car") == 8


def test_the_palette_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        load_labels("camvid11").palette[0] = 0


def test_unknown_set_names_the_nearest():
    with pytest.raises(DataError, match="'camvid12'; did you mean 'camvid11'"):
        load_labels("camvid12")


def test_unknown_class_names_the_nearest():
    with pytest.raises(DataError, match="no class 'cars'; did you mean 'car'"):
        load_labels("camvid11").index("cars")


def test_rows_may_come_in_any_order(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("name: two\nlabels: [{id: 1, name: b, colour: [4, 5, 6]}, {id: 0, name: a, colour: [1, 2, 3]}]")
    labels = read_labels(path)
    assert labels.names == ("a", "b") and labels.palette.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nlabels: [{id: 1, name: a, colour: [1, 2, 3]}]", "ids 0..K-1"),
        ("name: x\nlabels: [{id: 0, name: a, colour: [1, 2]}]", "label set with"),
        ("name: x\nlabels: [{id: 0, name: a, colour: [1, 2, 256]}]", "label set with"),
        ("name: x", "label set with"),
        ("just text", "label set with"),
        ("name: x\nlabels: [{id: 0, name: a, colour: [1,1,1]}, {id: 1, name: a, colour: [2,2,2]}]", "that differ"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path)
