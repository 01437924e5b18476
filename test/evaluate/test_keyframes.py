# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A method with keyframes beside others: what a frame costs, how often keyframes come, golden frames, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from test.conftest import random_model
from vss_ros.assemble import Model, load_card, load_model, load_settings
from vss_ros.core.errors import StageError
from vss_ros.data.resize import resize
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.replay import replay
from vss_ros.evaluate.side_by_side import Contender, evaluate
from vss_ros.runtimes.cost import macs_per_frame, method_cost

SIZE = (64, 96)
PERIOD = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "arseg", "arseg", input_size=SIZE, period=PERIOD)


def model(folder: Path, **values: object) -> Model:
    return load_model(load_settings(values={"model.name": str(folder), "memory.scene_cut": 0.0, **values}))


def test_a_frame_costs_what_frames_ran_on_average(folder: Path) -> None:
    loaded = model(folder, **{"motion.source": "zero"})
    drive = SyntheticDrive(seed=1, size=SIZE, frames=2 * PERIOD, motion=False)
    report = evaluate(drive, [Contender("arseg", loaded)])[0]
    costs = method_cost(loaded.card, loaded.plan, SIZE)
    assert report["gmac"] == pytest.approx(macs_per_frame(costs, loaded.plan, loaded.card.host) / 1e9)
    assert report["gmac_by_stage"]["keyframe"] == pytest.approx(costs["keyframe"].macs / PERIOD / 1e9)
    assert report["parameters"] == sum(cost.parameters for cost in costs.values())


@pytest.mark.parametrize(("source", "moving"), [("auto", True), ("flow", False), ("codec", True)])
def test_a_drive_needs_no_more_keyframes_than_its_period_asks_for(folder: Path, source: str, moving: bool) -> None:
    loaded = model(folder, **{"motion.source": source})
    stream = loaded.stream()
    drive = SyntheticDrive(seed=1, size=SIZE, frames=2 * PERIOD, motion=moving)
    figures = replay(drive, stream, loaded.card.labels)
    assert stream.keyframes == {"first": 1, "period": 1}
    assert len(figures.parts_ms["keyframe"]) == 2 and len(figures.parts_ms["motion"]) == 2 * PERIOD


def test_streams_find_motion_on_their_own(folder: Path) -> None:
    loaded = model(folder, **{"motion.source": "flow"})
    one, other = loaded.stream(), loaded.stream()
    assert one._motion is not other._motion


def test_golden_frames_run_all_stages(folder: Path) -> None:
    from vss_ros.runtimes.golden import GoldenCheck
    from vss_ros.train.publish import write_golden

    card = write_golden(load_card(folder))
    ran: set[str] = set()

    class Listening:
        name, attend, empty, upload, download = (None,) * 5

        def __init__(self, runtime: object) -> None:
            self._runtime = runtime
            for name in ("attend", "empty", "upload", "download"):
                setattr(self, name, getattr(runtime, name))

        def run(self, stage: str, /, **inputs: object) -> object:
            ran.add(stage)
            return self._runtime.run(stage, **inputs)  # type: ignore[attr-defined]

    loaded = model(folder)
    check = GoldenCheck(card, loaded.plan, lambda: loaded.runtime, resize)
    agreement = check(Listening(loaded.runtime), SIZE)  # type: ignore[arg-type]
    assert agreement.labels_differ == 0 and ran == set(card.stages)


def test_one_graph_has_no_place_for_keyframes(folder: Path, tmp_path: Path) -> None:
    from vss_ros.train.publish import export_as_single_graph

    with pytest.raises(StageError, match="'arseg' has keyframes; export its stages"):
        export_as_single_graph(str(folder), tmp_path / "step.onnx")
    assert not (tmp_path / "step.onnx").exists()


def test_tuning_a_running_node(folder: Path) -> None:
    loaded = model(folder)
    settings = load_settings(
        values={"model.name": str(folder), "motion.keyframe_every": 7, "motion.unmatched_max": 0.1}
    )
    tuned = loaded.tuned(settings)
    assert tuned.plan == replace(loaded.plan, period=7) and tuned.options.keyframes.unmatched_max == 0.1
