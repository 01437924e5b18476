# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg by the distance to the keyframe: each frame at each distance, and both resolutions alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import keyframe_distance
import keyframes

from test.conftest import random_model
from vss_ros.assemble import Model, load_model, load_settings, loaded_stages
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import ConfigError, DataError
from vss_ros.core.frame import Frame, UInt8Array
from vss_ros.core.method import TemporalMethod
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.metrics import ConfusionMatrix

SIZE = (32, 48)
PERIOD = 3
FRAMES = list(SyntheticDrive(seed=3, size=SIZE, frames=6))


@pytest.fixture(scope="module", params=["warp", "offset"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / f"arseg_{request.param}"
    return random_model(place, "arseg", input_size=SIZE, period=PERIOD, motion=request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(load_settings(values={"model.name": str(folder), **keyframe_distance._SETTINGS}))


def miou(labels: Iterable[UInt8Array], frames: Iterable[Frame] = FRAMES[PERIOD - 1 :]) -> float:
    matrix = ConfusionMatrix(11)
    for frame, seen in zip(frames, labels, strict=True):
        assert frame.truth is not None
        matrix.add(frame.truth, seen)
    return matrix.miou()


def test_each_frame_is_seen_at_each_distance(model: Model) -> None:
    found = keyframe_distance.miou_by_distance(model, FRAMES)
    assert len(found) == PERIOD and len(set(found)) == PERIOD
    for distance in range(PERIOD):
        labels = []
        for end in range(PERIOD - 1, len(FRAMES)):
            stream = model.stream()
            labels.append([stream(frame).labels for frame in FRAMES[end - distance : end + 1]][-1])
        assert found[distance] == miou(labels)


def test_full_and_small_resolution_alone(model: Model) -> None:
    found = keyframe_distance.measure(model, FRAMES)
    plan = model.plan
    every = replace(model, plan=replace(plan, period=1)).stream()  # type: ignore[type-var]
    assert found["miou_hr"] == miou([every(frame).labels for frame in FRAMES[PERIOD - 1 :]])

    def small(frame: Frame) -> UInt8Array:
        motion = {} if plan.motion == "warp" else {"motion": np.zeros((16, 24, 2), np.float32)}  # type: ignore[attr-defined]
        own = model.runtime.run("encode", image=np.ascontiguousarray(frame.image), **motion)["own"]
        return model.runtime.run("decode", features=own)["labels"]

    assert found["miou_lr_small_network"] == miou([small(frame) for frame in FRAMES[PERIOD - 1 :]])
    assert found["frames"] == len(FRAMES) - PERIOD + 1
    assert found["miou_mean"] == pytest.approx(np.mean(found["miou_by_distance"]))
    assert found["mean_over_lr"] == found["miou_mean"] - max(found["miou_lr_small_network"], found["miou_lr_host"])


def test_the_hosts_weights_at_the_small_size(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was trained both networks have the same weights, so those of the files are what to come back to."""

    def trained(card: ModelCard, plan: TemporalMethod) -> Any:
        stages = loaded_stages(card, plan)
        for weight in stages["encode"].parameters():
            weight.data *= 2
        return stages

    monkeypatch.setattr(keyframe_distance, "loaded_stages", trained)
    miou = keyframe_distance.miou_unmended(model, keyframe_distance.host_at_small_size(model), FRAMES)
    assert miou == pytest.approx(keyframe_distance.miou_unmended(model, model.runtime, FRAMES), abs=1e-3)
    assert keyframe_distance.measure(model, FRAMES)["miou_lr_host"] == miou


def test_too_few_frames_and_models_without_keyframes_are_refused(model: Model, single_folder: Path) -> None:
    with pytest.raises(DataError, match="frames with truth after the first 2 were wanted, got none"):
        keyframe_distance.measure(model, FRAMES[:2])
    with pytest.raises(ConfigError, match=r"a model with keyframes was wanted, .* is of method 'single'"):
        keyframe_distance.by_distance(str(single_folder), "synthetic:1x3")


def test_the_command_writes_and_shows_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keyframe_distance, "open_source", lambda _: SyntheticDrive(seed=3, size=SIZE, frames=6))
    file = tmp_path / "distance.json"
    keyframes.main(["--data", "drive", "--model", str(folder), "--json", str(file)])
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["model"] == folder.name and len(found["miou_by_distance"]) == PERIOD
    assert f"{found['miou_mean']:.4f}" in capsys.readouterr().out
