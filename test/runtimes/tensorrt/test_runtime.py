# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The runtime on stand-ins for TensorRT and the GPU: the same labels as ONNX Runtime, from frame to ring to labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("onnx")

from test.runtimes.tensorrt.host_gpu import HostDevice, HostKernel, host_cudart
from test.runtimes.tensorrt.stand_in import VERSIONS, Bindings
from vss_ros import assemble
from vss_ros.assemble import load_card, load_model, load_settings, plan_for
from vss_ros.core.card import GoldenFile, ModelCard
from vss_ros.core.errors import BackendError, StageError
from vss_ros.core.frame import Frame
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.stage import StageSpec, TensorSpec
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.runtimes.golden import Agreement
from vss_ros.runtimes.onnx import OnnxRuntime
from vss_ros.runtimes.tensorrt import runtime as runtime_module
from vss_ros.runtimes.tensorrt.build import BuildOptions
from vss_ros.runtimes.tensorrt.cache import EngineCache
from vss_ros.runtimes.tensorrt.checked import checked_engines
from vss_ros.runtimes.tensorrt.device import Gpu
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime, picture_size

SIZE = (64, 96)
PLAN = LMANet(slots=2, window=5)


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return load_card("lmanet_erfnet_camvid")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Frame(f.stamp_ns, f.image) for f in SyntheticDrive(3, size=SIZE, frames=4, motion=False)]


def make(
    card: ModelCard, folder: Path, trt: Bindings, precision: str = "fp16", compatible: bool = False, **more: Any
) -> TensorRTRuntime:
    parts: dict[str, Any] = {"device": HostDevice(), "load_kernel": HostKernel, **more}
    cache = EngineCache(folder / "engines")
    options = BuildOptions(precision, version_compatible=compatible)
    return TensorRTRuntime(card, PLAN.stages(card.host), options, trt=trt, cache=cache, **parts)


def labels(runtime: Any, card: ModelCard, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    stream = StreamSegmenter(PLAN, card.host, runtime, StreamOptions(card.input_size, input_size=SIZE))
    return np.stack([stream(frame).labels for frame in frames])


@pytest.fixture(scope="module")
def wanted(card: ModelCard, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    return labels(OnnxRuntime(card, PLAN.stages(card.host), threads=1), card, frames)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stream_gives_onnx_runtimes_labels(
    version: str, card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    exact = labels(make(card, tmp_path, Bindings(version), "fp32"), card, frames)
    np.testing.assert_array_equal(exact, wanted)
    half = make(card, tmp_path, Bindings(version), "fp16")
    assert np.mean(labels(half, card, frames) != wanted) < 0.005
    kernel = half.attend._kernels["float16", 16, 64]
    assert len(kernel.reads) == len(frames) - 1, "the first frame has nothing to look at"


def test_a_stream_without_torch(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    """On cuda-python's arrays, whose library is a stand-in that copies for real."""
    cudart = host_cudart()
    runtime = make(card, tmp_path, Bindings("10.3.0"), "fp32", device=CudaDevice(cudart))
    np.testing.assert_array_equal(labels(runtime, card, frames), wanted)
    held = len(cudart.rooms)
    labels(runtime, card, frames[:1])
    assert len(cudart.rooms) <= held, "nothing is held for a stream that has ended"


def test_memory_is_half_on_the_device(card: ModelCard, tmp_path: Path) -> None:
    runtime = make(card, tmp_path, Bindings("10.3.0"))
    assert runtime.empty((2, 3), "float32").dtype == np.float16 and runtime.empty((2,), "uint8").dtype == np.uint8
    assert runtime.upload(np.ones(3, np.float32)).dtype == np.float16
    assert make(card, tmp_path, Bindings("10.3.0"), "fp32").empty((2,), "float32").dtype == np.float32


def test_engines_come_from_the_cache(card: ModelCard, tmp_path: Path) -> None:
    for builds in (3, 0):
        trt = Bindings("10.3.0")
        make(card, tmp_path, trt).prepare(SIZE)
        assert trt.builds == builds
    other = Gpu("a GPU", "8.7", 8)
    for trt, more in (
        (Bindings("10.14.1"), {}),
        (Bindings("10.3.0"), {"precision": "fp32"}),
        (Bindings("10.3.0"), {"device": HostDevice(other)}),
    ):
        make(card, tmp_path, trt, **more).prepare(SIZE)
        assert trt.builds == 3
    found = [entry.label for entry in EngineCache(tmp_path / "engines").entries()]
    assert len(found) == 12 and "lmanet_erfnet_camvid encode 96x64 fp16" in found


def test_engines_for_later_versions_survive_an_update_within_a_major_version(card: ModelCard, tmp_path: Path) -> None:
    for version, compatible, builds in (
        *(("10.3.0", False, 3), ("10.14.1", False, 3), ("10.3.0", True, 3), ("10.14.1", True, 0)),
        *(("11.4.0", True, 3), ("8.6.1", True, 3), ("10.14.1", False, 0)),
    ):
        trt = Bindings(version)
        make(card, tmp_path, trt, compatible=compatible).prepare(SIZE)
        assert trt.builds == builds, (version, compatible)
    found = EngineCache(tmp_path / "engines").entries()
    by = {
        (e.about["key"]["tensorrt"], e.about["built_by"])
        for e in found
        if e.about["key"]["flags"]["version_compatible"]
    }
    assert by == {
        ("tensorrt 10", "tensorrt 10.3.0"),
        ("tensorrt 11", "tensorrt 11.4.0.106"),
        ("tensorrt 8", "tensorrt 8.6.1"),
    }


def test_an_older_version_builds_a_later_ones_engines_anew(
    card: ModelCard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for version, builds in (("10.14.1", 3), ("10.3.0", 3), ("10.14.1", 0)):
        trt = Bindings(version)
        make(card, tmp_path, trt, compatible=True).prepare(SIZE)
        assert trt.builds == builds
    assert "is built anew: tensorrt 10.3.0 does not load the engine of" in caplog.text
    assert len(EngineCache(tmp_path / "engines").entries()) == 3


@pytest.mark.parametrize("version", ["8.5.3", "rtx-1.7.1"])
def test_a_version_without_such_engines_says_so_at_once(version: str, card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^engines that later versions load .* got .*; set runtime\.version_compat"):
        make(card, tmp_path, Bindings(version), compatible=True)


def test_the_golden_frames_are_checked_again_after_an_update(card: ModelCard, tmp_path: Path) -> None:
    golden = replace(card, golden=GoldenFile("golden.jpg", "", 3, 0.005, 0.01))
    checks: list[str] = []

    def check(runtime: Any, size: Any) -> Agreement:
        checks.append(runtime._trt.__version__)
        return Agreement(0.0, 0.0)

    for trt in (Bindings("10.3.0"), Bindings("10.14.1")):

        def made(precision: str, trt: Bindings = trt) -> TensorRTRuntime:
            return make(card, tmp_path, trt, precision, compatible=True)

        checked_engines(golden, made, ["fp16"], check, SIZE, lambda step: None)
    assert trt.builds == 0 and checks == ["10.3.0", "10.14.1.48.post1"], "with engines that were found as well"


def test_all_stages_of_a_new_size_are_built_at_its_first_picture(card: ModelCard, tmp_path: Path) -> None:
    trt = Bindings("10.3.0")
    runtime = make(card, tmp_path, trt)
    runtime.run("encode", image=runtime.upload(np.zeros((*SIZE, 3), np.uint8)))
    assert trt.builds == 3
    runtime.run("encode", image=runtime.upload(np.zeros((32, 48, 3), np.uint8)))
    assert trt.builds == 6


def test_refuses_what_does_not_belong_together(card: ModelCard, tmp_path: Path) -> None:
    runtime = make(card, tmp_path, Bindings("10.3.0"))
    own, seen = runtime.empty((64, 8, 12), "float32"), runtime.empty((8, 12, 1, 64), "float32")
    with pytest.raises(StageError, match=r"stage 'fuse' at \(64, 96\) px wants seen \(8, 12, 1, 64\) float16, got"):
        runtime.run("fuse", own_value=own, seen=runtime.empty((4, 12, 1, 64), "float32"))
    with pytest.raises(StageError, match=r"wants own_value \(64, 8, 12\) float16, got \(64, 8, 12\) float32"):
        runtime.run("fuse", own_value=own.astype(np.float32), seen=seen)
    with pytest.raises(StageError, match=r"stage 'fuse' wants \['own_value', 'seen'\], got \['seen'\]"):
        runtime.run("fuse", seen=seen)


def test_a_file_of_another_plan_is_refused(card: ModelCard, tmp_path: Path) -> None:
    swapped = replace(card, stages={**card.stages, "decode": card.stages["fuse"]})
    with pytest.raises(BackendError, match=r"fuse\.onnx wants shapes of \['own_value', 'seen'\], got \['features'\]"):
        make(swapped, tmp_path, Bindings("10.3.0")).prepare(SIZE)
    single = load_card("single_erfnet_camvid")
    encoders = replace(card, stages={**card.stages, "encode": single.stages["encode"]}, folder=single.folder)
    encoders = replace(encoders, stages={**single.stages, "fuse": single.stages["decode"]})
    with pytest.raises(BackendError, match=r"encode 96x64 fp16 wants tensors .*'query'.*export the model again"):
        make(encoders, tmp_path, Bindings("10.3.0")).prepare(SIZE)


def test_the_picture_of_a_stages_inputs() -> None:
    both = StageSpec("x", (TensorSpec("a", "float32", ("W/8", 3)), TensorSpec("b", "float32", ("H/4", "W/4"))), ())
    assert picture_size(both, {"a": np.zeros((12, 3)), "b": np.zeros((16, 24))}) == (64, 96)
    with pytest.raises(StageError, match=r"wants an input with the picture's H and W, got \['W'\]"):
        picture_size(StageSpec("x", both.inputs[:1], ()), {"a": np.zeros((12, 3))})


def test_the_backend_is_taken_where_it_is_asked_for_and_not_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a model without reads: the golden frames run on the engines, and a read wants a real GPU
    settings = load_settings(values={"runtime.threads": 1, "model.name": "single_erfnet_camvid"})
    monkeypatch.setattr(runtime_module.api, "bindings", lambda: Bindings("10.3.0"))
    monkeypatch.setattr(runtime_module, "open_device", HostDevice)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_model(settings).runtime.name == "onnx", "auto"
    changes = {"runtime.backend": "tensorrt", "runtime.precision": "fp32", "runtime.workspace_mib": 64}
    changes["runtime.version_compatible"] = True
    chosen = settings.with_values(changes)
    runtime = load_model(chosen).runtime
    assert isinstance(runtime, TensorRTRuntime) and runtime._options == BuildOptions("fp32", 64, -1, True)
    assert EngineCache().entries() == [], "the camera's size is not known yet"
    load_model(chosen.with_values({"model.input_size": "96x64"}))
    assert len(EngineCache().entries()) == 2


def test_what_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendError("backend 'tensorrt' wants TensorRT")

    monkeypatch.setattr(runtime_module.api, "bindings", missing)
    card = load_card("single_erfnet_camvid")
    with pytest.raises(BackendError, match="wants TensorRT"):
        assemble.tensorrt_runtime(card, plan_for(card.method, card.options), load_settings())
