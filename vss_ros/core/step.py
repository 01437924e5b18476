# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One step of a plan on one memory: a picture of the host goes in, labels on the host come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from vss_ros.core.frame import UInt8Array
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Outputs, Runtime, StepInput, TemporalMethod

Memory = Mapping[str, MemoryBank]


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step gives.

    Attributes:
        labels: `(H, W)` uint8, overwritten by the next step.
        confidence: the same.
        seconds: spent in each part, where the parts are timed.
    """

    labels: UInt8Array
    confidence: UInt8Array
    seconds: Mapping[str, float]


class Stepper(Protocol):
    """Runs the steps of one plan on one memory; image and motion of its input are on the host."""

    def __call__(self, x: StepInput) -> Stepped: ...


@runtime_checkable
class RuntimeWithSteps(Runtime, Protocol):
    """A runtime that runs whole steps in a way of its own.

    Attributes:
        spare_slots: further slots that it wants in each bank, see `MemoryBank`.
    """

    @property
    def spare_slots(self) -> int: ...

    def stepper(self, plan: TemporalMethod, memory: Memory) -> Stepper: ...


class DirectStep:
    """Stage by stage, each timed; `attend` is the read of the memory."""

    def __init__(self, plan: TemporalMethod, memory: Memory, runtime: Runtime) -> None:
        self._plan, self._memory, self._runtime = plan, memory, runtime

    def __call__(self, x: StepInput) -> Stepped:
        clock = _Clock(self._runtime)
        upload = self._runtime.upload
        there = replace(x, image=upload(x.image), motion=None if x.motion is None else upload(x.motion))
        outputs = self._plan.step(there, self._memory, clock.run, clock.attend)
        labels, confidence = (self._runtime.download(outputs[name]) for name in ("labels", "confidence"))
        return Stepped(labels, confidence, clock.seconds)


def stepper_of(runtime: Runtime, plan: TemporalMethod, memory: Memory) -> Stepper:
    """The runtime's own way to run steps, or the direct one."""
    if isinstance(runtime, RuntimeWithSteps):
        return runtime.stepper(plan, memory)
    return DirectStep(plan, memory, runtime)


def spare_slots_of(runtime: Runtime) -> int:
    """Further slots that a runtime wants in each bank."""
    return runtime.spare_slots if isinstance(runtime, RuntimeWithSteps) else 0


class _Clock:
    """A runtime whose calls are timed by stage."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.seconds: dict[str, float] = {}

    def run(self, stage: str, /, **inputs: Any) -> Outputs:
        started = perf_counter()
        outputs = self._runtime.run(stage, **inputs)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - started
        return outputs

    def attend(self, *args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        seen = self._runtime.attend(*args, **kwargs)
        self.seconds["attend"] = self.seconds.get("attend", 0.0) + perf_counter() - started
        return seen
