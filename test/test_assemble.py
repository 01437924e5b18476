# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Names become objects, settings come from files of both kinds, and what does not exist is named with its nearest."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from vss_ros.assemble import load_card, load_model, load_settings, methods, plan_for, with_memory
from vss_ros.core.config import Settings
from vss_ros.core.errors import BackendError, CardError, ConfigError

CONFIG = Path(__file__).parents[1] / "config"


def test_the_shipped_parameters_file_holds_the_defaults() -> None:
    assert load_settings(CONFIG / "segmenter.yaml") == Settings()


def test_plain_and_ros_files_mean_the_same(tmp_path: Path) -> None:
    plain, ros = tmp_path / "plain.yaml", tmp_path / "ros.yaml"
    plain.write_text("memory: {slots: 2}\n")
    ros.write_text("/vss/segmenter:\n  ros__parameters: {memory: {slots: 2}, use_sim_time: true}\n")
    assert load_settings(plain) == load_settings(ros) and load_settings(plain).memory.slots == 2


def test_values_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("memory: {slots: 2, window: 5}\n")
    settings = load_settings(tmp_path / "s.yaml", {"memory.slots": 3})
    assert (settings.memory.slots, settings.memory.window) == (3, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "wants groups of settings such as .*, got list"),
        ("memory: {slot: 2}\n", r"did you mean 'memory\.slots'"),
        ("a: [1\n", "YAML file of settings was wanted"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "s.yaml")


def test_methods_are_found_by_their_folders() -> None:
    assert all(plan.name == name for name, plan in methods().items())
    with pytest.raises(CardError, match=r"a method of .*lmanet, single, ssltm, stt was wanted, got 'lmanett'"):
        plan_for("lmanett", {})
    with pytest.raises(CardError, match=r"method 'lmanet' does not take {'slotz': 3}"):
        plan_for("lmanet", {"slotz": 3})


def test_a_models_memory_can_be_run_with_other_numbers(lmanet_folder: Path) -> None:
    settings = {"model.name": str(lmanet_folder), "memory.slots": 7, "memory.window": 3}
    plan = load_model(load_settings(values=settings)).plan
    assert (plan.slots, plan.window) == (7, 3)  # type: ignore[attr-defined]
    plan = load_model(load_settings(values={"model.name": str(lmanet_folder)})).plan
    assert (plan.slots, plan.window) == (3, 5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", sorted(methods()))
def test_a_users_numbers_go_to_the_methods_that_have_them_alone(method: str, logged: list[logging.LogRecord]) -> None:
    plan = plan_for(method, {})
    asked = {"memory.slots": 2, "memory.window": 5, "motion.keyframe_every": 7}
    wanted = {"slots": 2, "window": 5, "period": 7}
    taken = {name: wanted[name] for name in wanted if name in {option.name for option in fields(plan)}}  # type: ignore[arg-type]
    found = with_memory(plan, load_settings(values=asked))
    assert asdict(found) == asdict(replace(plan, **taken))  # type: ignore[type-var,call-overload]
    assert len(logged) == 3 - len(taken) and all("changes nothing" in record.getMessage() for record in logged)
    assert with_memory(plan, Settings()) is plan and len(logged) == 3 - len(taken)


def test_streams_of_a_model_share_its_runtime(lmanet_folder: Path) -> None:
    model = load_model(load_settings(values={"model.name": str(lmanet_folder)}))
    left, right = model.stream(), model.stream()
    assert left._runtime is right._runtime and left._memory is not right._memory


def test_without_onnx_torch_says_what_it_wants(single_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vss_ros.runtimes.export", None)
    with pytest.raises(BackendError, match=r"backend 'torch' wants torch and onnx: .*; use runtime\.backend onnx"):
        load_model(load_settings(values={"model.name": str(single_folder), "runtime.backend": "torch"}))


def test_an_input_size_must_fit_the_stride(lmanet_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.input_size wants multiples of 8, got 100x64"):
        load_model(load_settings(values={"model.name": str(lmanet_folder), "model.input_size": "100x64"}))


def test_a_card_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("[]")
    with pytest.raises(CardError, match="wants a mapping, got list"):
        load_card(tmp_path)
