# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Any source through the segmenter: every frame in lock-step, or in real time as a robot would live it."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vss_ros.core.errors import DataError, FrameError
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.core.segmenter import StreamSegmenter
from vss_ros.evaluate.metrics import ConfusionMatrix, churn, percentiles
from vss_ros.evaluate.sinks import Sink

log = logging.getLogger(__name__)


@dataclass
class Figures:
    """What is counted while frames go by; `report()` is plain keys with units in their names."""

    classes: Sequence[str]
    frames: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    resets: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    parts_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    churn: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    truth_ignored: str | None = None
    broken: DataError | None = None

    def __post_init__(self) -> None:
        self.confusion = ConfusionMatrix(len(self.classes))
        self._before: UInt8Array | None = None
        self._first_ns = self._last_ns = 0

    def add(self, frame: Frame, result: Segmentation) -> None:
        """Count one segmented frame."""
        self._first_ns = self._first_ns if self.frames else frame.stamp_ns
        self._last_ns = frame.stamp_ns
        self.frames += 1
        if result.reset:
            self.resets[result.reset] += 1
        for part, spent_ms in result.times_ms.items():
            self.parts_ms[part].append(spent_ms)
        if frame.truth is not None and self.truth_ignored is None:
            self._compare(frame.truth, result.labels)
        if self._before is not None and self._before.shape == result.labels.shape and not result.reset:
            self.churn.append(churn(self._before, result.labels))
        self._before = result.labels
        self.confidence.append(float(result.confidence.mean()) / 255.0)

    def _compare(self, truth: UInt8Array, labels: UInt8Array) -> None:
        try:
            self.confusion.add(truth, labels)
        except DataError as error:  # truth of another label set or size: the labels are good all the same
            self.truth_ignored = str(error)
            log.warning("the source's truth is ignored from here on: %s", error)

    def report(self) -> dict[str, Any]:
        """Everything counted; `fps` is what the segmenter alone would sustain, 1 / mean of `total`."""
        # the first frame pays for allocations that no other one pays
        warm = {part: times[1:] or times for part, times in self.parts_ms.items()}
        report: dict[str, Any] = {
            "frames": self.frames,
            "dropped": dict(self.dropped),
            "resets": dict(self.resets),
            "source_span_s": (self._last_ns - self._first_ns) / 1e9,
            "fps": 1e3 / float(np.mean(warm["total"])) if "total" in warm else 0.0,
            **percentiles(warm.get("total", []), "latency"),
            "parts": {part: dict(percentiles(times, "latency")) for part, times in warm.items() if part != "total"},
            "churn": float(np.mean(self.churn)) if self.churn else None,
            "confidence_mean": float(np.mean(self.confidence)) if self.confidence else None,
        }
        if self.broken:
            report["broken"] = str(self.broken)
        if self.truth_ignored:
            report["truth_ignored"] = self.truth_ignored
        if self.confusion.pixels:
            iou = self.confusion.iou()
            report["miou"] = self.confusion.miou()
            report["pixel_accuracy"] = self.confusion.pixel_accuracy()
            report["iou"] = {n: None if np.isnan(x) else float(x) for n, x in zip(self.classes, iou, strict=True)}
        return report


def replay(
    source: Iterable[Frame],
    segmenter: StreamSegmenter,
    classes: Sequence[str],
    *,
    sinks: Sequence[Sink] = (),
    real_time: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Figures:
    """Segment a source's frames and count.

    In lock-step every frame is segmented, and two runs give bit-identical labels. In real time frames appear at the
    pace of their stamps and the newest one wins, as in the node: frames that came and went meanwhile are counted as
    superseded.

    Args:
        source: frames in order.
        segmenter: of one stream.
        classes: names of the labels.
        sinks: take every frame with its result; all are closed at the end, also after an error.
        real_time: keep the source's pace.
        progress: called for each frame of the source.

    Returns:
        What was counted. Where the source broke after some frames, or a sink could not write or be finished, the frames
        until then are in it and in the other sinks, and `broken` says why; it is the caller's to raise.

    Raises:
        DataError: the source broke before its first frame.
    """
    figures = Figures(classes)
    if has_other_classes(source, classes):
        known: Sequence[str] = source.classes  # type: ignore[attr-defined]
        figures.truth_ignored = f"its {len(known)} classes are not the model's {len(classes)}, in name or order"
        log.warning("the source's truth is ignored: %s", figures.truth_ignored)
    paced = _paced(source, figures, progress) if real_time else _every(source, progress)
    try:
        for frame in paced:
            try:
                result = segmenter(frame)
            except FrameError as error:
                figures.dropped[str(error)] += 1
                continue
            figures.add(frame, result)
            for sink in sinks:
                sink.write(frame, result)
    except DataError as error:
        if not figures.frames:
            raise
        figures.broken = error
    finally:
        unfinished = _close(sinks)
    figures.broken = figures.broken or unfinished
    return figures


def _close(sinks: Sequence[Sink]) -> DataError | None:
    """Close every sink, whatever the others do; what one of them refused."""
    try:
        with ExitStack() as closing:
            for sink in sinks:
                closing.callback(sink.close)
    except DataError as error:
        return error
    return None


def has_other_classes(source: Iterable[Frame], classes: Sequence[str]) -> bool:
    """Whether a source's truth is known to have other classes, or the same in another order."""
    known = getattr(source, "classes", None)  # a plain list of frames does not tell
    return known is not None and tuple(known) != tuple(classes)


def _every(source: Iterable[Frame], progress: Callable[[], None]) -> Iterator[Frame]:
    for frame in source:
        progress()
        yield frame


def _paced(source: Iterable[Frame], figures: Figures, progress: Callable[[], None]) -> Iterator[Frame]:
    """Frames as their stamps come due; while the consumer was busy, all but the newest due frame are dropped."""
    started = time.monotonic()
    first_ns: int | None = None
    waiting: Frame | None = None
    for frame in source:
        progress()
        first_ns = frame.stamp_ns if first_ns is None else first_ns
        due = started + (frame.stamp_ns - first_ns) / 1e9
        now = time.monotonic()
        if waiting is not None:
            if due <= now:  # a newer one is here already
                figures.dropped["superseded"] += 1
            else:
                yield waiting
        waiting = frame
        pause = due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
    if waiting is not None:
        yield waiting
