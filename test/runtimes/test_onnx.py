# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from vss_ros.assemble import load_card, plan_for
from vss_ros.core.cpus import usable_cpus
from vss_ros.core.errors import BackendError, CardError, StageError
from vss_ros.core.method import Host
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.runtimes.onnx import OnnxRuntime, session_options


def runtime(folder: Path) -> OnnxRuntime:
    card = load_card(folder)
    return OnnxRuntime(card, plan_for(card.method, card.options).stages(card.host), threads=1)


def test_confidence_is_the_probability_of_the_label(single_folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    stages = runtime(single_folder)
    out = stages.run("decode", features=stages.run("encode", image=image)["features"])
    assert out["labels"].dtype == out["confidence"].dtype == np.uint8
    assert out["confidence"].min() >= 255 // 11 and out["confidence"].max() <= 255


def test_refuses_inputs_that_are_not_the_stages(lmanet_folder: Path) -> None:
    stages = runtime(lmanet_folder)
    with pytest.raises(StageError, match=r"stage 'encode' wants \['image'\], got \['picture'\]"):
        stages.run("encode", picture=np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(StageError, match=r"wants features \(128, 'H/8', 'W/8'\), got \(64, 8, 12\)"):
        stages.run("decode", features=np.zeros((64, 8, 12), np.float32))


def test_refuses_a_plan_of_other_tensors(single_folder: Path) -> None:
    with pytest.raises(BackendError, match=r"encode\.onnx wants tensors .*'query'.*export the model again"):
        card = load_card(single_folder)
        host = Host("erfnet", 128, 8)
        OnnxRuntime(replace(card, stages={**card.stages, "fuse": card.stages["decode"]}), LMANet().stages(host))


def test_refuses_a_file_cut_short_even_where_the_card_was_changed_to_fit(single_folder: Path, tmp_path: Path) -> None:
    import hashlib

    folder = tmp_path / "cut"
    shutil.copytree(single_folder, folder)
    content = (folder / "encode.onnx").read_bytes()[:5000]
    (folder / "encode.onnx").write_bytes(content)
    with pytest.raises(CardError, match="the file is damaged or was exchanged"):
        runtime(folder)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["stages"]["encode"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(BackendError, match=r"onnxruntime [\d.]+ refuses .*encode\.onnx"):
        runtime(folder)


def test_sessions_take_the_threads_they_are_given_and_none_of_them_spins() -> None:
    options = session_options(3)
    assert options.intra_op_num_threads == 3 and session_options(0).intra_op_num_threads == usable_cpus()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
