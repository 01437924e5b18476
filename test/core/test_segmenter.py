# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import numpy as np
import pytest

from test.core.fakes import HOST, FakeRuntime, Summing
from vss_ros.core.errors import FrameError
from vss_ros.core.frame import UNLABELLED, Frame, Segmentation
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.synthetic import SyntheticDrive

SIZE = (16, 24)


def segmenter(slots: int = 2, **options: object) -> StreamSegmenter:
    return StreamSegmenter(Summing(slots), HOST, FakeRuntime(), StreamOptions(SIZE, **options))  # type: ignore[arg-type]


def frame(value: int, stamp_ms: int, size: tuple[int, int] = SIZE, frame_id: str = "cam") -> Frame:
    return Frame(stamp_ms * 1_000_000, np.full((*size, 3), value, np.uint8), frame_id=frame_id)


def label(result: Segmentation) -> int:
    assert np.ptp(result.labels) == 0
    return int(result.labels[0, 0])


def test_remembers_exactly_its_slots() -> None:
    stream = segmenter(slots=2)
    results = [stream(frame(value, 100 * t)) for t, value in enumerate((1, 2, 3, 4))]
    assert [label(r) for r in results] == [1, 1 + 2, 1 + 2 + 3, 2 + 3 + 4]
    assert [r.remembered for r in results] == [0, 1, 2, 2]
    assert all(r.reset is None for r in results)


def test_stamp_and_frame_id_pass_untouched() -> None:
    result = segmenter()(Frame(1_700_000_000_123_456_789, np.zeros((*SIZE, 3), np.uint8), "left", "cam_left"))
    assert (result.stamp_ns, result.stream, result.frame_id) == (1_700_000_000_123_456_789, "left", "cam_left")


def test_every_part_is_timed() -> None:
    stream = segmenter()
    stream(frame(1, 0))
    times = stream(frame(1, 100)).times_ms
    assert times.keys() == {"prepare", "encode", "attend", "decode", "infer", "finish", "total"}
    assert times["total"] >= times["infer"] > 0


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (frame(5, 50), "stamp went back"),
        (frame(5, 701), "gap"),
        (frame(5, 200, frame_id="other"), "frame_id changed"),
        (frame(5, 200, size=(32, 24)), "size changed"),
    ],
)
def test_forgets_when_the_stream_breaks(second: Frame, reason: str) -> None:
    stream = segmenter(max_gap_s=0.5, input_size=None)
    stream._resize = lambda image, size: np.full((*size, 3), image[0, 0, 0], np.uint8)
    stream(frame(1, 100))
    stream(frame(1, 200))
    result = stream(second)
    assert (label(result), result.remembered, result.reset) == (5, 0, reason)
    assert stream.resets == {reason: 1}


def test_a_gap_of_exactly_the_limit_is_survived() -> None:
    stream = segmenter(max_gap_s=0.5)
    stream(frame(1, 0))
    assert label(stream(frame(2, 500))) == 3


def test_goes_on_remembering_after_the_break() -> None:
    stream = segmenter()
    results = [stream(frame(v, t)) for v, t in ((1, 1000), (2, 1100), (3, 100), (4, 200))]
    assert [label(r) for r in results] == [1, 3, 3, 7]


def test_a_request_forgets_before_the_next_frame_only() -> None:
    stream = segmenter()
    stream(frame(1, 0))
    stream.reset("service")
    results = [stream(frame(2, 100)), stream(frame(3, 200))]
    assert [(label(r), r.reset) for r in results] == [(2, "service"), (5, None)]


def test_a_failed_frame_leaves_memory_and_clock_alone() -> None:
    stream = segmenter()
    stream(frame(1, 0))
    with pytest.raises(FrameError, match=r"picture of 24x16 px was wanted, got 25x16"):
        stream(frame(7, 100, size=(16, 25)))
    with pytest.raises(RuntimeError, match="engine failed"):
        stream(frame(13, 200))
    result = stream(frame(2, 300))
    assert (label(result), result.reset) == (3, None)


def test_a_step_that_fails_after_it_has_remembered_clears_the_past() -> None:
    stream = segmenter()
    stream(frame(1, 0))
    runtime: Any = stream._runtime
    run = runtime.run

    def fails_late(stage: str, /, **inputs: Any) -> Any:
        if stage == "decode":
            raise RuntimeError("engine failed")
        return run(stage, **inputs)

    runtime.run = fails_late
    with pytest.raises(RuntimeError, match="engine failed"):
        stream(frame(7, 100))
    runtime.run = run
    results = [stream(frame(2, 200)), stream(frame(3, 300))]
    assert [(label(r), r.reset) for r in results] == [(2, "step failed"), (5, None)]


def test_results_are_the_callers_to_keep() -> None:
    stream = segmenter(slots=0)
    first = stream(frame(1, 0))
    stream(frame(9, 100))
    assert label(first) == 1 and first.confidence.max() == 1


def test_low_confidence_becomes_unlabelled() -> None:
    stream = segmenter(slots=0, confidence_min=0.5)
    assert label(stream(frame(127, 0))) == UNLABELLED
    assert label(stream(frame(128, 100))) == 128


@pytest.mark.parametrize(("wanted", "size"), [(None, (16, 24)), ("model", (16, 24)), ((4, 6), (4, 6))])
def test_output_size(wanted: object, size: tuple[int, int]) -> None:
    result = segmenter(output_size=wanted)(frame(1, 0))
    assert result.labels.shape == result.confidence.shape == size


def test_streams_share_nothing_but_the_runtime() -> None:
    runtime = FakeRuntime()
    left, right = (StreamSegmenter(Summing(), HOST, runtime, StreamOptions(SIZE)) for _ in range(2))
    left(frame(1, 0))
    right(frame(50, 0))
    assert [label(left(frame(2, 100))), label(right(frame(60, 100)))] == [3, 110]
    assert left.memory_bytes == 2 * 16 * 24


def test_a_scene_cut_forgets_and_a_moving_camera_does_not() -> None:
    drive, other = ([f.image for f in SyntheticDrive(seed=seed, size=(96, 128), frames=8)] for seed in (3, 2))
    stream = StreamSegmenter(Summing(2), HOST, FakeRuntime(), StreamOptions((96, 128), scene_cut=0.18))
    pictures = [*drive[:4], *other[4:]]
    resets = [stream(Frame(t * 100_000_000, image)).reset for t, image in enumerate(pictures)]
    assert resets == [None] * 4 + ["scene cut"] + [None] * 3


def test_without_a_threshold_nothing_is_a_cut() -> None:
    stream = segmenter(scene_cut=0.0)
    assert [stream(frame(value, t)).reset for t, value in enumerate((0, 255, 0))] == [None] * 3


def test_a_failed_frame_is_no_scene_to_compare_with() -> None:
    stream = segmenter(scene_cut=0.5)
    stream(frame(200, 0))
    with pytest.raises(RuntimeError):
        stream(frame(13, 50))
    assert stream(frame(201, 100)).reset is None


def test_another_plan_is_adopted_with_an_empty_memory() -> None:
    stream = segmenter(slots=1)
    stream(frame(1, 0))
    stream(frame(2, 100))
    stream.adopt(Summing(3))
    results = [stream(frame(value, 200 + 100 * t)) for t, value in enumerate((3, 4, 5, 6))]
    assert [(label(r), r.remembered) for r in results] == [(3, 0), (7, 1), (12, 2), (18, 3)]
    assert results[0].reset == "memory settings changed" and stream.resets == {"memory settings changed": 1}


def test_the_same_plan_again_changes_nothing() -> None:
    stream = segmenter(slots=2)
    stream(frame(1, 0))
    stream.adopt(Summing(2))
    assert label(stream(frame(2, 100))) == 3 and not stream.resets


def test_a_plan_adopted_before_the_first_frame_is_no_reset() -> None:
    stream = segmenter(slots=1)
    stream.adopt(Summing(2))
    assert stream(frame(1, 0)).reset is None and not stream.resets
