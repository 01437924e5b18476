# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node without middleware, on fake messages and a fake model whose speed the tests decide."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.conftest import PATIENCE_S, until
from vss_ros.core.errors import ConfigError, VssError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.segmenter import StreamOptions
from vss_ros.ros.app import SegmentApp, warm_up

OPTIONS = StreamOptions(model_size=(16, 16))


class FakeStream:
    """Answers at once, or waits in `hold`; raises what the picture's first red value asks for."""

    backend = "fake"

    def __init__(self, model: FakeModel) -> None:
        self.options, self.resets, self.memory_bytes = OPTIONS, Counter[str](), 1000
        self.keyframes = Counter[str]()
        self._model, self._pending = model, None

    def reset(self, reason: str = "request") -> None:
        self._pending = reason

    def adopt(self, plan: Any) -> None:
        self.plan = plan

    def __call__(self, frame: Frame) -> Segmentation:
        self._model.entered.release()
        assert self._model.hold.wait(PATIENCE_S)
        reason, self._pending = self._pending, None
        if reason is not None:
            self.resets[reason] += 1
        if frame.image[0, 0, 0] == 66:
            raise RuntimeError("engine fell over")
        labels = np.full(frame.size, frame.image[0, 0, 0], np.uint8)
        return Segmentation(
            frame.stamp_ns, labels, labels, frame.stream, frame.frame_id, {"total": 1.0}, reset=reason, remembered=3
        )


class FakeModel:
    def __init__(self) -> None:
        self.options, self.plan = OPTIONS, "plan"
        self.hold, self.entered = threading.Event(), threading.Semaphore(0)
        self.hold.set()
        self.streams: list[FakeStream] = []

    def stream(self) -> FakeStream:
        self.streams.append(FakeStream(self))
        return self.streams[-1]


def picture(stamp_ns: int = 0, value: int = 1, encoding: str = "rgb8") -> Any:
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="cam_optical"
    )
    data = np.full((2, 4, 3), value, np.uint8).tobytes()
    return SimpleNamespace(header=header, height=2, width=4, encoding=encoding, is_bigendian=0, step=12, data=data)


class Bench:
    """An app with what it published."""

    def __init__(self, **options: Any) -> None:
        self.model, self.results = FakeModel(), list[Segmentation]()
        self.app = SegmentApp(self.model, lambda frame, result: self.results.append(result), **options)

    def drops(self, camera: int = 0) -> dict[str, int]:
        return {cause: count for cause, count in self.app.report()[camera].dropped.items() if count}

    def offer_and_wait(self, *messages: Any, camera: str = "camera") -> None:
        for message in messages:
            self.app.offer(camera, message)
            until(self.is_idle)

    def is_idle(self) -> bool:
        return all(r.received == r.published + sum(r.dropped.values()) for r in self.app.report())


@pytest.fixture
def bench():
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(**options))
        made[-1].app.start()
        return made[-1]

    yield make
    for b in made:
        b.model.hold.set()
        b.app.stop()


def test_a_picture_comes_out_with_stamp_frame_id_and_stream_untouched(bench):
    b = bench(cameras=["front"])
    b.offer_and_wait(picture(stamp_ns=1_700_000_000_123_456_789, value=7), camera="front")
    (result,) = b.results
    assert (result.stamp_ns, result.frame_id, result.stream) == (1_700_000_000_123_456_789, "cam_optical", "front")
    assert (result.labels == 7).all()


def test_the_newest_picture_wins_and_the_others_are_counted(bench):
    b = bench()
    b.model.hold.clear()
    b.app.offer("camera", picture(value=1))
    assert b.model.entered.acquire(timeout=PATIENCE_S)
    for value in (2, 3, 4, 5):
        b.app.offer("camera", picture(value=value))
    b.model.hold.set()
    until(b.is_idle)
    assert [int(r.labels[0, 0]) for r in b.results] == [1, 5]
    assert b.drops() == {"superseded": 3}


def test_cameras_take_turns_even_if_one_floods(bench):
    b = bench(cameras=["left", "right", "rear"])
    b.model.hold.clear()
    b.app.offer("left", picture())
    assert b.model.entered.acquire(timeout=PATIENCE_S)
    for _ in range(5):
        b.app.offer("left", picture())
    b.app.offer("right", picture())
    b.app.offer("rear", picture())
    b.model.hold.set()
    until(b.is_idle)
    assert [r.stream for r in b.results] == ["left", "right", "rear", "left"]


def test_each_camera_has_a_stream_of_its_own():
    b = Bench(cameras=["left", "right"])
    assert len(b.model.streams) == 2


def test_bad_pictures_leave_the_good_ones_around_them_alone(bench, logged):
    b = bench()
    cut_off = picture()
    cut_off.data = cut_off.data[:5]
    b.offer_and_wait(picture(value=1), picture(encoding="32FC7"), picture(value=2), cut_off, picture(value=3))
    b.offer_and_wait(*[picture(encoding="32FC7")] * 5, object(), picture(value=4))
    assert [int(r.labels[0, 0]) for r in b.results] == [1, 2, 3, 4]
    assert b.drops() == {"bad encoding": 7, "failed": 1}
    unsupported = [r.getMessage() for r in logged if "32FC7" in r.getMessage()]
    assert len(unsupported) == 1, "one line for each stream, not one for each frame"
    assert "bgr8" in unsupported[0], "the line says what is taken"


def test_a_fault_of_the_engine_is_logged_once_and_does_not_end_the_stream(bench, logged):
    b = bench()
    b.offer_and_wait(picture(value=66), picture(value=66), picture(value=2))
    assert [int(r.labels[0, 0]) for r in b.results] == [2]
    assert b.drops() == {"failed": 2}
    assert [r.exc_info is not None for r in logged if "engine fell over" in r.getMessage()] == [True]


def test_a_fault_of_the_publisher_is_counted_too():
    model, sent = FakeModel(), list[Segmentation]()

    def publish(frame: Frame, result: Segmentation) -> None:
        if not sent:
            sent.append(result)
            raise OSError("no route")
        sent.append(result)

    app = SegmentApp(model, publish)
    app.start()
    app.offer("camera", picture())
    until(lambda: app.report()[0].dropped["failed"] == 1)
    app.offer("camera", picture())
    until(lambda: app.report()[0].published == 1)
    assert app.stop()


def test_a_stream_of_ever_new_nonsense_does_not_fill_the_log(bench, logged):
    b = bench()
    b.offer_and_wait(*[picture(encoding=f"nonsense{i}") for i in range(100)])
    assert b.drops() == {"bad encoding": 100}
    assert len(logged) == 20


def test_old_pictures_are_dropped_once_their_turn_comes(bench, logged):
    b = bench(max_age_ms=100, now_ns=lambda: 10_000_000_000)
    b.offer_and_wait(picture(stamp_ns=9_950_000_000, value=1), picture(stamp_ns=9_800_000_000, value=2))
    b.offer_and_wait(picture(stamp_ns=9_800_000_000, value=2))
    assert [int(r.labels[0, 0]) for r in b.results] == [1]
    assert b.drops() == {"too old": 2}
    assert len([r for r in logged if "use_sim_time" in r.getMessage()]) == 1


def test_tune_takes_effect_with_the_next_frame(bench):
    b = bench(now_ns=lambda: 10_000_000_000)
    tuned = SimpleNamespace(options=replace(OPTIONS, confidence_min=0.5), plan="another plan")
    b.offer_and_wait(picture())
    b.app.tune(tuned, max_age_ms=1)
    b.offer_and_wait(picture())
    assert b.drops() == {"too old": 1}
    assert (b.model.streams[0].options, b.model.streams[0].plan) == (tuned.options, "another plan")


def test_a_plan_that_cannot_be_adopted_is_a_failed_frame_and_not_the_end(bench, logged):
    b = bench()
    b.app.tune(SimpleNamespace(options=OPTIONS), max_age_ms=0)  # without a plan
    b.offer_and_wait(picture(), picture())
    b.app.tune(b.model, max_age_ms=0)
    b.offer_and_wait(picture(value=5))
    assert b.drops() == {"failed": 2} and [int(r.labels[0, 0]) for r in b.results] == [5]


def test_pictures_before_start_and_after_stop_are_inactive():
    b = Bench()
    b.app.offer("camera", picture())
    b.app.start()
    b.offer_and_wait(picture())
    assert b.app.stop()
    b.app.offer("camera", picture())
    assert len(b.results) == 1
    assert b.drops() == {"inactive": 2}


def test_nothing_is_published_after_stop_returns(bench):
    b = bench()
    b.model.hold.clear()
    b.app.offer("camera", picture(value=1))
    assert b.model.entered.acquire(timeout=PATIENCE_S)
    b.app.offer("camera", picture(value=2))
    threading.Timer(0.1, b.model.hold.set).start()
    assert b.app.stop()
    assert b.results == []
    assert b.drops() == {"inactive": 2}


def test_a_frame_that_hangs_holds_up_neither_stop_nor_a_later_start(bench, monkeypatch):
    monkeypatch.setattr("vss_ros.ros.app._LONGEST_FRAME_S", 0.1)
    b = bench()
    b.model.hold.clear()
    b.app.offer("camera", picture(value=1))
    assert b.model.entered.acquire(timeout=PATIENCE_S)
    assert not b.app.stop()
    with pytest.raises(VssError, match="still in work"):
        b.app.start()
    b.model.hold.set()
    until(lambda: b.drops() == {"inactive": 1})
    until(lambda: b.app.stop())
    b.app.start()
    b.offer_and_wait(picture(value=2))
    assert [(int(r.labels[0, 0]), r.reset) for r in b.results] == [(2, "deactivate")]


def test_what_is_loaded_is_kept_from_the_collector_while_frames_come(bench):
    b = bench()
    assert gc.get_freeze_count() > 1000
    b.app.stop()
    assert gc.get_freeze_count() == 0


def test_stop_can_be_called_twice_and_from_the_start(bench):
    b = Bench()
    assert b.app.stop()
    b.app.start()
    b.app.start()
    assert b.app.stop() and b.app.stop()


def test_a_restart_forgets_the_past_and_says_so(bench):
    b = bench()
    b.offer_and_wait(picture())
    b.app.stop("deactivate")
    b.app.start()
    b.offer_and_wait(picture())
    assert [r.reset for r in b.results] == [None, "deactivate"]
    assert b.app.report()[0].resets == {"deactivate": 1}


def test_a_reset_reaches_every_camera_that_has_a_past(bench):
    b = bench(cameras=["left", "right"])
    b.offer_and_wait(picture(), camera="left")
    b.app.reset("topic")
    b.offer_and_wait(picture(), camera="left")
    b.offer_and_wait(picture(), camera="right")
    assert [(r.stream, r.reset) for r in b.results] == [("left", None), ("left", "topic"), ("right", None)]


def test_a_reset_during_a_frame_is_for_the_next_one(bench):
    b = bench()
    b.model.hold.clear()
    b.app.offer("camera", picture(value=1))
    assert b.model.entered.acquire(timeout=PATIENCE_S)
    b.app.reset("service")
    b.model.hold.set()
    until(b.is_idle)
    b.offer_and_wait(picture(value=2))
    assert [r.reset for r in b.results] == [None, "service"]


def test_the_report_adds_up(bench):
    b = bench()
    b.offer_and_wait(*[picture(stamp_ns=time.time_ns()) for _ in range(5)], picture(encoding="odd"))
    (report,) = b.app.report()
    assert (report.received, report.published, report.remembered, report.memory_bytes) == (6, 5, 3, 1000)
    assert report.backend == "fake"
    assert report.fps > 0
    for part in ("wait", "convert", "segment", "publish", "total", "age"):
        assert report.parts_ms[f"{part}_p50_ms"] <= report.parts_ms[f"{part}_p99_ms"]


def test_churn_is_the_share_of_labels_that_change_but_not_across_a_reset(bench):
    b = bench()
    b.offer_and_wait(*[picture(value=value) for value in (1, 1, 2, 2, 1)])
    assert b.app.report()[0].churn == 0.5, "two of four steps change every pixel"
    b.app.reset("topic")
    b.offer_and_wait(picture(value=3))
    assert b.app.report()[0].churn == 0.5, "a reset is no step"
    b.offer_and_wait(picture(value=3))
    assert b.app.report()[0].churn == pytest.approx(0.4)


def test_a_reset_can_be_of_one_camera(bench):
    b = bench(cameras=["left", "right"])
    for camera in ("left", "right"):
        b.offer_and_wait(picture(), camera=camera)
    b.app.reset("camera_info changed", only="left")
    for camera in ("left", "right"):
        b.offer_and_wait(picture(), camera=camera)
    assert [(r.stream, r.reset) for r in b.results[2:]] == [("left", "camera_info changed"), ("right", None)]


def test_the_picture_comes_with_its_labels(bench):
    seen: list[tuple[Frame, Segmentation]] = []
    app = SegmentApp(FakeModel(), lambda *pair: seen.append(pair))
    app.start()
    app.offer("camera", picture(stamp_ns=5, value=9))
    until(lambda: app.report()[0].published == 1)
    assert app.stop()
    ((frame, result),) = seen
    assert frame.stamp_ns == result.stamp_ns == 5 and (frame.image == 9).all()


def test_cameras_want_names_that_differ():
    with pytest.raises(ConfigError, match="different names"):
        Bench(cameras=["front", "front"])
    with pytest.raises(ConfigError, match="different names"):
        Bench(cameras=[])


def test_warm_up_runs_two_frames_on_a_stream_that_is_thrown_away():
    model = FakeModel()
    assert warm_up(model) == 1.0
    assert len(model.streams) == 1
    assert model.entered.acquire(blocking=False) and model.entered.acquire(blocking=False)
