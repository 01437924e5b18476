# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is counted while frames go by, camera by camera."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from vss_ros.evaluate.metrics import percentiles

WINDOW = 300  # frames that percentiles and frame rate look back on
_RATE_SPAN_S = 5.0


class Drop(str, Enum):
    """Why a frame that came in has no labels."""

    SUPERSEDED = "superseded"  # a newer one came while it waited
    TOO_OLD = "too old"  # its stamp lies further back than node.max_age_ms
    INACTIVE = "inactive"  # the node was not, or no longer, active
    BAD_ENCODING = "bad encoding"  # it could not be read as a picture
    NO_KEYFRAME = "no keyframe"  # a packet of a video whose first keyframe has not come yet
    FAILED = "failed"  # the network or the publisher raised


@dataclass(frozen=True)
class StreamReport:
    """One camera's figures at one moment.

    Attributes:
        camera: its name.
        received: frames that came in.
        published: frames that went out with labels.
        dropped: frames by cause; received = published + dropped + at most one waiting and one in work.
        resets: how often the memory was cleared, by reason.
        keyframes: of a method that has some, by what made them keyframes.
        remembered: past frames that the memory held for the newest frame.
        memory_bytes: size of the memory.
        fps: labels per second over the last five seconds.
        churn: mean share of pixels whose label differs from the frame before, 0..1; resets are left out.
        parts_ms: `<part>_p50_ms`, p95 and p99 over the last frames.
        backend: name of what ran the newest frame.
    """

    camera: str
    received: int
    published: int
    dropped: Mapping[str, int]
    resets: Mapping[str, int]
    keyframes: Mapping[str, int]
    remembered: int
    memory_bytes: int
    fps: float
    churn: float
    parts_ms: Mapping[str, float]
    backend: str


@dataclass
class StreamStatistics:
    """The counters themselves; not locked, the app does that."""

    received: int = 0
    published: int = 0
    remembered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    _parts_ms: dict[str, deque[float]] = field(default_factory=dict)
    _published_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _churn: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def drop(self, cause: Drop) -> None:
        """Count a frame that gets no labels."""
        self.dropped[cause.value] += 1

    def publish(self, parts_ms: Mapping[str, float], remembered: int, now_s: float, churn: float | None = None) -> None:
        """Count a frame whose labels went out.

        Args:
            parts_ms: time of each part.
            remembered: past frames in the memory.
            now_s: of a clock that never jumps.
            churn: share of labels that changed, or None where there is no frame before to compare with.
        """
        self.published += 1
        self.remembered = remembered
        self._published_s.append(now_s)
        if churn is not None:
            self._churn.append(churn)
        for part, spent_ms in parts_ms.items():
            self._parts_ms.setdefault(part, deque(maxlen=WINDOW)).append(spent_ms)

    def report(
        self,
        camera: str,
        resets: Mapping[str, int],
        memory_bytes: int,
        now_s: float,
        backend: str = "",
        *,
        keyframes: Mapping[str, int] | None = None,
    ) -> StreamReport:
        """A copy of everything counted, with the figures that follow from it."""
        parts_ms: dict[str, float] = {}
        for part, times in self._parts_ms.items():
            parts_ms |= percentiles(list(times), part)
        return StreamReport(
            camera=camera,
            received=self.received,
            published=self.published,
            dropped={cause.value: self.dropped[cause.value] for cause in Drop},
            resets=dict(resets),
            keyframes=dict(keyframes or {}),
            remembered=self.remembered,
            memory_bytes=memory_bytes,
            fps=self._fps(now_s),
            churn=sum(self._churn) / len(self._churn) if self._churn else 0.0,
            parts_ms=parts_ms,
            backend=backend,
        )

    def _fps(self, now_s: float) -> float:
        recent = [t for t in self._published_s if now_s - t <= _RATE_SPAN_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / (now_s - recent[0])
