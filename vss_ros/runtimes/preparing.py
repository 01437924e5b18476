# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Labels from one runtime while another one, such as TensorRT's engines, is prepared in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from vss_ros.core.errors import VssError
from vss_ros.core.memory import Array
from vss_ros.core.method import Outputs, Runtime, StepInput, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.step import Memory, Stepped, Stepper, spare_slots_of, stepper_of

log = logging.getLogger(__name__)

_MOST_SIZES = 8  # a camera that sends ever new sizes must not fill the GPU
_MOST_FAILURES = 3  # of frames in a row


@dataclass(frozen=True)
class Step:
    """A part of the preparation that begins now.

    Attributes:
        what: such as `engine of fuse`.
        number: of this part, from 1.
        of: number of parts.
        left_s: how long this and all later parts took when they were done before, seconds; None = not known.
    """

    what: str
    number: int
    of: int
    left_s: float | None = None


@dataclass(frozen=True)
class Prepared:
    """A runtime that is ready for one size of picture, and what there is to say of it."""

    runtime: Runtime
    says: str


Observe = Callable[[Step], None]
Prepare = Callable[[Size, Observe], Prepared]


class Engines(Protocol):
    """Gives the runtime of each size of picture; `name` is that of the wanted one, for messages."""

    @property
    def name(self) -> str: ...

    def at(self, size: Size) -> Runtime: ...

    def states(self) -> dict[str, str]: ...


class Awaited:
    """Prepares each size when it is asked for the first time, while who asks waits.

    Args:
        prepare: gives the runtime of a size; may take minutes and raise.
        name: of the runtime.
    """

    def __init__(self, prepare: Prepare, name: str) -> None:
        self.name = name
        self._prepare = prepare
        self._ready: dict[Size, Prepared] = {}

    def at(self, size: Size) -> Runtime:
        """The runtime for pictures of `(height, width)` px.

        Raises:
            VssError: it cannot be prepared.
        """
        if size not in self._ready:
            self._ready[size] = self._prepare(size, lambda step: None)
        return self._ready[size].runtime

    def states(self) -> dict[str, str]:
        """What there is to say of each size; the keys are such as `tensorrt 640x360`."""
        return {_key(self.name, size): f"in use: {prepared.says}" for size, prepared in self._ready.items()}


class Preparing:
    """Gives streams a fallback until the wanted runtime is ready for their size of picture.

    A size is prepared when it is asked for the first time, one after the other. What cannot be prepared, or fails three
    frames in a row later, is left aside for good; the fallback goes on then.

    Args:
        fallback: ready for pictures of any size.
        prepare: gives the runtime of a size; may take minutes and raise. Called in another thread.
        name: of the wanted runtime, for messages.
        clock: seconds that never jump.
    """

    def __init__(
        self, fallback: Runtime, prepare: Prepare, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._fallback, self._prepare, self._clock = fallback, prepare, clock
        self._works: dict[Size, _Work] = {}
        self._lock = threading.Lock()  # guards the works
        self._turn = threading.Lock()  # builds time kernels on the GPU: two at once would disturb each other

    def at(self, size: Size) -> Runtime:
        """The runtime to take for a picture of `(height, width)` px; returns at once."""
        with self._lock:
            work = self._works.get(size)
            if work is None and len(self._works) < _MOST_SIZES:
                work = self._works[size] = _Work()
                threading.Thread(target=self._do, args=(size, work), name="prepare", daemon=True).start()
            return self._fallback if work is None or work.runtime is None else work.runtime

    def states(self) -> dict[str, str]:
        """How far each size is, for people; the keys are as those of `Awaited`."""
        with self._lock:
            now_s = self._clock()
            return {_key(self.name, size): work.says(now_s) for size, work in self._works.items()}

    def _do(self, size: Size, work: _Work) -> None:
        where = f"{self.name} for pictures of {size[1]}x{size[0]} px"
        with self._turn:
            began_s = self._clock()
            log.info("labels come from %s while %s is prepared", self._fallback.name, where)
            try:
                prepared = self._prepare(size, lambda step: self._begin(work, step, began_s))
            except Exception as error:  # whatever it was: labels go on
                trace = None if isinstance(error, VssError) else error
                text = str(error) or type(error).__name__
                log.error("labels stay with %s: %s: %s", self._fallback.name, where, text, exc_info=trace)
                with self._lock:
                    work.step, work.verdict = None, f"not in use: {text}"
                return
            with self._lock:
                work.runtime = _Watched(prepared.runtime, lambda error: self._give_up(where, work, error))
                work.step, work.verdict = None, f"in use: {prepared.says}"
            log.info("labels come from %s after %.0f s: %s", where, self._clock() - began_s, prepared.says)

    def _begin(self, work: _Work, step: Step, began_s: float) -> None:
        with self._lock:
            work.step, work.began_s, work.step_began_s = step, began_s, self._clock()

    def _give_up(self, where: str, work: _Work, error: Exception) -> None:
        text = str(error) or type(error).__name__
        log.error(
            "labels come from %s again: %s failed %d frames: %s", self._fallback.name, where, _MOST_FAILURES, text
        )
        with self._lock:
            work.runtime, work.verdict = None, f"not in use after {_MOST_FAILURES} failures in a row: {text}"


def _key(name: str, size: Size) -> str:
    return f"{name} {size[1]}x{size[0]}"


@dataclass
class _Work:
    """The preparation of one size."""

    runtime: Runtime | None = None  # when it is ready
    step: Step | None = None  # while it is in work
    began_s: float = 0.0
    step_began_s: float = 0.0
    verdict: str = "waits"  # before and after

    def says(self, now_s: float) -> str:
        if self.step is None:
            return self.verdict
        step, spent_s = self.step, now_s - self.began_s
        left = "how long it takes is not known"
        if step.left_s is not None:
            left_s = step.left_s - (now_s - self.step_began_s)
            left = f"about {left_s:.0f} s left" if left_s > 0 else "longer than the last time"
        return f"in work: {step.what} ({step.number} of {step.of}), {spent_s:.0f} s so far, {left}"


class _Watched:
    """A runtime that is given up when frames fail one after the other; runs steps as the runtime in it does."""

    def __init__(self, runtime: Runtime, give_up: Callable[[Exception], None]) -> None:
        self.name = runtime.name
        self._runtime, self._give_up = runtime, give_up
        self._failures = 0

    @property
    def spare_slots(self) -> int:
        return spare_slots_of(self._runtime)

    def stepper(self, plan: TemporalMethod, memory: Memory) -> Stepper:
        step = stepper_of(self._runtime, plan, memory)

        def watched(x: StepInput) -> Stepped:
            stepped: Stepped = self._watch(step, x)
            self._failures = 0  # the frame has come through
            return stepped

        return watched

    def run(self, stage: str, /, **inputs: Array) -> Outputs:
        outputs: Outputs = self._watch(self._runtime.run, stage, **inputs)
        return outputs

    def attend(self, *arguments: Any, **options: Any) -> Array:
        return self._watch(self._runtime.attend, *arguments, **options)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self._watch(self._runtime.empty, shape, dtype)

    def upload(self, array: npt.NDArray[Any]) -> Array:
        return self._watch(self._runtime.upload, array)

    def download(self, array: Array) -> npt.NDArray[Any]:
        host: npt.NDArray[Any] = self._watch(self._runtime.download, array)
        return host

    def _watch(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except Exception as error:
            self._failures += 1  # a frame ends at its first failure
            if self._failures == _MOST_FAILURES:
                self._give_up(error)
            raise
