# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Packets of a video through the app: all are decoded, the newest picture wins, and its motion is that of all."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.conftest import PATIENCE_S, random_model, until
from test.core.fakes import Summing
from test.data.moving import LIVE, encoded, moving
from test.data.test_packets import message, stamp
from vss_ros.assemble import load_model, load_settings
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.keyframes import KeyframeRules
from vss_ros.core.segmenter import StreamOptions
from vss_ros.ros.app import SegmentApp

PACKETS = encoded(moving(9, 8), g="6", **LIVE)


class Keyed(Summing):
    """A method with keyframes, as far as the app looks at it."""

    period = 12

    def motion_stride(self, host: Any) -> int:
        return 8


class Recorder:
    """A model and its only stream, which keeps the frames it is given and waits while `hold` is not set."""

    backend, memory_bytes = "fake", 0

    def __init__(self, plan: Any, codec: bool = True) -> None:
        self.options = StreamOptions(model_size=(16, 16), keyframes=KeyframeRules(codec=codec))
        self.plan, self.resets, self.frames = plan, Counter[str](), list[Frame]()
        self.keyframes = Counter[str]()
        self.hold = threading.Event()
        self.hold.set()

    def stream(self) -> Any:
        return self

    def reset(self, reason: str = "request") -> None:
        pass

    def adopt(self, plan: Any) -> None:
        pass

    def __call__(self, frame: Frame) -> Segmentation:
        self.frames.append(frame)
        assert self.hold.wait(PATIENCE_S)
        labels = np.zeros(frame.size, np.uint8)
        return Segmentation(frame.stamp_ns, labels, labels, frame.stream, frame.frame_id)


@pytest.fixture(scope="module")
def arseg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "arseg", "arseg", input_size=(48, 64))


@pytest.fixture
def started():
    apps: list[SegmentApp] = []

    def start(model: Any) -> SegmentApp:
        apps.append(SegmentApp(model, lambda frame, result: None))
        apps[-1].start()
        return apps[-1]

    yield start
    for app in apps:
        app.stop()


def is_idle(app: SegmentApp) -> bool:
    (report,) = app.report()
    return report.received == report.published + sum(report.dropped.values())


def offer(app: SegmentApp, *numbers: int, wait: bool = True) -> None:
    for number in numbers:
        app.offer("camera", message(PACKETS[number], number))
        if wait:
            until(lambda: is_idle(app))


def drops(app: SegmentApp) -> dict[str, int]:
    return {cause: count for cause, count in app.report()[0].dropped.items() if count}


def test_every_packet_is_a_frame_with_its_motion(started):
    model = Recorder(Keyed())
    offer(started(model), 0, 1, 2)
    assert [frame.stamp_ns for frame in model.frames] == [stamp(0), stamp(1), stamp(2)]
    assert {(frame.stream, frame.frame_id) for frame in model.frames} == {("camera", "cam0")}
    assert [frame.motion_since_ns for frame in model.frames] == [None, stamp(0), stamp(1)]
    assert np.nanmedian(model.frames[2].motion[..., 0]) == -8


@pytest.mark.parametrize("model", [Recorder(Summing()), Recorder(Keyed(), codec=False)])
def test_who_does_not_read_the_codecs_motion_has_none_found(started, model):
    offer(started(model), 0, 1)
    assert [frame.motion for frame in model.frames] == [None, None]


def test_superseded_pictures_are_decoded_and_their_motion_is_composed(started):
    model = Recorder(Keyed())
    app = started(model)
    model.hold.clear()
    offer(app, 0, wait=False)
    until(lambda: len(model.frames) == 1)
    offer(app, 1, 2, 3, wait=False)
    model.hold.set()
    until(lambda: is_idle(app))
    assert drops(app) == {"superseded": 2}
    _, last = model.frames
    assert (last.stamp_ns, last.motion_since_ns) == (stamp(3), stamp(0))
    assert np.nanmedian(last.motion[..., 0]) == -24


def test_packets_before_the_first_keyframe_are_counted_and_said_once(started, logged):
    model = Recorder(Keyed())
    app = started(model)
    offer(app, 2, 3, 4, 5, 6, 7)
    assert [frame.stamp_ns for frame in model.frames] == [stamp(6), stamp(7)]
    assert drops(app) == {"no keyframe": 4}
    assert ["a keyframe was wanted" in record.getMessage() for record in logged] == [True]


def test_damage_is_counted_and_the_stream_goes_on(started, logged):
    model = Recorder(Keyed())
    app = started(model)
    offer(app, 0)
    for data in (b"", np.random.default_rng(0).bytes(500)):
        app.offer("camera", message(data, 1))
    offer(app, 2, 6, 7)
    assert [frame.stamp_ns for frame in model.frames] == [stamp(i) for i in (0, 2, 6, 7)]
    assert model.frames[1].motion is None and model.frames[3].motion is not None
    assert drops(app) == {"bad encoding": 2}
    assert ["a whole packet of h264 was wanted" in record.getMessage() for record in logged] == [True]


@pytest.mark.parametrize(
    ("source", "keyframes"),
    [
        ("codec", {"first": 1, "motion unknown": 2, "codec": 1}),  # of a lost packet, until the codec begins anew
        ("auto", {"first": 1, "codec": 1}),  # optical flow stands in
    ],
)
def test_a_lost_packet_costs_ar_seg_keyframes_or_optical_flow(started, arseg_folder, source, keyframes):
    values = {"model.name": str(arseg_folder), "motion.source": source, "memory.scene_cut": 0.0}
    app = started(load_model(load_settings(values=values)))
    offer(app, 0, 1, 2, 4, 5, 6, 7)
    (report,) = app.report()
    assert report.keyframes == keyframes and report.published == 7 and not report.resets


def test_after_a_stop_it_waits_for_a_keyframe(started):
    model = Recorder(Keyed())
    app = started(model)
    offer(app, 0)
    app.stop()
    offer(app, 1)
    app.start()
    offer(app, 2, 6)
    assert [frame.stamp_ns for frame in model.frames] == [stamp(0), stamp(6)]
    assert drops(app) == {"inactive": 1, "no keyframe": 1}
