# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which frames become keyframes and why, and what the motion of the others leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from test.core.fakes import HOST, FakeRuntime
from vss_ros.core.frame import Frame, UInt8Array
from vss_ros.core.keyframes import KeyframeRules, Keyframes
from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, KeyframeMethod, Outputs, Run, StepInput
from vss_ros.core.motion import MotionField, MotionSource, ZeroMotion
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.stage import StageSpec, TensorSpec

SIZE, GRID = (16, 24), (2, 3)
RULES = KeyframeRules(within_s=0.0)
MS = 1_000_000
RED = TensorSpec("red", "uint8", ("H", "W"))


@dataclass(frozen=True)
class Adding:
    """Labels are the keyframe's red, plus the cells that things have moved since, plus 100 in a keyframe."""

    period: int = 3
    name = "adding"

    def motion_stride(self, host: Host) -> int:
        return 8

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        return (StageSpec("encode", (IMAGE,), (RED,)), StageSpec("decode", (RED,), (LABELS, CONFIDENCE)))

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return (BankSpec("key", 1, (RED,)),)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        red = run("encode", image=x.image)["red"]
        if x.is_key:
            memory["key"].push(red=red)
        key = memory["key"].read().newest("red")
        assert x.motion is not None and x.motion.shape == (*GRID, 2) and np.ptp(x.motion) == x.motion.max()
        return {**run("decode", red=red), "labels": key + np.uint8(x.motion[0, 0, 0]) + 100 * np.uint8(x.is_key)}


class Shifted:
    """Everything moved right by what the red channel says, in cells; a red of 99 was never seen before."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, before: UInt8Array, now: UInt8Array) -> MotionField:
        self.calls.append((int(before[0, 0, 0]), int(now[0, 0, 0])))
        field = np.zeros((4, 6, 2), np.float32)
        field[..., 0] = 8 * int(now[0, 0, 0])
        return MotionField(field, unmatched=1.0 if now[0, 0, 0] == 99 else 0.0)


def frame(value: int, stamp_ms: int, **more: Any) -> Frame:
    return Frame(stamp_ms * MS, np.full((*SIZE, 3), value, np.uint8), **more)


def moved_by(cells: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    field = np.zeros((2, 3, 2), np.float32)
    field[..., 0] = 8 * cells
    return field


def segmenter(source: MotionSource | None, rules: KeyframeRules = RULES, period: int = 3) -> StreamSegmenter:
    options = StreamOptions(SIZE, max_gap_s=0.5, keyframes=rules)
    return StreamSegmenter(Adding(period), HOST, FakeRuntime(), options, motion=source)


def labels(stream: StreamSegmenter, frames: list[Frame]) -> list[int]:
    return [int(stream(frame).labels[0, 0]) for frame in frames]


def test_the_fake_is_a_method_with_keyframes_and_others_are_not() -> None:
    from test.core.fakes import Summing

    assert isinstance(Adding(), KeyframeMethod) and not isinstance(Summing(), KeyframeMethod)


def test_a_period_is_a_keyframe_and_frames_whose_motion_adds_up() -> None:
    source = Shifted()
    stream = segmenter(source, period=4)
    seen = labels(stream, [frame(value, 100 * t) for t, value in enumerate((10, 1, 2, 3, 20, 5))])
    assert seen == [110, 10 + 1, 10 + 1 + 2, 10 + 1 + 2 + 3, 120, 20 + 5]
    assert stream.keyframes == {"first": 1, "period": 1}
    assert source.calls == [(10, 1), (1, 2), (2, 3), (20, 5)], "motion of keyframes is nobody's business"


def test_a_period_of_one_makes_all_keyframes() -> None:
    assert labels(segmenter(Shifted(), period=1), [frame(v, 100 * v) for v in (1, 2, 3)]) == [101, 102, 103]


def test_every_reset_makes_a_keyframe() -> None:
    stream = segmenter(ZeroMotion(), period=100)
    seen = labels(stream, [frame(1, 0), frame(2, 100), frame(3, 900), frame(4, 1000), frame(5, 500)])
    assert seen == [101, 1, 103, 3, 105] and stream.resets == {"gap": 1, "stamp went back": 1}
    stream.reset("service")
    assert labels(stream, [frame(6, 600), frame(7, 700)]) == [106, 6]
    stream.adopt(Adding(50))
    assert labels(stream, [frame(8, 800)]) == [108] and stream.keyframes == {"first": 5}


def test_frames_without_motion_are_keyframes_where_nobody_finds_it() -> None:
    stream = segmenter(None, period=100)
    seen = labels(stream, [frame(1, 0), frame(2, 100, motion=moved_by(3)), frame(4, 200), frame(5, 300)])
    assert seen == [101, 1 + 3, 104, 105] and stream.keyframes == {"first": 1, "motion unknown": 2}


def test_motion_that_leads_past_the_frame_that_was_seen_is_not_taken() -> None:
    source = Shifted()
    stream = segmenter(source, period=100)
    stream(frame(10, 0))
    direct = frame(1, 100, motion=moved_by(7), motion_since_ns=0)
    skipped = frame(2, 300, motion=moved_by(7), motion_since_ns=200 * MS)  # the frame at 200 ms never came
    assert labels(stream, [direct, skipped]) == [10 + 7, 10 + 7 + 2]
    assert source.calls == [(1, 2)], "between the two that were seen"


def test_a_stream_may_be_told_not_to_believe_the_codec() -> None:
    stream = segmenter(Shifted(), replace(RULES, codec=False), period=100)
    assert labels(stream, [frame(10, 0), frame(1, 100, motion=moved_by(7))]) == [110, 11]


@pytest.mark.parametrize(("known", "is_key"), [(4, False), (3, True)])
def test_too_much_that_was_not_there_before_is_a_cut(known: int, is_key: bool) -> None:
    motion = moved_by(1)
    motion.reshape(-1, 2)[known:] = np.nan  # 2 of 6 are 0.33, 3 are 0.5
    stream = segmenter(None, period=100)
    assert (labels(stream, [frame(10, 0), frame(20, 100, motion=motion)])[1] >= 100) == is_key
    assert stream.keyframes.get("unmatched", 0) == is_key


def test_a_cut_that_the_source_finds() -> None:
    stream = segmenter(Shifted(), period=100)
    assert labels(stream, [frame(10, 0), frame(1, 100), frame(99, 200), frame(2, 300)]) == [110, 11, 199, 101]


def test_a_codecs_own_keyframe_is_one() -> None:
    chooser = Keyframes(GRID, lambda before, now: MotionField(moved_by(0), 0.0, codec_key=True))
    first = frame(1, 0)
    chooser.take(first, first.image, chooser.decide(first, first.image, 100, RULES))
    second = frame(2, 100)
    assert chooser.decide(second, second.image, 100, RULES).why == "codec"


def test_an_intra_picture_is_a_keyframe_even_where_nothing_counts_as_a_cut() -> None:
    stream = segmenter(Shifted(), replace(RULES, unmatched_max=1.0), period=100)
    seen = labels(stream, [frame(10, 0), frame(1, 100), frame(20, 200, motion=moved_by(np.nan)), frame(99, 300)])
    assert seen == [110, 11, 120, 20 + 99] and stream.keyframes == {"first": 1, "codec": 1}


def test_a_keyframe_is_due_after_some_time() -> None:
    stream = segmenter(ZeroMotion(), replace(RULES, within_s=0.25), period=100)
    assert labels(stream, [frame(v, 100 * v) for v in range(1, 8)]) == [101, 1, 1, 104, 4, 4, 107]
    assert stream.keyframes == {"first": 1, "time": 2}


def test_a_failed_frame_counts_neither_for_the_period_nor_for_the_motion() -> None:
    stream = segmenter(Shifted(), period=3)
    assert labels(stream, [frame(10, 0), frame(1, 100)]) == [110, 11]
    with pytest.raises(RuntimeError, match="engine failed"):
        stream(frame(13, 150))
    assert labels(stream, [frame(2, 200), frame(20, 300)]) == [10 + 1 + 2, 120]


def test_motion_of_another_size_than_the_networks_picture() -> None:
    """Px of the camera's picture become cells of the network's."""
    stream = segmenter(None, period=100)
    stream._resize = lambda image, size: np.full((*size, 3), image[0, 0, 0], np.uint8)
    large = [Frame(t * 100 * MS, np.full((32, 48, 3), 10, np.uint8), motion=moved_by(4)) for t in range(2)]
    assert labels(stream, large) == [110, 10 + 2]


def test_its_time_is_told() -> None:
    stream = segmenter(ZeroMotion())
    assert "motion" in stream(frame(1, 0)).times_ms
