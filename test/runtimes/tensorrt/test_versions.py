# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Build, load and run against the attributes of six versions of TensorRT; a refusal is one sentence with its why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from test.runtimes.tensorrt.host_gpu import HostDevice
from test.runtimes.tensorrt.stand_in import API, VERSIONS, Bindings, head_of
from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt import api
from vss_ros.runtimes.tensorrt.build import BuildOptions, build_plan
from vss_ros.runtimes.tensorrt.engine import StageEngine

ROOT = Path(__file__).parents[3]
TABLES = ROOT.parent / "shared" / "design" / "tensorrt_api"
SHAPES = {"own_value": (64, 8, 12), "seen": (8, 12, 1, 64)}

each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def fuse() -> Path:
    return ROOT / "models" / "lmanet_erfnet_camvid" / "fuse.onnx"


def engine_of(trt: Bindings, path: Path, options: BuildOptions, shapes: Any = None) -> StageEngine:
    shapes = shapes or SHAPES
    return StageEngine(trt, build_plan(trt, path, shapes, options).plan, "fuse", shapes)


@pytest.mark.skipif(not TABLES.is_dir(), reason=f"no full tables at {TABLES}")
@each_version
def test_the_table_is_what_the_bindings_list(version: str) -> None:
    full = json.loads((TABLES / f"{version}.json").read_text(encoding="utf-8"))
    assert {name: full[name] for name in API[version]} == API[version]


@each_version
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_builds_loads_and_runs(version: str, precision: str, fuse: Path) -> None:
    trt, device = Bindings(version), HostDevice()
    engine = engine_of(trt, fuse, BuildOptions(precision))
    wanted = "float16" if precision == "fp16" else "float32"
    ports = {**engine.inputs, **engine.outputs}
    assert {name: (port.dtype, port.shape) for name, port in ports.items()} == {
        **{name: (wanted, shape) for name, shape in SHAPES.items()},
        "features": (wanted, (128, 8, 12)),
    }
    arrays = {name: device.upload(np.ones(port.shape, port.dtype)) for name, port in ports.items()}
    arrays["features"][:] = np.nan
    engine.enqueue({name: device.address(x) for name, x in arrays.items()}, device.stream())
    assert np.isfinite(arrays["features"]).all()
    assert ("FP16" in trt.flags) == (precision == "fp16" and version.startswith("8."))


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "10.14.1", "11.4.0", "rtx-1.7.1"])
def test_the_optimization_level_reaches_the_builder(version: str, fuse: Path) -> None:
    trt = Bindings(version)
    build_plan(trt, fuse, SHAPES, BuildOptions(optimization_level=5))
    assert trt.config.builder_optimization_level == 5
    build_plan(trt, fuse, SHAPES, BuildOptions())
    assert trt.config.builder_optimization_level == 3, "TensorRT's own"


def test_a_version_without_levels_says_so(fuse: Path) -> None:
    with pytest.raises(BackendError, match=r"wants TensorRT 8\.6 or newer, got tensorrt 8\.5\.3\.1; set runtime"):
        build_plan(Bindings("8.5.3"), fuse, SHAPES, BuildOptions(optimization_level=0))


@each_version
def test_engines_for_later_versions_are_built_where_there_are_such(version: str, fuse: Path) -> None:
    trt, options = Bindings(version), BuildOptions(version_compatible=True)
    if version in ("8.5.3", "rtx-1.7.1"):
        said = {
            "8.5.3": r"^engines that later versions load want TensorRT 8\.6 or newer, got tensorrt 8\.5\.3\.1; ",
            "rtx-1.7.1": r"^engines that later versions load were wanted, .* TensorRT-RTX .*, got tensorrt_rtx 1\.7\.1",
        }
        with pytest.raises(BackendError, match=said[version] + r".*set runtime\.version_compatible to false$"):
            build_plan(trt, fuse, SHAPES, options)
    else:
        plan = build_plan(trt, fuse, SHAPES, options).plan
        assert "VERSION_COMPATIBLE" in trt.flags and "EXCLUDE_LEAN_RUNTIME" not in trt.flags
        assert head_of(plan)["compatible"]
        assert StageEngine(trt, plan, "fuse", SHAPES, carries_code=True).inputs
        with pytest.raises(BackendError, match="does not load the engine of fuse"):
            StageEngine(trt, plan, "fuse", SHAPES)
    plain = build_plan(trt, fuse, SHAPES, BuildOptions()).plan
    assert "VERSION_COMPATIBLE" not in trt.flags
    engine = StageEngine(trt, plain, "fuse", SHAPES)
    assert not engine._runtime._does["engine_host_code_allowed"], "code of a plan runs only where it was asked for"


def test_only_rtx_builds_for_another_gpu(fuse: Path) -> None:
    trt = Bindings("rtx-1.7.1")
    assert build_plan(trt, fuse, SHAPES, BuildOptions(), capability="8.0").plan and trt.flags == {"SM80"}
    with pytest.raises(BackendError, match=r"has no compute capability 9\.0"):
        build_plan(trt, fuse, SHAPES, BuildOptions(), capability="9.0")
    with pytest.raises(BackendError, match=r"tensorrt 10\.3\.0 builds for the GPU it runs on alone, 8\.0 was wanted"):
        build_plan(Bindings("10.3.0"), fuse, SHAPES, BuildOptions(), capability="8.0")


@each_version
def test_timings_are_taken_where_they_fit(version: str, fuse: Path) -> None:
    trt = Bindings(version)
    for old in (b"", b"measured", b"of another version"):
        assert build_plan(trt, fuse, SHAPES, BuildOptions(), timing=old).timing == b"measured"
    none = build_plan(Bindings(version, "create_timing_cache"), fuse, SHAPES, BuildOptions())
    assert none.plan and none.timing == b"", "an engine can be built without"


REFUSALS = {
    "Builder": r"made no Builder: pybind11::init\(\): factory function returned nullptr; ",
    "OnnxParser": "made no OnnxParser: pybind11",
    "Runtime": "made no Runtime: pybind11",
    "create_network": "made no network",
    "parse": r"does not take .*fuse\.onnx: node 3 is not to its taste",
    "create_builder_config": "made no builder configuration",
    "create_optimization_profile": "made no optimization profile",
    "add_optimization_profile": "does not take the shapes",
    "build_serialized_network": r"built no engine of .*fuse\.onnx",
    "deserialize_cuda_engine": "does not load the engine of fuse",
    "create_execution_context": "has no room to run the engine of fuse",
    "set_input_shape": "does not take own_value",
    "set_tensor_address": "does not take the address of own_value of fuse",
    "execute_async_v3": "did not run fuse",
}


@each_version
@pytest.mark.parametrize("call", REFUSALS)
def test_a_refusal_carries_the_loggers_lines(version: str, call: str, fuse: Path) -> None:
    trt, device = Bindings(version, call), HostDevice()
    with pytest.raises(BackendError) as refused:
        engine = engine_of(trt, fuse, BuildOptions())
        ports = {**engine.inputs, **engine.outputs}
        arrays = {name: device.empty(port.shape, port.dtype) for name, port in ports.items()}
        engine.enqueue({name: device.address(x) for name, x in arrays.items()}, device.stream())
    said = str(refused.value)
    assert said.startswith(f"{trt.__name__} {API[version]['version']} "), said
    assert refused.match(REFUSALS[call]) and f"because {call} was told to; " in said and "\n" not in said
    assert "mere warning" not in said
    assert api.logger(trt).drain() == [], "the next error does not carry this one's lines"


def test_a_file_that_the_builder_will_not_have_is_named(fuse: Path) -> None:
    with pytest.raises(BackendError, match=r"wants shapes of \['own_value', 'seen'\], got \['image'\]"):
        build_plan(Bindings("10.3.0"), fuse, {"image": (8, 8, 3)}, BuildOptions())


def test_an_engine_of_other_inputs_is_refused(fuse: Path) -> None:
    trt = Bindings("10.3.0")
    plan = build_plan(trt, fuse, SHAPES, BuildOptions()).plan
    with pytest.raises(BackendError, match=r"wants \['own_value', 'seen'\], got \['image'\]; run `vss engines clear`"):
        StageEngine(trt, plan, "fuse", {"image": (8, 8, 3)})
    with pytest.raises(BackendError, match="does not load the engine of fuse: it gave no reason"):
        StageEngine(trt, b"rubbish", "fuse", SHAPES)


def test_the_stand_in_fails_where_the_version_would(fuse: Path) -> None:
    trt = Bindings("11.4.0")
    for missing in (lambda: trt.BuilderFlag.FP16, lambda: trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH):
        with pytest.raises(AttributeError):
            missing()
    config = trt._config()
    with pytest.raises(AttributeError, match="has no max_workspace_size"):
        config.max_workspace_size = 1
    with pytest.raises(AttributeError, match="has no int8_calibrator"):
        _ = config.int8_calibrator


def test_the_first_bindings_that_import_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    api.bindings.cache_clear()
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match=r"backend 'tensorrt' wants TensorRT 8\.5 or newer.*or use runtime.backend"):
        api.bindings()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", SimpleNamespace(__name__="tensorrt_rtx"))  # type: ignore[arg-type]
    assert api.bindings().__name__ == "tensorrt_rtx"
    api.bindings.cache_clear()
