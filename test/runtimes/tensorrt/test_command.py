# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss engines`, and that all of this imports on a robot without torch."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from test.runtimes.tensorrt.test_cache import KEY, filled
from test.test_architecture import imports_without, modules_of
from vss_ros import assemble, doctor
from vss_ros.cli.options import app, out
from vss_ros.core.errors import BackendError, ConfigError
from vss_ros.core.prepare import like
from vss_ros.runtimes.preparing import Prepared, Step
from vss_ros.runtimes.tensorrt.cache import EngineCache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return EngineCache()


def vss(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["engines", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.parametrize("command", ["list", "build", "clear"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: vss engines {command}" in vss(command, "--help").replace("`", "")


def test_lists_and_clears(cache: EngineCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no engines yet" in vss("list")
    filled(cache, 1, 40)
    vss("list", "--json", tmp_path / "engines.json")
    listed = json.loads((tmp_path / "engines.json").read_text())
    assert [(e["label"], e["key"]["gpu"], e["bytes"]) for e in listed["engines"]] == [("a stage", "Orin", 100)] * 2
    assert listed["folder"] == str(cache.folder)
    compatible = replace(KEY, tensorrt="tensorrt 10")
    cache.fetch(compatible, "a stage", lambda: bytes(1), bytes, built_by="tensorrt 10.3.0")
    monkeypatch.setattr(out, "width", 200)
    assert "tensorrt 10 (built by tensorrt 10.3.0)" in vss("list")
    cache._remove(compatible.digest)
    assert vss("clear", "--unused-for", 30).startswith("1 engines removed")
    assert vss("clear", "--keep", 1).startswith("0 engines removed")
    for option in ("--unused-for", "--keep"):
        with pytest.raises(SystemExit) as refused:
            vss("clear", option, -1)
        assert refused.value.code == 2 and len(cache.entries()) == 1, "nothing is removed by mistake"
    assert vss("clear").startswith("1 engines removed") and cache.entries() == []


def test_builds_with_the_settings_of_the_node(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def preparation(card: Any, plan: Any, settings: Any) -> Any:
        def prepare(size: Any, observe: Any) -> Prepared:
            asked.append((card.name, settings.runtime, size, plan))
            observe(Step("fp32 engine of encode", 1, 2))
            return Prepared(None, "fp32, 0.02% of the labels differ")  # type: ignore[arg-type]

        return prepare

    monkeypatch.setattr(assemble, "engine_preparation", preparation)
    (tmp_path / "s.yaml").write_text("runtime: {optimization_level: 5}\n")
    said = vss("build", "single_erfnet_camvid", "--precision", "fp32", "--settings", tmp_path / "s.yaml")
    ((name, chosen, size, _),) = asked
    assert (name, chosen.precision, chosen.optimization_level, size) == ("single_erfnet_camvid", "fp32", 5, (360, 480))
    assert "fp32 engine of encode (1 of 2)" in said
    assert re.search(r"engines for 480x360 px are ready after \d+ s: fp32, 0.02% of the labels differ", said)
    vss("build", "--size", "1024x512")
    assert asked[1][2] == (512, 1024) and asked[1][1].precision == "fp16"
    vss("build", "--camera", "1280x720")
    height, width = asked[2][2]
    assert (height, width) == like((720, 1280), (360, 480), 8) and abs(width / height - 16 / 9) < 0.1
    (tmp_path / "s.yaml").write_text("model: {input_size: 320x240}\n")
    vss("build", "--camera", "1280x720", "--settings", tmp_path / "s.yaml")
    assert asked[3][2] == (240, 320), "as the node, which then runs at one size"
    (tmp_path / "s.yaml").write_text(
        "{model: {name: arseg_erfnet_camvid, input_size: 320x240}, runtime: {precision: int8}, "
        "motion: {keyframe_every: 5}}"
    )
    vss("build", "--settings", tmp_path / "s.yaml")
    name, chosen, size, plan = asked[4]
    assert (name, chosen.precision, size, plan.period) == ("arseg_erfnet_camvid", "int8", (240, 320), 5), "its own keys"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "big"], "--size wants model or WIDTHxHEIGHT such as 640x480, got 'big'"),
        (["--size", "100x50"], "model.input_size wants multiples of 8, got 100x50"),
        (["--camera", "model"], "--camera wants WIDTHxHEIGHT such as 640x480, got 'model'"),
        (
            ["--camera", "640x480", "--size", "320x240"],
            "one of --size and --camera was wanted, got 320x240 and 640x480",
        ),
    ],
)
def test_pictures_that_cannot_be_are_refused_before_anything_is_built(options: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        vss("build", *options)
    assert said in str(refused.value)


def test_build_without_tensorrt_is_one_sentence(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    from vss_ros.runtimes.tensorrt import api

    def missing() -> None:
        raise BackendError("backend 'tensorrt' wants TensorRT")

    monkeypatch.setattr(api, "bindings", missing)
    with pytest.raises(BackendError, match="backend 'tensorrt' wants TensorRT"):
        vss("build")
    assert not doctor._tensorrt().good and "JetPack" in doctor._tensorrt().remedy


def test_the_doctor_says_what_the_cache_holds(cache: EngineCache) -> None:
    filled(cache, 1)
    assert doctor._engines().found == f"1 engines, 0 MB in {cache.folder}"
    cache.folder.chmod(0o777)
    assert not doctor._engines().good and "chmod go=" in doctor._engines().found


def test_imports_without_torch_onnx_and_tensorrt() -> None:
    modules = [m for m in modules_of("runtimes", but=("device_torch",)) if m.startswith("vss_ros.runtimes.tensorrt")]
    assert len(modules) > 8
    done = imports_without(["torch", "onnx", "tensorrt", "cuda", "rclpy", "triton"], modules)
    assert done.returncode == 0, done.stderr
