# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The GPU bench without a GPU: every part runs on the CPU, and one that fails does not take the others with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import gpu
import gpu_parts
from gpu_contenders import OURS, PERIOD_NS, Feeder, Problem

from test.runtimes.tensorrt.host_gpu import HostKernel, host_cudart
from test.runtimes.tensorrt.stand_in import Bindings
from vss_ros import assemble
from vss_ros.runtimes.tensorrt.build import BuildOptions
from vss_ros.runtimes.tensorrt.cache import EngineCache
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bench") / "gpu.json"
    gpu.main(["--smoke", "--json", str(file)])
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_every_part_runs_or_says_why_not(smoke: dict[str, Any]) -> None:
    assert list(smoke["parts"]) == list(gpu_parts.PARTS)
    failed = {name for name, part in smoke["parts"].items() if "result" not in part}
    assert failed <= {"tensorrt", "tensorrt_rtx"}
    assert all(smoke["parts"][name]["error"] for name in failed)


def test_contenders_that_are_installed_give_the_same_labels(smoke: dict[str, Any]) -> None:
    rows = smoke["parts"]["steps"]["result"]
    missing = {name for name, row in rows.items() if "error" in row}
    assert missing <= {"LMANet's structure, correlation-sampler, half, eager"}
    differ = {name: row["labels_differ"] for name, row in rows.items() if "labels_differ" in row}
    assert len(differ) >= 7 and set(differ.values()) == {0.0}
    assert rows[OURS]["ms"]["graphs"] == 2, "one for each of the two slots"
    assert "graphs" not in rows["eager torch, half"]["ms"]


def test_parts_give_what_the_targets_ask_for(smoke: dict[str, Any]) -> None:
    got = {row["target"]: row["got"] for row in smoke["targets"]}
    assert {name for name, value in got.items() if value is None} == {
        "device memory over the twin's, at most",  # there is no device
        "eight cameras' rate over one's, at least",  # two at most in smoke
    }
    assert {row["met"] for row in smoke["targets"]} == {None}, "a CPU's times say nothing"
    assert smoke["parts"]["kernel"]["result"]["errors"]["dense"] < 1e-5
    assert set(smoke["parts"]["stages"]["result"]) == {"encode", "attend", "fuse", "decode"}


def test_the_other_methods_run_beside_their_hosts(smoke: dict[str, Any]) -> None:
    rows = smoke["parts"]["methods"]["result"]
    graphs = {"stt_erfnet_camvid": 3, "ssltm_erfnet_camvid": 3, "arseg_erfnet_camvid": 2}
    assert {name: row.get("graphs", row) for name, row in rows.items()} == graphs, "for each place; two kinds of frame"
    assert {row["labels_differ"] for row in rows.values()} == {0.0}
    assert all(row["over_host"] == row["ms"] / row["host_ms"] for row in rows.values())


def test_engines_are_timed_with_and_without_graphs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On stand-ins for TensorRT and the GPU, which are timed as if they were real."""

    def stand_in(card: Any, plan: Any, settings: Any) -> Any:
        precision = settings.runtime.precision
        files = SimpleNamespace(digest="", content=lambda name: card.stage_path(name).read_bytes())
        parts: dict[str, Any] = {"trt": Bindings("10.3.0"), "device": CudaDevice(host_cudart())}
        more = {"load_kernel": HostKernel, "quantized": files if precision == "int8" else None}
        specs, cache = plan.stages(card.host), EngineCache(tmp_path / "engines")
        return TensorRTRuntime(card, specs, BuildOptions(precision), cache=cache, **parts, **more)

    monkeypatch.setattr(assemble, "tensorrt_runtime", stand_in)
    monkeypatch.setattr(gpu_parts.api, "bindings", lambda: None)
    found = gpu_parts.tensorrt(gpu.SMOKE)
    assert list(found) == ["fp32", "fp16", "int8"]
    for precision, rows in found.items():
        assert rows["graphs"]["graphs"] == 5 and "graphs" not in rows["no graphs"]
        assert rows["says"]["tensorrt 48x32"].startswith(f"in use: {precision}, 0.")


def test_targets_are_met_or_not() -> None:
    ms = {"infer": 0.9, "host": 0.2}
    rows = {
        OURS: {"ms": ms, "labels_differ": 0.006},
        "twin: half, graphs": {"ms": {"infer": 0.5}},
        "eager torch, half": {"error": "no"},
    }
    rates = {"in turns": {1: 900.0, 8: 1000.0}, "at once": {1: 1000.0, 8: 5000.0}}
    parts = {"steps": {"result": rows}, "cameras": {"result": rates}, "memory": {"error": "no"}}
    met = {row["target"]: row["met"] for row in gpu_parts.targets(parts)}
    assert list(met.values()) == [False, True, None, False, None, True, True]


def test_a_part_without_a_gpu_is_recorded_with_its_error(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert gpu.main(["--only", "memory", "--json", str(file)]) == 1
    assert json.loads(file.read_text())["error"] == "RuntimeError: a CUDA device was wanted, torch finds none"


def test_a_process_that_dies_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.sys, "executable", "/bin/false")
    died = gpu.run_apart("about", [])
    assert died["error"] == "exit code 1: it said nothing" and died["seconds"] < 60


def test_unknown_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "kernel,speed"])
    assert "--parts wants some of about, kernel" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--size", "big"])
    assert "--size wants WIDTHxHEIGHT such as 640x480, got 'big'" in capsys.readouterr().err


def test_a_part_comes_back_from_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    written = '{"seconds": 1.5, "result": {"at once": {"8": 3.0}}}'
    script = f"import sys; open(sys.argv[-1], 'w').write({written!r})"
    run = gpu.subprocess.run
    monkeypatch.setattr(
        gpu.subprocess, "run", lambda command, **more: run([sys.executable, "-c", script, *command[2:]], **more)
    )
    assert gpu.run_apart("cameras", ["--size", "1024x512"]) == {"seconds": 1.5, "result": {"at once": {8: 3.0}}}


def test_the_exit_code_says_whether_all_went_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(problem: Problem) -> dict[str, Any]:
        raise RuntimeError("broken")

    ours: dict[str, Any] = {"labels_differ": 0.0}
    file = tmp_path / "gpu.json"
    told = ["--smoke", "--parts", "kernel,steps,methods", "--json", str(file)]
    monkeypatch.setitem(gpu.PARTS, "methods", lambda problem: {"stt": ours})
    monkeypatch.setitem(gpu.PARTS, "steps", lambda problem: {OURS: {}, "a peer": {"error": "not installed"}})
    assert gpu.main(told) == 0
    ours["error"] = "no memory left"
    assert gpu.main(told) == 1
    monkeypatch.setitem(gpu.PARTS, "methods", lambda problem: {})
    assert gpu.main(told) == 0
    monkeypatch.setitem(gpu.PARTS, "kernel", broken)
    assert gpu.main(told) == 1
    parts = json.loads(file.read_text())["parts"]
    assert parts["kernel"]["error"] == "RuntimeError: broken" and "result" in parts["methods"], "written all the same"


def test_a_target_that_is_missed_or_a_part_of_ours_that_fails_counts() -> None:
    targets = [{"target": f"t{met}", "wanted": 1.0, "got": 2.0, "met": met} for met in (True, None, False)]
    parts = {
        "about": {"result": {"tensorrt": {"error": "none"}}},
        "steps": {"result": {OURS: {"error": "x"}, "a peer": {"error": "y"}}},
        "tensorrt": {"result": {"fp16": {"error": "z"}, "fp32": {}}},
        "memory": {"error": "v"},
    }
    said = [f"steps, {OURS}: x", "tensorrt, fp16: z", "memory: v", "tFalse: 1, got 2.000"]
    assert gpu.failures(parts, targets) == said
    assert gpu.failures({}, targets[:2]) == []


def test_a_feeder_never_goes_back_in_time() -> None:
    problem = Problem(size=(32, 48), smoke=True)
    feeder = Feeder(problem)
    assert [feeder.next().stamp_ns for _ in range(4)] == [n * PERIOD_NS for n in (1, 2, 3, 4)]
