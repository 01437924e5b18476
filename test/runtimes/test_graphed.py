# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Steps that are recorded once and replayed: the same labels, from the addresses of each place of the ring.

TensorRT and the CUDA runtime are stand-ins; a recorded copy, engine or read is done at a replay alone, and with the
addresses it was recorded with.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("onnx")

from test.runtimes.tensorrt.host_gpu import HostDevice, HostKernel, host_cudart
from test.runtimes.tensorrt.stand_in import Bindings
from vss_ros.assemble import load_card
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError
from vss_ros.core.frame import Frame
from vss_ros.core.memory import BankSpec, MemoryBank
from vss_ros.core.method import IMAGE, StepInput
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.stage import StageSpec, TensorSpec
from vss_ros.core.step import RuntimeWithSteps
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.methods.single.plan import Single
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.onnx import OnnxRuntime
from vss_ros.runtimes.tensorrt.build import BuildOptions
from vss_ros.runtimes.tensorrt.cache import EngineCache
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime

SIZE = (64, 96)
PLAN = LMANet(slots=2, window=5)
FRAMES = 11


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return load_card("lmanet_erfnet_camvid")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    drive = SyntheticDrive(3, size=SIZE, frames=FRAMES, motion=False)
    return [Frame(frame.stamp_ns, frame.image) for frame in drive]


class Bench:
    """A stream on TensorRT's stand-in; `fails` are codes of the CUDA runtime's calls."""

    def __init__(
        self, card: ModelCard, folder: Path, plan: Any = PLAN, size: tuple[int, int] = SIZE, **fails: int
    ) -> None:
        self.cudart, self.trt = host_cudart(**fails), Bindings("10.3.0")
        self.plan, self.card, self.size = plan, card, size
        self.device = CudaDevice(self.cudart)
        more: dict[str, Any] = {"trt": self.trt, "device": self.device, "load_kernel": HostKernel}
        cache = EngineCache(folder / "engines")
        self.runtime = TensorRTRuntime(card, plan.stages(card.host), BuildOptions("fp32"), cache=cache, **more)
        self.stream = self.new_stream()

    def new_stream(self) -> StreamSegmenter:
        return StreamSegmenter(
            self.plan, self.card.host, self.runtime, StreamOptions(self.card.input_size, input_size=self.size)
        )

    @property
    def graphs(self) -> int:
        stepper = self.stream._stepper
        assert isinstance(stepper, GraphedStep)
        return stepper.graphs


def labels(stream: StreamSegmenter, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    return np.stack([stream(frame).labels for frame in frames])


@pytest.fixture(scope="module")
def wanted(card: ModelCard, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    runtime = OnnxRuntime(card, PLAN.stages(card.host), threads=1)
    options = StreamOptions(card.input_size, input_size=SIZE)
    return labels(StreamSegmenter(PLAN, card.host, runtime, options), frames)


def test_replays_give_the_labels_of_direct_steps(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    np.testing.assert_array_equal(labels(bench.stream, frames), wanted)
    places = PLAN.slots + 1
    assert bench.graphs == places, "one for each place of the ring, once it is full"
    kernel = bench.runtime.attend._kernels["float32", 16, 64]
    filling = PLAN.slots - 1
    assert len(kernel.reads) == filling + 2 * places, "run and recorded once each, then the kernel is told no more"


def test_keys_and_values_are_written_into_the_ring_at_once(
    card: ModelCard, frames: list[Frame], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    labels(bench.stream, frames)
    assert "DeviceToDevice" not in {kind for kind, _ in bench.cudart.copies}


def test_a_slot_where_an_engine_cannot_write_takes_a_copy(card: ModelCard, tmp_path: Path) -> None:
    size = (40, 56)  # 5x7 cells: keys of 2240 bytes, so that the second and third slot begin at odd addresses
    frames = [Frame(frame.stamp_ns, frame.image) for frame in SyntheticDrive(3, size=size, frames=9, motion=False)]
    bench = Bench(card, tmp_path, size=size)
    plain = OnnxRuntime(card, PLAN.stages(card.host), threads=1)
    right = StreamSegmenter(PLAN, card.host, plain, StreamOptions(card.input_size, input_size=size))
    np.testing.assert_array_equal(labels(bench.stream, frames), labels(right, frames))
    copies = [copied for kind, copied in bench.cudart.copies if kind == "DeviceToDevice"]
    assert copies == [2240] * 5, "of keys alone: the second frame's; two slots run and recorded"
    assert bench.graphs == PLAN.slots + 1


def test_a_frame_costs_three_copies_and_one_launch(card: ModelCard, frames: list[Frame], tmp_path: Path) -> None:
    bench = Bench(card, tmp_path)
    labels(bench.stream, frames[:-1])
    before = len(bench.cudart.copies)
    labels(bench.stream, frames[-1:])
    pixels = SIZE[0] * SIZE[1]
    assert bench.cudart.copies[before:] == [
        ("HostToDevice", 3 * pixels),
        ("DeviceToHost", pixels),
        ("DeviceToHost", pixels),
    ]


def test_after_a_reset_the_graphs_are_good_again(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    labels(bench.stream, frames)
    bench.stream.reset()
    np.testing.assert_array_equal(labels(bench.stream, frames), wanted)
    assert bench.graphs == PLAN.slots + 1


def test_each_stream_has_graphs_of_its_own_memory(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    other = bench.new_stream()
    for frame, right in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(bench.stream(frame).labels, right)
        np.testing.assert_array_equal(other(frame).labels, right)
    assert len(bench.cudart.graphs) == 2 * (PLAN.slots + 1)
    del other
    gc.collect()
    assert len(bench.cudart.graphs) == PLAN.slots + 1, "freed with their stream"


def test_without_memory_one_graph_does(frames: list[Frame], tmp_path: Path) -> None:
    bench = Bench(load_card("single_erfnet_camvid"), tmp_path, Single())
    labels(bench.stream, frames)
    assert bench.graphs == 1


@pytest.mark.parametrize("call", ["cudaStreamBeginCapture", "cudaGraphInstantiateWithFlags"])
def test_goes_on_without_graphs_where_they_cannot_be_had(
    call: str,
    card: ModelCard,
    frames: list[Frame],
    wanted: npt.NDArray[np.uint8],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(card, tmp_path, **{call: 900})
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(labels(bench.stream, frames), wanted)
    said = [record.getMessage() for record in caplog.records if "CUDA graphs" in record.getMessage()]
    assert len(said) == 1 and call in said[0] and bench.graphs == 0


def test_graphs_can_be_switched_off(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    bench.runtime.graphs = False
    np.testing.assert_array_equal(labels(bench.new_stream(), frames), wanted)
    assert not bench.cudart.graphs


def test_a_stream_has_only_so_many_graphs(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("vss_ros.runtimes.graphed._MOST_GRAPHS", 2)
    bench = Bench(card, tmp_path)
    np.testing.assert_array_equal(labels(bench.stream, frames), wanted)
    assert bench.graphs == 2


def test_keyframes_and_motion_have_graphs_of_their_own() -> None:
    runtime, device = Recalling(), Replaying()
    bank = MemoryBank(BankSpec("past", 1, (Recalling.own,)), *SIZE, np.zeros, spare=1)

    class Plan:
        def step(self, x: StepInput, memory: Any, run: Any, attend: Any) -> Any:
            now = run("encode", image=x.image)
            past = memory["past"].read()
            moved = 0 if x.is_key else x.motion[0, 0, 0]
            seen = now["own"] + np.uint8(moved) + (0 if not len(past) else past["own"][past.valid][0] * 0)
            if x.is_key:
                memory["past"].push(own=now["own"])
            return {"labels": seen, "confidence": now["own"]}

    step: Any = GraphedStep(Plan(), {"past": bank}, runtime, device)  # type: ignore[arg-type]
    image, motion = np.zeros((*SIZE, 3), np.uint8), np.zeros((8, 12, 2), np.float32)
    for _ in range(3):
        for is_key, dx in ((True, 0), (False, 3), (False, 5)):
            motion[...] = dx
            assert (step(StepInput(image, motion, is_key)).labels == dx).all()
    assert step.graphs == 4, "keyframe or not, at each of the two places"
    assert device.replays == 4, "the second other frame of each keyframe, and then the first one too"


def test_an_error_while_recording_ends_the_capture(card: ModelCard, tmp_path: Path) -> None:
    device = CudaDevice(host_cudart())

    def work() -> None:
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        device.record(work)
    done: list[int] = []
    array = device.upload(np.ones(3, np.float32))  # is not recorded
    done.append(int(device.download(array).sum()))
    assert done == [3]


def test_a_replay_that_fails_leaves_memory_and_ages_as_they_were(
    card: ModelCard, frames: list[Frame], wanted: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    bench = Bench(card, tmp_path)
    labels(bench.stream, frames[:-2])
    ages = bench.stream._memory["past"].ages
    launch = bench.cudart.cudaGraphLaunch
    bench.cudart.cudaGraphLaunch = lambda *_: (700, None)
    with pytest.raises(BackendError, match="cudaGraphLaunch of the CUDA runtime failed"):
        bench.stream(frames[-1])
    bench.cudart.cudaGraphLaunch = launch
    assert bench.stream._memory["past"].ages == ages
    np.testing.assert_array_equal(labels(bench.stream, frames[-2:]), wanted[-2:])


class Replaying(HostDevice):
    """Runs what was recorded again at each replay."""

    replays = 0

    def record(self, work: Any) -> Any:
        work()

        def replay() -> None:
            self.replays += 1
            work()

        return replay


class Recalling:
    """What `GraphedStep` asks of a runtime; two stages give `kept`, which the bank remembers, and one gives `own`."""

    def __init__(self) -> None:
        self.into: dict[str, list[str]] = {}

    kept, own = TensorSpec("kept", "uint8", ("H", "W")), TensorSpec("own", "uint8", ("H", "W"))
    specs = (StageSpec("encode", (IMAGE,), (kept, own)), StageSpec("fuse", (own,), (kept,)))

    def attend(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("there is no read")

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.zeros(shape, dtype)

    def run_into(self, stage: str, inputs: Any, into: Any) -> Any:
        self.into[stage] = sorted(into)
        return {"kept": np.zeros(SIZE, np.uint8), "own": np.zeros(SIZE, np.uint8), **into}


def test_what_two_stages_give_is_copied_because_either_may_be_meant() -> None:
    runtime = Recalling()
    bank = MemoryBank(BankSpec("past", 2, (Recalling.kept, Recalling.own)), *SIZE, np.zeros, spare=1)

    class Plan:
        def step(self, x: StepInput, memory: Any, run: Any, attend: Any) -> Any:
            now = run("encode", image=x.image)
            memory["past"].push(kept=now["kept"], own=now["own"])
            run("fuse", own=now["own"])
            return {"labels": now["own"], "confidence": now["own"]}

    step: Any = GraphedStep(Plan(), {"past": bank}, runtime, HostDevice())  # type: ignore[arg-type]
    step(StepInput(np.zeros((*SIZE, 3), np.uint8)))
    assert runtime.into == {"encode": ["own"], "fuse": []}


def test_the_stream_asks_the_runtime_for_its_steps(card: ModelCard, tmp_path: Path) -> None:
    assert isinstance(Bench(card, tmp_path).runtime, RuntimeWithSteps)
    assert not isinstance(OnnxRuntime(card, PLAN.stages(card.host), threads=1), RuntimeWithSteps)
