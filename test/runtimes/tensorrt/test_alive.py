# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's model while engines build: labels from ONNX Runtime, then from engines that agree, and no frame lost.

TensorRT and the GPU are stand-ins. Frames go through `SegmentApp`, as those of a node do.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

pytest.importorskip("onnx")

from test.ros.peer import free_domain, kept_environment
from test.runtimes.tensorrt.host_gpu import HostDevice, HostKernel
from test.runtimes.tensorrt.stand_in import Bindings
from test.runtimes.test_preparing import PATIENCE_S, until
from vss_ros import assemble
from vss_ros.assemble import Model, load_card, load_model, load_settings
from vss_ros.core.errors import BackendError, CardError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.ros.app import SegmentApp, warm_up
from vss_ros.runtimes.golden import write_golden_file
from vss_ros.runtimes.preparing import Step
from vss_ros.runtimes.tensorrt.build import BuildOptions
from vss_ros.runtimes.tensorrt.cache import EngineCache
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime

SIZE = (64, 96)
STATE = "tensorrt 96x64"


class StandIn:
    """What builds engines: waits for `go`; `fails` are TensorRT's calls, `wrong` the precisions with wrong labels."""

    def __init__(self, folder: Path) -> None:
        self.go = threading.Event()
        self.fails: tuple[str, ...] = ()
        self.wrong: tuple[str, ...] = ()
        self.made: list[str] = []
        self._folder = folder

    def __call__(self, card: Any, plan: Any, settings: Any) -> TensorRTRuntime:
        stand_in, options = self, BuildOptions(settings.runtime.precision)

        class Slow(TensorRTRuntime):
            def prepare(self, size: Any, observe: Any = lambda step: None) -> None:
                assert stand_in.go.wait(PATIENCE_S)
                stand_in.made.append(options.precision)
                super().prepare(size, observe)

            def run_into(self, stage: str, inputs: Any, into: Any) -> Any:
                outputs = super().run_into(stage, inputs, into)
                if "labels" in outputs and options.precision in stand_in.wrong:
                    outputs["labels"][:8] = 3
                return outputs

        parts: dict[str, Any] = {"device": HostDevice(), "load_kernel": HostKernel, "cache": EngineCache(self._folder)}
        if options.precision == "int8":
            parts["quantized"] = SimpleNamespace(digest="", content=lambda name: card.stage_path(name).read_bytes())
        trt = Bindings("10.3.0", *self.fails)
        return Slow(card, plan.stages(card.host), options, trt=trt, **parts)


class Node:
    """An app on a model that is alive, fed with one frame after the other."""

    def __init__(self, settings: Any, cameras: tuple[str, ...] = ("camera",)) -> None:
        self.model: Model = load_model(settings, alive=True)
        self.results: list[Segmentation] = []
        self.app = SegmentApp(self.model, lambda frame, result: self.results.append(result), cameras=cameras)
        self.app.start()

    def feed(self, frames: list[Frame], camera: str = "camera") -> None:
        for frame in frames:
            self.app.offer(camera, message_of(frame))
            until(lambda: all(r.received == r.published + sum(r.dropped.values()) for r in self.app.report()))

    def ready(self, builder: StandIn) -> str:
        builder.go.set()
        until(lambda: self.said().startswith(("in use", "not in use")))
        return self.said()

    def said(self) -> str:
        return self.model.engine_states().get(STATE, "")

    def labels(self) -> npt.NDArray[np.uint8]:
        return np.stack([result.labels for result in self.results])


def message_of(frame: Frame) -> Any:
    stamp = SimpleNamespace(sec=frame.stamp_ns // 10**9, nanosec=frame.stamp_ns % 10**9)
    height, width = frame.size
    size = {"height": height, "width": width, "step": 3 * width, "encoding": "rgb8", "is_bigendian": 0}
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="cam"), data=np.ascontiguousarray(frame.image).tobytes(), **size
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with golden frames, which are written here."""
    made = tmp_path_factory.mktemp("models") / "golden_lmanet"
    shutil.copytree(load_card("lmanet_erfnet_camvid").folder, made)
    card = replace(load_card(made), input_size=SIZE)
    content = yaml.safe_load((made / "card.yaml").read_text()) | {"golden": write_golden_file(card)}
    (made / "card.yaml").write_text(yaml.safe_dump(content | {"input_size": list(SIZE)}))
    return made


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Frame(f.stamp_ns, f.image, frame_id="cam") for f in SyntheticDrive(3, size=SIZE, frames=6, motion=False)]


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    made = StandIn(tmp_path / "engines")
    monkeypatch.setattr(assemble, "tensorrt_runtime", made)
    yield made
    made.go.set()  # or a thread would wait for it


@pytest.fixture
def node(folder: Path, builder: StandIn) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(*cameras: str, **settings: Any) -> Node:
        made.append(Node(settings_of(folder, **settings), cameras or ("camera",)))
        return made[-1]

    yield make
    builder.go.set()
    for each in made:
        assert each.app.stop()


def settings_of(folder: Path, backend: str = "tensorrt", precision: str = "fp32", **more: Any) -> Any:
    values = {"model.name": str(folder), "memory.slots": 2, "memory.window": 5, "runtime.threads": 1}
    return load_settings(values={**values, "runtime.backend": backend, "runtime.precision": precision, **more})


@pytest.fixture(scope="module")
def wanted(folder: Path, frames: list[Frame]) -> list[Segmentation]:
    stream = load_model(settings_of(folder, "onnx")).stream()
    return [stream(frame) for frame in frames]


def test_the_stream_is_the_uninterrupted_one(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    n = node()
    n.feed(frames[:3])
    assert n.app.report()[0].backend == "onnx" and n.model.backend == "tensorrt"
    assert n.ready(builder) == "in use: fp32, 0.00% of the labels differ, the confidence by 0.0000"
    n.feed(frames[3:])
    (report,) = n.app.report()
    assert (report.backend, report.published, sum(report.dropped.values())) == ("tensorrt", len(frames), 0)
    np.testing.assert_array_equal(n.labels(), [w.labels for w in wanted])
    assert [r.remembered for r in n.results] == [w.remembered for w in wanted] == [0, 1, 2, 2, 2, 2]
    assert all(r.reset is None for r in n.results)


def test_in_half_precision_the_memory_goes_along_too(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    n = node(precision="fp16")
    n.feed(frames[:3])
    np.testing.assert_array_equal(n.labels(), [w.labels for w in wanted[:3]])
    before = n.app.report()[0].memory_bytes
    assert n.ready(builder).startswith("in use: fp16, 0.")
    n.feed(frames[3:])
    assert np.mean(n.labels() != [w.labels for w in wanted]) < 0.005
    assert [r.remembered for r in n.results] == [w.remembered for w in wanted]
    slots = n.model.plan.slots
    assert n.app.report()[0].memory_bytes * 2 * slots == before * (slots + 1), "half, and a spare slot"


def test_two_cameras_change_each_at_its_next_frame(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    n = node("left", "right")
    n.feed(frames[:3], "left")
    n.feed(frames[:2], "right")
    n.ready(builder)
    n.feed(frames[3:], "left")
    assert [r.backend for r in n.app.report()] == ["tensorrt", "onnx"]
    n.feed(frames[2:], "right")
    assert [r.backend for r in n.app.report()] == ["tensorrt", "tensorrt"]
    for camera in ("left", "right"):
        np.testing.assert_array_equal(
            [r.labels for r in n.results if r.stream == camera], [w.labels for w in wanted], camera
        )
    assert builder.made == ["fp32"], "engines serve both"


def test_frames_in_half_precision_that_disagree_raise_the_precision(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    builder.wrong = ("fp16",)
    n = node(precision="fp16")
    n.feed(frames[:3])
    assert n.ready(builder).startswith("in use: fp32, 0.00%")
    n.feed(frames[3:])
    np.testing.assert_array_equal(n.labels(), [w.labels for w in wanted])
    assert builder.made == ["fp16", "fp32"]


def test_what_disagrees_in_int8_is_built_in_half_precision(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    builder.wrong = ("int8",)
    n = node(precision="int8")
    n.feed(frames[:3])
    assert n.ready(builder).startswith("in use: fp16, 0.")
    n.feed(frames[3:])
    assert np.mean(n.labels() != [w.labels for w in wanted]) < 0.005
    assert builder.made == ["int8", "fp16"]


def test_engines_that_never_agree_are_refused_with_the_figures(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    builder.wrong = ("fp16", "fp32")
    n = node(precision="fp16")
    n.feed(frames[:3])
    said = n.ready(builder)
    assert said.startswith(
        "not in use: engines of lmanet_erfnet_camvid 96x64 that agree with the reference were wanted"
    )
    assert re.search(r"got: in fp16 1\d\.\d\d% of the labels differ.*; in fp32 1\d\.\d\d%", said), said
    n.feed(frames[3:])
    np.testing.assert_array_equal(n.labels(), [w.labels for w in wanted])
    assert n.app.report()[0].backend == "onnx"


def test_a_build_that_fails_does_not_end_the_stream(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    builder.fails = ("build_serialized_network",)
    n = node()
    n.feed(frames[:3])
    said = n.ready(builder)
    assert said.startswith("not in use: tensorrt 10.3.0 built no engine of") and "was told to" in said
    n.feed(frames[3:])
    np.testing.assert_array_equal(n.labels(), [w.labels for w in wanted])


def test_a_gpu_that_fails_later_costs_three_frames(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame]
) -> None:
    n = node()
    n.feed(frames[:1])
    n.ready(builder)
    n.feed(frames[1:2])
    engines: Any = n.model.engines
    engines.at(SIZE)._runtime._trt.fails.add("execute_async_v3")
    n.feed(frames[2:])
    (report,) = n.app.report()
    assert (report.dropped["failed"], report.published, report.backend) == (3, 3, "onnx")
    assert "not in use after 3 failures in a row: tensorrt 10.3.0 did not run" in n.said()


def test_the_node_over_dds_says_what_runs_and_how_far_the_engines_are(
    folder: Path, builder: StandIn, frames: list[Frame]
) -> None:
    pytest.importorskip("cyclonedds", reason="the wheel cyclonedds is not installed")
    from vss_ros.ros.dds_face import DdsSegmenter

    told: list[Any] = []
    with kept_environment():
        os.environ |= {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(free_domain())}
        node = DdsSegmenter(settings_of(folder), remapped={})
        app: Any = node._app
        node._diagnostics = [told.append]
        try:
            for published, frame in enumerate(frames[:4]):
                if published == 2:
                    builder.go.set()
                    until(lambda: node._model.engine_states()[STATE].startswith("in use"))
                app.offer("camera", message_of(frame))
                until(lambda: app.report()[0].published > published)  # noqa: B023
                node._tick(node._model)
        finally:
            node.close()
    values = [{value.key: value.value for value in message.status[0].values} for message in told]
    assert [each["backend"] for each in values] == ["onnx", "onnx", "tensorrt", "tensorrt"]
    assert values[0][STATE] == "waits" and values[3][STATE].startswith("in use: fp32, 0.00%")
    assert told[0].status[0].hardware_id == "lmanet_erfnet_camvid on tensorrt"
    assert told[3].status[0].message.endswith(" labels/s on tensorrt")


def test_the_warm_up_has_nothing_built_and_the_first_picture_has(
    node: Callable[..., Node], builder: StandIn, frames: list[Frame]
) -> None:
    n = node()
    warm_up(n.model.without_engines())
    assert n.model.engine_states() == {}
    n.feed(frames[:1])
    assert list(n.model.engine_states()) == [STATE]


def test_a_size_that_is_known_is_built_at_once(node: Callable[..., Node]) -> None:
    n = node(**{"model.input_size": "96x64"})
    assert list(n.model.engine_states()) == [STATE]


def test_settings_that_change_live_keep_the_engines(node: Callable[..., Node], folder: Path) -> None:
    n = node()
    assert n.model.tuned(settings_of(folder, **{"confidence.min": 0.5})).engines is n.model.engines


def test_what_is_missing_shows_itself_when_the_model_is_loaded(
    folder: Path, builder: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise BackendError("backend 'tensorrt' wants TensorRT 8.5 or newer")

    monkeypatch.setattr(assemble, "tensorrt_runtime", missing)
    with pytest.raises(BackendError, match="wants TensorRT"):
        load_model(settings_of(folder), alive=True)


def test_damaged_golden_frames_are_refused_when_the_model_is_loaded(
    folder: Path, builder: StandIn, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "golden.jpg").write_bytes(b"no picture")
    with pytest.raises(CardError, match="the file is damaged or was exchanged"):
        load_model(settings_of(damaged), alive=True)


def test_other_backends_have_no_engines(folder: Path, builder: StandIn) -> None:
    model = load_model(settings_of(folder, "onnx"), alive=True)
    assert (model.engines, model.engine_states(), model.backend) == (None, {}, "onnx")


def test_offline_a_stream_waits_for_checked_engines(
    folder: Path, builder: StandIn, frames: list[Frame], wanted: list[Segmentation]
) -> None:
    builder.go.set()
    builder.wrong = ("fp16",)
    model = load_model(settings_of(folder, precision="fp16"))
    stream = model.stream()
    assert model.backend == "tensorrt" and builder.made == []
    np.testing.assert_array_equal([stream(frame).labels for frame in frames], [w.labels for w in wanted])
    assert builder.made == ["fp16", "fp32"] and stream.backend == "tensorrt"
    assert model.engine_states()[STATE].startswith("in use: fp32, 0.00%")
    builder.wrong = ("fp16", "fp32")
    with pytest.raises(BackendError, match="that agree with the reference were wanted"):
        load_model(settings_of(folder, **{"model.input_size": "96x64"}))


def test_a_second_build_knows_how_long_the_first_one_took(folder: Path, builder: StandIn) -> None:
    builder.go.set()
    model = load_model(settings_of(folder))
    runs = ((SIZE, "fp32"), ((32, 48), "fp32"), (SIZE, "fp32"), (SIZE, "fp16"))
    steps: list[list[Step]] = [[] for _ in runs]
    for (size, precision), seen in zip(runs, steps, strict=True):
        runtime = assemble.tensorrt_runtime(model.card, model.plan, settings_of(folder, precision=precision))
        runtime.prepare(size, seen.append)
    first, second, again, half = steps
    names = ["fp32 engine of encode", "fp32 engine of fuse", "fp32 engine of decode"]
    assert [(s.what, s.number, s.of) for s in first] == [(name, n, 3) for n, name in enumerate(names, 1)]
    assert [s.left_s for s in first] == [None] * 3 == [s.left_s for s in half]
    left_s = [s.left_s for s in second]
    built_s = {e.label: e.about["build_seconds"] for e in EngineCache(builder._folder).entries()}
    assert left_s[2] == built_s["lmanet_erfnet_camvid decode 96x64 fp32"] > 0
    assert left_s[0] == pytest.approx(sum(s for label, s in built_s.items() if "96x64 fp32" in label))
    assert [s.left_s for s in again] == [0.0] * 3, "they are there"
