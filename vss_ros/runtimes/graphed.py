# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whole steps as CUDA graphs: one for each place of the ring, queued at once. NOT YET RUN ON A GPU.

A graph reads and writes the addresses that it was recorded with, so each place of the ring wants a graph of its own.
Banks that keep one push in several are read and written beside the graphs, see `sparse_bank.py`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vss_ros.core.memory import Array, Bank, MemoryBank
from vss_ros.core.method import Attend, Outputs, StepInput, TemporalMethod
from vss_ros.core.stage import StageSpec
from vss_ros.core.step import Memory, Stepped
from vss_ros.runtimes.sparse_bank import SparseBank
from vss_ros.runtimes.tensorrt.device import Device

log = logging.getLogger(__name__)

_RESULTS = ("labels", "confidence")
_INPUTS = ("image", "motion")
_MOST_GRAPHS = 64  # of a stream; each takes memory of the GPU

State = tuple[Any, ...]
Pushed = Mapping[str, Mapping[str, Array]]  # tensors by name of the bank


class Engines(Protocol):
    """What of a runtime a `GraphedStep` needs."""

    @property
    def attend(self) -> Attend: ...

    @property
    def specs(self) -> Sequence[StageSpec]: ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    def run_into(self, stage: str, inputs: Mapping[str, Array], into: Mapping[str, Array]) -> Outputs:
        """One stage, its outputs written to the arrays of `into` where it has some."""
        ...


@dataclass(frozen=True)
class _Graph:
    """A recorded step.

    Attributes:
        replay: queues it.
        outputs: where it leaves its results.
        pushed: where it leaves what sparse banks are to keep.
        after: ages of the other banks when it is done.
    """

    replay: Callable[[], None]
    outputs: Outputs
    pushed: Pushed
    after: State


class GraphedStep:
    """`core.step.Stepper` that replays recorded steps.

    A plan's step depends on what the banks hold only through their ages, so of a FIFO ring there are as many different
    steps as places, once it is full; with keyframes, for each kind of frame. Each is run directly when it comes up
    first, which also makes the engines ready for it, and recorded then. Where that fails all steps are run directly,
    which is said once. What is in a sparse bank makes no difference, once something is.

    Args:
        plan: the method.
        memory: its banks, on the device.
        runtime: runs the stages.
        device: of the arrays.
        records: False runs all steps directly.
    """

    def __init__(
        self, plan: TemporalMethod, memory: Memory, runtime: Engines, device: Device, *, records: bool = True
    ) -> None:
        self._plan, self._runtime, self._device = plan, runtime, device
        self._sparse = {name: SparseBank(bank, device) for name, bank in memory.items() if bank.spec.every > 1}
        self._rings = [bank for name, bank in memory.items() if name not in self._sparse]
        self._seen: Mapping[str, Bank] = {**memory, **self._sparse}  # by the plan
        self._written = {spec.name: self._remembered(spec) for spec in runtime.specs}
        self._graphs: dict[State, _Graph] = {}
        self._records = records
        self._sent: dict[str, tuple[Any, Array]] = {}  # inputs by name: pinned memory, array on the device
        self._results: dict[str, Any] = {}  # pinned memory by name

    def __call__(self, x: StepInput) -> Stepped:
        self.begin(x)
        return self.finish()

    @property
    def graphs(self) -> int:
        """Number of recorded steps."""
        return len(self._graphs)

    def begin(self, x: StepInput) -> None:
        """Queue a step; nothing waits for the device, so that several cameras' steps can overlap."""
        there = replace(x, **{name: self._send(name, getattr(x, name)) for name in _INPUTS})
        state: State = (x.is_key, x.motion is None, *self._ages())
        is_settled = self._is_settled()
        for bank in self._sparse.values():
            bank.bring()
        known = self._graphs.get(state) if is_settled else None
        if known is None:
            outputs, pushed = self._step(there)
        else:
            known.replay()
            self._set_ages(known.after)
            outputs, pushed = known.outputs, known.pushed
        for name, bank in self._sparse.items():
            bank.put(pushed[name])
        self._fetch(outputs)
        if known is None and is_settled and self._records and len(self._graphs) < _MOST_GRAPHS:
            self._record(there, state)

    def finish(self) -> Stepped:
        """The results of the step that was begun, when they are there."""
        self._device.wait()
        return Stepped(self._results["labels"], self._results["confidence"], {})

    def _step(self, x: StepInput) -> tuple[Outputs, Pushed]:
        outputs = self._plan.step(x, self._seen, self._run, self._runtime.attend)
        return outputs, {name: bank.pushed for name, bank in self._sparse.items()}

    def _record(self, x: StepInput, state: State) -> None:
        after, outputs, pushed = self._ages(), dict[str, Array](), dict[str, Mapping[str, Array]]()

        def step() -> None:
            made = self._step(x)
            outputs.update(made[0])
            pushed.update(made[1])

        self._set_ages(state[2:])
        try:
            replay = self._device.record(step)
        except Exception as error:  # torch, CUDA and TensorRT have no class of errors in common
            self._records = False
            log.warning("steps run without CUDA graphs, which is slower: %s", error)
        else:
            self._graphs[state] = _Graph(replay, outputs, pushed, after)
        finally:
            self._set_ages(after)

    def _run(self, stage: str, /, **inputs: Array) -> Outputs:
        free = {name: bank.next_slot()[name] for name, bank in self._written[stage].items() if bank.next_slot()}
        return self._runtime.run_into(stage, inputs, free)

    def _remembered(self, spec: StageSpec) -> dict[str, MemoryBank]:
        """Banks whose next slot an output of this stage can be written to at once, by the output's name.

        Where two stages give what is remembered, the plan says which of them it is only afterwards.
        """
        given = Counter(t for stage in self._runtime.specs for t in stage.outputs)
        rings = self._rings
        return {t.name: bank for t in spec.outputs for bank in rings if t in bank.spec.tensors and given[t] == 1}

    def _is_settled(self) -> bool:
        """Whether steps repeat from now on: rings are full, and sparse banks hold something."""
        return all(ring.is_full for ring in self._rings) and all(len(bank.read()) for bank in self._sparse.values())

    def _ages(self) -> State:
        return tuple(bank.ages for bank in self._rings)

    def _set_ages(self, state: State) -> None:
        for bank, ages in zip(self._rings, state, strict=True):
            bank.ages = ages

    def _send(self, name: str, host: Any) -> Array:
        if host is None:
            return None
        if name not in self._sent:
            made = self._runtime.empty(tuple(host.shape), host.dtype.name)
            self._sent[name] = self._device.pinned(tuple(host.shape), self._device.dtype(made)), made
        pinned, there = self._sent[name]
        pinned[...] = host
        self._device.send(pinned, there)
        return there

    def _fetch(self, outputs: Outputs) -> None:
        for name in _RESULTS:
            if name not in self._results:
                self._results[name] = self._device.pinned(tuple(outputs[name].shape), "uint8")
            self._device.fetch(outputs[name], self._results[name])
