# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Steps run by the runtime's own way or directly, and a stream that goes from one to the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from test.core.fakes import HOST, FakeRuntime, Summing
from vss_ros.core.frame import Frame
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import StepInput
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.step import DirectStep, Stepped, spare_slots_of, stepper_of

SIZE = (16, 24)


class Whole(FakeRuntime):
    """Runs steps itself, and wants a spare slot."""

    name = "whole"
    spare_slots = 1

    def __init__(self) -> None:
        super().__init__()
        self.steppers = 0

    def stepper(self, plan: Any, memory: Any) -> Any:
        self.steppers += 1
        direct = DirectStep(plan, memory, self)

        def step(x: StepInput) -> Stepped:
            stepped = direct(x)
            return Stepped(stepped.labels, stepped.confidence, {"whole": 1.5})

        return step


def memory_of(plan: Summing, spare: int = 0) -> dict[str, MemoryBank]:
    return {spec.name: MemoryBank(spec, *SIZE, np.zeros, spare=spare) for spec in plan.banks(HOST)}


def red(value: int) -> np.ndarray:
    return np.full((*SIZE, 3), value, np.uint8)


def test_a_direct_step_times_each_stage() -> None:
    plan = Summing(2)
    step = DirectStep(plan, memory_of(plan), FakeRuntime())
    sums = [step(StepInput(red(value))) for value in (1, 2)]
    assert [int(s.labels[0, 0]) for s in sums] == [1, 3]
    assert set(sums[0].seconds) == {"encode", "decode"} and set(sums[1].seconds) == {"encode", "attend", "decode"}
    assert min(sums[1].seconds.values()) >= 0


def test_motion_is_taken_to_the_runtime_too() -> None:
    seen: list[Any] = []

    class Looking(Summing):
        def step(self, x: Any, *more: Any) -> Any:
            seen.append(x)
            return super().step(x, *more)

    class Far(FakeRuntime):
        def upload(self, array: np.ndarray) -> np.ndarray:
            return array + 1

    plan = Looking(1)
    step = DirectStep(plan, memory_of(plan), Far())
    step(StepInput(red(3)))
    step(StepInput(red(3), np.zeros((2, 3, 2), np.float32), False))
    assert (seen[0].image == 4).all() and seen[0].motion is None and seen[0].is_key
    assert (seen[1].motion == 1).all() and not seen[1].is_key


def test_a_runtime_may_have_steps_of_its_own() -> None:
    plan, runtime = Summing(2), Whole()
    assert isinstance(stepper_of(FakeRuntime(), plan, memory_of(plan)), DirectStep)
    assert spare_slots_of(FakeRuntime()) == 0 and spare_slots_of(runtime) == 1
    step = stepper_of(runtime, plan, memory_of(plan, 1))
    assert step(StepInput(red(5))).seconds == {"whole": 1.5} and runtime.steppers == 1


def test_a_stream_keeps_its_stepper_until_plan_runtime_or_size_change() -> None:
    whole, plain = Whole(), FakeRuntime()
    now: list[Any] = [plain]
    stream = StreamSegmenter(Summing(2), HOST, plain, StreamOptions(SIZE), runtime_at=lambda size: now[0])
    stamps = iter(range(0, 10**10, 10**8))

    def feed(value: int, size: tuple[int, int] = SIZE) -> Any:
        return stream(Frame(next(stamps), np.full((*size, 3), value, np.uint8)))

    assert [int(feed(value).labels[0, 0]) for value in (1, 2, 4)] == [1, 3, 7]
    now[0] = whole
    results = [feed(value) for value in (8, 16, 32)]
    assert [int(r.labels[0, 0]) for r in results] == [14, 28, 56], "the memory went along, and forgets as before"
    assert results[0].times_ms["whole"] == 1500.0 and whole.steppers == 1
    assert len(stream._memory["past"].ages) == 3
    stream.adopt(Summing(1))
    assert int(feed(5).labels[0, 0]) == 5 and whole.steppers == 2
    now[0] = plain
    assert int(feed(6).labels[0, 0]) == 11 and len(stream._memory["past"].ages) == 1
