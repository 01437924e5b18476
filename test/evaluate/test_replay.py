# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterator

import numpy as np
import pytest

from test.core.fakes import HOST, FakeRuntime, Summing
from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.evaluate.replay import replay

SIZE = (16, 24)
CLASSES = [f"class {n}" for n in range(10)]


def frame(value: int, stamp_ms: int, size: tuple[int, int] = SIZE, truth: int | None = None) -> Frame:
    known = None if truth is None else np.full(size, truth, np.uint8)
    return Frame(stamp_ms * 1_000_000, np.full((*size, 3), value, np.uint8), truth=known)


def segmenter(runtime: FakeRuntime | None = None) -> StreamSegmenter:
    return StreamSegmenter(Summing(slots=1), HOST, runtime or FakeRuntime(), StreamOptions(SIZE))


class Kept:
    def __init__(self) -> None:
        self.results: list[Segmentation] = []
        self.closed = 0

    def write(self, frame: Frame, result: Segmentation) -> None:
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1


def test_counts_what_a_stream_does() -> None:
    source = [frame(1, 0, truth=1), frame(2, 100, truth=3), frame(2, 1000, truth=4), frame(3, 1100)]
    kept = Kept()
    figures = replay(source, segmenter(), CLASSES, sinks=[kept])
    report = figures.report()
    # labels are 1, 1 + 2, 2 (forgotten after the gap), 2 + 3
    assert [int(r.labels[0, 0]) for r in kept.results] == [1, 3, 2, 5]
    assert report["frames"] == 4 and report["resets"] == {"gap": 1} and report["dropped"] == {}
    assert report["pixel_accuracy"] == pytest.approx(2 / 3) and report["source_span_s"] == 1.1
    assert report["iou"]["class 3"] == 1.0 and report["iou"]["class 4"] == 0.0 and report["iou"]["class 9"] is None
    assert report["churn"] == 1.0  # 1 to 3 and 2 to 5; the change across the reset is not the method's
    assert {"latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "fps"} <= report.keys()
    assert kept.closed == 1


def test_a_bad_frame_is_counted_and_the_others_stay_as_they_are() -> None:
    kept = Kept()
    source = [frame(1, 0), frame(9, 50, size=(17, 24)), frame(2, 100)]
    figures = replay(source, segmenter(), CLASSES, sinks=[kept])
    assert [int(r.labels[0, 0]) for r in kept.results] == [1, 3]
    assert list(figures.dropped.values()) == [1] and "24x17" in next(iter(figures.dropped))


def test_a_broken_source_keeps_what_was_read() -> None:
    def breaking() -> Iterator[Frame]:
        yield frame(1, 0)
        raise DataError("the bag ends here")

    kept = Kept()
    figures = replay(breaking(), segmenter(), CLASSES, sinks=[kept])
    assert figures.frames == 1 and figures.report()["broken"] == "the bag ends here"
    assert len(kept.results) == 1 and kept.closed == 1


def test_a_source_that_breaks_at_once_is_an_error() -> None:
    def broken() -> Iterator[Frame]:
        raise DataError("no frame at all")
        yield

    kept = Kept()
    with pytest.raises(DataError, match="no frame at all"):
        replay(broken(), segmenter(), CLASSES, sinks=[kept])
    assert kept.closed == 1


class Unfinished(Kept):
    def close(self) -> None:
        raise DataError("the disk is full")


def test_a_sink_that_cannot_be_finished_costs_neither_figures_nor_the_other_sinks() -> None:
    kept = Kept()
    figures = replay([frame(1, 0)], segmenter(), CLASSES, sinks=[kept, Unfinished(), kept])
    assert figures.frames == 1 and figures.report()["broken"] == "the disk is full" and kept.closed == 2


def test_a_sink_that_cannot_be_finished_does_not_hide_what_came_before() -> None:
    def ended(by: BaseException) -> Iterator[Frame]:
        yield frame(1, 0)
        raise by

    assert "ends here" in str(replay(ended(DataError("ends here")), segmenter(), CLASSES, sinks=[Unfinished()]).broken)
    with pytest.raises(KeyboardInterrupt):
        replay(ended(KeyboardInterrupt()), segmenter(), CLASSES, sinks=[Unfinished()])


def test_no_frames_is_a_report_too() -> None:
    report = replay([], segmenter(), CLASSES).report()
    assert report["frames"] == 0 and report["fps"] == 0 and report["churn"] is None and "miou" not in report


class SlowRuntime(FakeRuntime):
    def run(self, stage: str, /, **inputs: object) -> dict[str, object]:
        if stage == "encode":
            time.sleep(0.12)
        return super().run(stage, **inputs)


def test_real_time_drops_what_is_superseded_and_keeps_the_newest() -> None:
    source = [frame(n, 50 * n) for n in range(10)]
    kept = Kept()
    figures = replay(source, segmenter(SlowRuntime()), CLASSES, sinks=[kept], real_time=True)
    dropped = figures.dropped["superseded"]
    assert dropped >= 3 and figures.frames + dropped == 10
    stamps = [r.stamp_ns for r in kept.results]
    assert stamps == sorted(stamps) and stamps[-1] == 450_000_000


def test_real_time_keeps_the_pace_and_every_frame_when_there_is_time() -> None:
    started = time.monotonic()
    figures = replay([frame(n, 40 * n) for n in range(6)], segmenter(), CLASSES, real_time=True)
    assert figures.frames == 6 and not figures.dropped
    assert time.monotonic() - started >= 0.2


def test_truth_of_another_label_set_is_ignored_and_said() -> None:
    figures = replay([frame(1, 0, truth=1), frame(1, 100, truth=77), frame(1, 200, truth=1)], segmenter(), CLASSES)
    report = figures.report()
    assert report["frames"] == 3 and "got up to 77" in report["truth_ignored"]


def test_truth_of_known_other_classes_is_ignored_from_the_first_frame() -> None:
    class Other(list):
        classes = tuple(reversed(CLASSES))

    report = replay(Other([frame(1, 0, truth=1), frame(1, 100, truth=1)]), segmenter(), CLASSES).report()
    assert report["frames"] == 2 and "in name or order" in report["truth_ignored"] and "miou" not in report
    Other.classes = tuple(CLASSES)
    assert "miou" in replay(Other([frame(1, 0, truth=1)]), segmenter(), CLASSES).report()
