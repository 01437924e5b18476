# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import CardError

STAGE = b"a stage"


def card(folder: Path, **changes: Any) -> ModelCard:
    (folder / "encode.onnx").write_bytes(STAGE)
    values = {
        "name": "tiny",
        "summary": "A test's model.",
        "method": "single",
        "host": {"name": "erfnet", "feature_channels": 128, "stride": 8},
        "labels": ["road", "sky"],
        "palette": [[128, 64, 128], [1, 2, 3]],
        "input_size": [360, 480],
        "mean": [0.4, 0.4, 0.4],
        "std": [0.3, 0.3, 0.3],
        "stages": {"encode": {"file": "encode.onnx", "sha256": hashlib.sha256(STAGE).hexdigest()}},
        "licence": "Apache-2.0",
    }
    return ModelCard.from_mapping({k: v for k, v in {**values, **changes}.items() if v is not None}, folder)


def test_reads_what_it_says(tmp_path: Path) -> None:
    read = card(tmp_path)
    assert read.labels == ("road", "sky") and read.host.stride == 8 and read.input_size == (360, 480)
    assert read.stage_path("encode").read_bytes() == STAGE


def test_says_what_it_must_not_be_trusted_with(tmp_path: Path) -> None:
    assert card(tmp_path).limits == (), "older cards say nothing"
    assert card(tmp_path, limits=["Not by night.", "No poles."]).limits == ("Not by night.", "No poles.")


def test_colours_of_unknown_labels_are_black(tmp_path: Path) -> None:
    colours = card(tmp_path).colours
    assert colours.shape == (256, 3) and colours[1].tolist() == [1, 2, 3] and not np.any(colours[2:])


def test_refuses_a_changed_file(tmp_path: Path) -> None:
    read = card(tmp_path)
    (tmp_path / "encode.onnx").write_bytes(STAGE[:-1])
    with pytest.raises(CardError, match=r"wants sha256 \w{12}\.\.\., got \w{12}\.\.\.: the file is damaged"):
        read.stage_path("encode")


def test_refuses_a_missing_file_and_stage(tmp_path: Path) -> None:
    read = card(tmp_path)
    (tmp_path / "encode.onnx").unlink()
    with pytest.raises(CardError, match="the file is missing"):
        read.stage_path("encode")
    with pytest.raises(CardError, match="wants a stage 'fuse', its card lists encode"):
        read.stage_path("fuse")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": []}, "unknown key 'lables'; did you mean 'labels'"),
        ({"host": None}, "not a model card: KeyError: 'host'"),
        ({"host": {"name": "erfnet"}}, "not a model card: TypeError"),
        ({"limits": "Not by night."}, "TypeError: limits wants a list of sentences, got 'Not by night.'"),
        ({"limits": [{"night": "no"}]}, "TypeError: limits wants a list of sentences"),
        ({"palette": [[1, 2, 3]]}, "one colour per label, got 2 labels and 1 colours"),
    ],
)
def test_refuses_a_bad_card(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        card(tmp_path, **changes)


GOLDEN = {"file": "golden.jpg", "frames": 3, "labels_differ_max": 0.005, "confidence_differ_max": 0.01}


def test_golden_frames_are_checked_like_a_stage(tmp_path: Path) -> None:
    (tmp_path / "golden.jpg").write_bytes(STAGE)
    read = card(tmp_path, golden={**GOLDEN, "sha256": hashlib.sha256(STAGE).hexdigest()})
    assert read.golden_path() == tmp_path / "golden.jpg"
    (tmp_path / "golden.jpg").write_bytes(STAGE[:-1])
    with pytest.raises(CardError, match="the file is damaged or was exchanged"):
        read.golden_path()
    with pytest.raises(CardError, match="model 'tiny' wants golden frames, its card has none"):
        card(tmp_path).golden_path()
    with pytest.raises(CardError, match="is not a model card: TypeError"):
        card(tmp_path, golden=GOLDEN)
