# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The plans of all methods as recorded steps: few graphs, soon recorded, and the same results as without.

Stages are formulas that mix all their inputs into each output, so that one wrong address shows in the labels. They
are queued as engines are, and recorded with the addresses of then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from test.runtimes.tensorrt.host_gpu import STREAM, HostKernel, at, host_cudart
from vss_ros.core.errors import StageError
from vss_ros.core.memory import BankSpec, MemoryBank
from vss_ros.core.method import Host, KeyframeMethod, StepInput, TemporalMethod
from vss_ros.core.stage import StageSpec, TensorSpec
from vss_ros.core.step import DirectStep
from vss_ros.methods.arseg.plan import ARSeg
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.methods.single.plan import Single
from vss_ros.methods.ssltm.plan import SSLTM
from vss_ros.methods.stt.plan import STT
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.sparse_bank import SparseBank
from vss_ros.runtimes.tensorrt.attend import DeviceAttention
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice

SIZE = (16, 24)
HOST = Host("tiny", 4, 8, classified_channels=4, classified_stride=4)

# plan, frames until every kind of step has come up once, number of kinds
CASES: dict[str, tuple[TemporalMethod, int, int]] = {
    "single": (Single(), 1, 1),
    "lmanet": (LMANet(slots=3, window=3, key_channels=4, value_channels=4), 7, 4),
    "stt": (STT(slots=3, width=8, heads=2, hidden=8), 7, 4),
    "ssltm": (SSLTM(width=8, heads=2, hidden=8, context_width=4, classes=3), 7, 4),
    "arseg, warp": (ARSeg(period=3, window=3), 7, 4),
    "arseg, offset": (ARSeg(period=3, window=3, motion="offset"), 7, 4),
}
each_method = pytest.mark.parametrize(("plan", "until", "kinds"), CASES.values(), ids=CASES)


def mixed(t: TensorSpec, number: int, shape: tuple[int, ...], inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
    """An output of a stage: depends on every number of every input, and on its own number among the outputs."""
    if t.name in ("there", "absent"):
        return np.array([t.name == "there"], np.float32)
    total = np.full(int(np.prod(shape)), 0.37 * (number + 1))
    for place, (_, array) in enumerate(sorted(inputs.items())):
        flat = array.astype(np.float64).ravel()
        total += (place + 1) * (np.resize(flat, total.size) + np.sin(np.arange(flat.size) + number) @ flat)
    wave = np.sin(total).reshape(shape)
    return wave if t.dtype == "float32" else np.abs(wave) * (200 if t.dtype == "uint8" else 3)


class Mixing:
    """Runs such stages on the stand-in for the CUDA runtime."""

    name = "mixing"

    def __init__(self, plan: TemporalMethod) -> None:
        self.device = CudaDevice(host_cudart())
        self.specs: tuple[StageSpec, ...] = plan.stages(HOST)
        self.attend = DeviceAttention(self.device, HostKernel)
        self.empty, self.upload, self.download = self.device.empty, self.device.upload, self.device.download
        self.ran = 0
        self._outputs = {s.name: {t.name: self.empty(t.at(*SIZE), t.dtype) for t in s.outputs} for s in self.specs}

    def run(self, stage: str, /, **inputs: Any) -> Any:
        return self.run_into(stage, inputs, {})

    def run_into(self, stage: str, inputs: Any, into: Any) -> Any:
        (spec,) = (spec for spec in self.specs if spec.name == stage)
        spec.check_inputs(inputs)
        self.ran += 1
        outputs = {**self._outputs[stage], **into}
        views, room = (
            {name: at(array.address, array.shape, array.dtype.name) for name, array in arrays.items()}
            for arrays in (inputs, outputs)
        )

        def work() -> None:
            for number, t in enumerate(spec.outputs):
                room[t.name][...] = mixed(t, number, room[t.name].shape, views)

        STREAM.queue(work)
        return outputs


def memory_of(plan: TemporalMethod, runtime: Mixing) -> dict[str, MemoryBank]:
    return {spec.name: MemoryBank(spec, *SIZE, runtime.empty, spare=1) for spec in plan.banks(HOST)}


def inputs(plan: TemporalMethod, count: int) -> Iterator[StepInput]:
    """Pictures, and for a method with keyframes motion between them."""
    rng = np.random.default_rng(0)
    for frame in range(count):
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        if isinstance(plan, KeyframeMethod):
            stride = plan.motion_stride(HOST)
            motion = rng.standard_normal((SIZE[0] // stride, SIZE[1] // stride, 2)).astype(np.float32)
            yield StepInput(image, motion, frame % plan.period == 0)
        else:
            yield StepInput(image)


def held(memory: Mapping[str, MemoryBank], runtime: Mixing) -> list[Any]:
    return [(bank.ages, *(x.tolist() for x in bank.on_host(runtime.download).values())) for bank in memory.values()]


@each_method
def test_replays_give_what_direct_steps_give(plan: TemporalMethod, until: int, kinds: int) -> None:
    ours, other = Mixing(plan), Mixing(plan)
    memory, wanted_memory = memory_of(plan, ours), memory_of(plan, other)
    step, direct = GraphedStep(plan, memory, ours, ours.device), DirectStep(plan, wanted_memory, other)
    for frame, x in enumerate(inputs(plan, 150)):
        if frame == 90:
            for bank in (*memory.values(), *wanted_memory.values()):
                bank.clear()
        got, wanted = step(x), direct(x)
        np.testing.assert_array_equal(got.labels, wanted.labels)
        np.testing.assert_array_equal(got.confidence, wanted.confidence)
        assert held(memory, ours) == held(wanted_memory, other)
    assert step.graphs == kinds


@each_method
def test_few_graphs_suffice_and_come_soon(plan: TemporalMethod, until: int, kinds: int) -> None:
    runtime = Mixing(plan)
    step = GraphedStep(plan, memory_of(plan, runtime), runtime, runtime.device)
    for frame, x in enumerate(inputs(plan, 100)):
        step(x)
        if frame + 1 == until:
            assert step.graphs == kinds
            ran = runtime.ran
    assert runtime.ran == ran, "stages are told nothing more"


KEY = TensorSpec("key", "float32", ("H/8",))


def sparse_bank(count: int) -> tuple[SparseBank, MemoryBank, CudaDevice]:
    """Of one push in two, after `count` of them; the frames' numbers, from 1, are what is remembered."""
    device = CudaDevice(host_cudart())
    bank = MemoryBank(BankSpec("past", 3, (KEY,), every=2), *SIZE, device.empty)
    for frame in range(1, count + 1):
        bank.push(key=device.upload(np.full(2, frame, np.float32)))
    return SparseBank(bank, device), bank, device


def test_a_sparse_bank_shows_copies_at_one_address() -> None:
    sparse, bank, device = sparse_bank(3)
    sparse.bring()
    old, new = sparse.read().near(9, "key"), sparse.read().near(1, "key")
    assert [device.download(x)[0] for x in (old, new)] == [1, 3] and len(sparse.read()) == 2
    sparse.push(key=device.upload(np.full(2, 4, np.float32)))
    assert bank.ages == (3, 1, 0), "not kept yet"
    sparse.put(sparse.pushed)
    sparse.put({"key": device.upload(np.full(2, 5, np.float32))})
    assert bank.ages == (5, 3, 1)
    assert device.download(new)[0] == 3, "until the next step"
    sparse.bring()
    assert [device.download(x)[0] for x in (old, new)] == [1, 5] and not sparse.pushed
    assert sparse.read().near(1, "key").address == new.address != old.address


def test_a_step_that_pushes_nothing_ages_nothing() -> None:
    sparse, bank, _ = sparse_bank(2)
    sparse.bring()
    sparse.put(sparse.pushed)
    assert bank.ages == (2, 0, 0)
    sparse.clear()
    assert len(sparse.read()) == 0
    sparse.bring()
    with pytest.raises(StageError, match="memory is empty"):
        sparse.read().near(1, "key")


def test_a_sparse_bank_is_asked_for_nothing_that_depends_on_slots() -> None:
    with pytest.raises(StageError, match="a plan wants `len` and `near`, got `slot_of`"):
        sparse_bank(1)[0].read().slot_of(1)
