# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stream lives on a fallback while another runtime is prepared; the other one is a stand-in that fails on command."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from test.conftest import PATIENCE_S, until
from test.core.fakes import HOST, FakeRuntime, Summing
from vss_ros.core.errors import BackendError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.prepare import Size
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.resize import resize
from vss_ros.runtimes.preparing import Observe, Prepared, Preparing, Step

SIZE = (16, 24)


class Engines(FakeRuntime):
    """Fails in the call that is named in `fails`."""

    name = "engines"
    fails = ""

    def run(self, stage: str, /, **inputs: Any) -> dict[str, Any]:
        self._answer("run")
        return super().run(stage, **inputs)

    def upload(self, array: np.ndarray) -> np.ndarray:
        self._answer("upload")
        return array.copy()

    def download(self, array: np.ndarray) -> np.ndarray:
        self._answer("download")
        return array.copy()

    def _answer(self, call: str) -> None:
        if call in self.fails.split():
            raise BackendError(f"the GPU fell over in {call}")


class Builder:
    """Prepares when it is let; `error` is raised then."""

    def __init__(self) -> None:
        self.go, self.began = threading.Event(), threading.Semaphore(0)
        self.error: Exception | None = None
        self.steps: list[Step] = [Step("engine of encode", 1, 2, 30.0)]
        self.engines = Engines()
        self.sizes: list[Size] = []

    def __call__(self, size: Size, observe: Observe) -> Prepared:
        self.sizes.append(size)
        for step in self.steps:
            observe(step)
        self.began.release()
        assert self.go.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return Prepared(self.engines, "fp16, as good as can be")


class Bench:
    """A stream on a `Preparing`, fed with one red value a frame."""

    def __init__(self, now_s: list[float]) -> None:
        self.builder, self.fallback = Builder(), FakeRuntime()
        self.preparing = Preparing(self.fallback, self.builder, "engines", clock=lambda: now_s[0])
        self.stamp_ms = 0
        self.stream = self.new_stream()

    def new_stream(self) -> StreamSegmenter:
        options, at = StreamOptions(SIZE), self.preparing.at
        return StreamSegmenter(Summing(2), HOST, self.fallback, options, resize=resize, runtime_at=at)

    def segment(self, *values: int, size: Size = SIZE) -> list[Segmentation]:
        results = []
        for value in values:
            self.stamp_ms += 100
            results.append(self.stream(Frame(self.stamp_ms * 1_000_000, np.full((*size, 3), value, np.uint8))))
        return results

    def sums(self, *values: int) -> list[int]:
        return [int(result.labels[0, 0]) for result in self.segment(*values)]

    def ready(self) -> None:
        self.builder.go.set()
        until(lambda: self.said().startswith(("in use", "not in use")))

    def said(self, size: Size = SIZE) -> str:
        return self.preparing.states()[f"engines {size[1]}x{size[0]}"]


@pytest.fixture
def now_s() -> list[float]:
    return [100.0]


@pytest.fixture
def bench(now_s: list[float]) -> Iterator[Bench]:
    made = Bench(now_s)
    yield made
    made.builder.go.set()


def test_memory_and_frames_outlive_the_change(bench: Bench) -> None:
    assert bench.sums(1, 2, 3) == [1, 1 + 2, 1 + 2 + 3] and bench.stream.backend == "fake"
    bench.ready()
    assert bench.stream.backend == "fake", "a frame decides, not the thread"
    results = bench.segment(4, 5, 6)
    assert [int(r.labels[0, 0]) for r in results] == [2 + 3 + 4, 3 + 4 + 5, 4 + 5 + 6]
    assert bench.stream.backend == "engines"
    assert [r.remembered for r in results] == [2, 2, 2] and bench.stream.resets == {}


def test_a_half_filled_memory_stays_half_filled(bench: Bench) -> None:
    bench.segment(1)
    bench.ready()
    (result,) = bench.segment(2)
    assert (result.remembered, int(result.labels[0, 0])) == (1, 1 + 2)


def test_the_fallbacks_memory_is_not_written_to_any_more(bench: Bench) -> None:
    bench.segment(1, 2)
    ring = bench.stream._memory["past"].read()["red"]
    before = ring.copy()
    bench.ready()
    bench.segment(7, 8)
    np.testing.assert_array_equal(ring, before)


def test_frames_come_out_while_it_builds(bench: Bench) -> None:
    bench.segment(1)
    assert bench.builder.began.acquire(timeout=PATIENCE_S)
    assert bench.sums(2, 3, 4) == [1 + 2, 1 + 2 + 3, 2 + 3 + 4]
    assert bench.builder.sizes == [SIZE], "asked for once"


def test_a_failed_build_is_said_once_and_labels_go_on(bench: Bench, logged: list[logging.LogRecord]) -> None:
    bench.builder.error = BackendError("TensorRT does not take the file")
    bench.segment(1)
    bench.ready()
    assert bench.sums(2, 3) == [1 + 2, 1 + 2 + 3] and bench.stream.backend == "fake"
    assert bench.said() == "not in use: TensorRT does not take the file"
    errors = [r for r in logged if r.levelno == logging.ERROR]
    assert [r.getMessage() for r in errors] == [
        "labels stay with fake: engines for pictures of 24x16 px: TensorRT does not take the file"
    ]
    assert errors[0].exc_info is None and bench.builder.sizes == [SIZE], "not tried again"


def test_a_fault_of_the_package_comes_with_its_trace(bench: Bench, logged: list[logging.LogRecord]) -> None:
    bench.builder.error = KeyError("seen")
    bench.segment(1)
    bench.ready()
    assert [r.exc_info is not None for r in logged if r.levelno == logging.ERROR] == [True]


def test_after_three_failures_in_a_row_the_fallback_takes_over(bench: Bench, logged: list[logging.LogRecord]) -> None:
    bench.segment(1, 2)
    bench.ready()
    bench.segment(3)
    for _ in range(2):  # two, a good one, two: nothing to act on
        bench.builder.engines.fails = "run"
        for _ in range(2):
            with pytest.raises(BackendError, match="fell over in run"):
                bench.segment(9)
        bench.builder.engines.fails = ""
        assert bench.sums(4)[0] > 0 and bench.stream.backend == "engines"
    bench.builder.engines.fails = "run"
    for _ in range(3):
        with pytest.raises(BackendError):
            bench.segment(9)
    (result,) = bench.segment(5)
    assert bench.stream.backend == "fake" and result.remembered == 2, "the memory could be read, and came along"
    assert bench.said() == "not in use after 3 failures in a row: the GPU fell over in run"
    assert len([r for r in logged if r.levelno == logging.ERROR]) == 1


def test_a_memory_that_cannot_be_read_any_more_is_forgotten_with_a_reason(bench: Bench) -> None:
    bench.segment(1, 2)
    bench.ready()
    bench.segment(3)
    bench.builder.engines.fails = "run download"
    for _ in range(3):
        with pytest.raises(BackendError):
            bench.segment(9)
    first, second = bench.segment(5, 6)
    assert (first.reset, first.remembered, int(first.labels[0, 0])) == ("backend failed", 0, 5)
    assert (second.reset, int(second.labels[0, 0])) == (None, 5 + 6) and bench.stream.backend == "fake"


def test_engines_that_do_not_take_the_memory_leave_it_with_the_fallback(bench: Bench) -> None:
    bench.segment(1, 2)
    bench.ready()
    bench.builder.engines.fails = "upload"
    for _ in range(3):
        with pytest.raises(BackendError, match="fell over in upload"):
            bench.segment(9)
        assert bench.stream.backend == "fake"
    assert bench.sums(3) == [1 + 2 + 3] and bench.stream.resets == {}


def test_each_camera_changes_with_its_own_memory(bench: Bench) -> None:
    other = bench.new_stream()
    bench.segment(1, 2)
    other(Frame(0, np.full((*SIZE, 3), 50, np.uint8)))
    bench.ready()
    assert bench.sums(3) == [1 + 2 + 3] and other.backend == "fake"
    result = other(Frame(1, np.full((*SIZE, 3), 60, np.uint8)))
    assert int(result.labels[0, 0]) == 110 and other.backend == "engines"
    assert bench.sums(4) == [2 + 3 + 4] and bench.builder.sizes == [SIZE], "one runtime serves both"


def test_sizes_are_prepared_one_after_the_other(bench: Bench) -> None:
    wide = (16, 32)
    bench.preparing.at(SIZE)
    assert bench.builder.began.acquire(timeout=PATIENCE_S)
    bench.preparing.at(wide)
    assert bench.said(wide) == "waits" and bench.builder.sizes == [SIZE]
    bench.builder.go.set()
    until(lambda: bench.said(wide).startswith("in use"))
    assert bench.builder.sizes == [SIZE, wide]


def test_a_change_of_size_starts_with_an_empty_memory_as_ever(bench: Bench) -> None:
    bench.segment(1)
    bench.ready()
    bench.segment(2)
    (result,) = bench.segment(3, size=(32, 24))
    assert (result.reset, int(result.labels[0, 0])) == ("size changed", 3)


def test_ever_new_sizes_do_not_fill_the_gpu(bench: Bench) -> None:
    bench.builder.go.set()
    for width in range(8, 30):
        bench.preparing.at((16, 8 * width))
    assert len(bench.preparing.states()) == 8
    assert bench.preparing.at((16, 8 * 29)) is bench.fallback


def test_progress_says_how_long_it_may_take(bench: Bench, now_s: list[float]) -> None:
    bench.preparing.at(SIZE)
    assert bench.builder.began.acquire(timeout=PATIENCE_S)
    now_s[0] += 12.4
    assert bench.said() == "in work: engine of encode (1 of 2), 12 s so far, about 18 s left"
    now_s[0] += 30
    assert bench.said() == "in work: engine of encode (1 of 2), 42 s so far, longer than the last time"
    bench.ready()
    assert bench.said() == "in use: fp16, as good as can be"


def test_progress_of_what_was_never_built(bench: Bench) -> None:
    bench.builder.steps = [Step("engine of encode", 1, 2), Step("engine of decode", 2, 2)]
    bench.preparing.at(SIZE)
    assert bench.builder.began.acquire(timeout=PATIENCE_S)
    assert bench.said() == "in work: engine of decode (2 of 2), 0 s so far, how long it takes is not known"
