# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a report shows of single frames: figures of each, pictures of a bounded selection."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, Frame, Segmentation, UInt8Array
from vss_ros.core.prepare import Size, nearest
from vss_ros.evaluate.metrics import ConfusionMatrix, churn

EVENLY = 24  # frames shown from the whole source
WORST = 8
_APART = 5  # frames between two of the worst: neighbours show the same fault
_WIDTH = 480  # px
_BYTES = 9_000_000  # of all pictures; base64 makes 4 of 3, and the file is to stay below 15 MB
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]


@dataclass(frozen=True)
class Note:
    """One contender on one frame; None where it cannot be said."""

    miou: float | None  # over the classes that are in this frame's truth or labels
    churn: float | None
    confidence: float


@dataclass(frozen=True)
class FrameNote:
    """One frame with the notes by contender; those that refused it have none."""

    index: int
    time_s: float  # since the source's first frame
    notes: Mapping[str, Note]

    @property
    def miou(self) -> float | None:
        """Mean over the contenders."""
        return _mean([note.miou for note in self.notes.values()])

    @property
    def churn(self) -> float | None:
        """Mean over the contenders."""
        return _mean([note.churn for note in self.notes.values()])

    def badness(self) -> tuple[bool, float, float]:
        """Greater is worse: low mIoU; without truth much churn, then low confidence."""
        doubt = 1.0 - float(np.mean([note.confidence for note in self.notes.values()]))
        if self.miou is not None:
            return True, 1.0 - self.miou, doubt
        return False, self.churn or 0.0, doubt


@dataclass(frozen=True)
class Pictures:
    """A frame's pictures, encoded: JPEG image, PNG truth, PNG labels and JPEG confidence by contender."""

    image: bytes
    truth: bytes | None
    labels: Mapping[str, bytes]
    confidence: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        every = [self.image, self.truth or b"", *self.labels.values(), *self.confidence.values()]
        return sum(map(len, every))


@dataclass
class Keeper:
    """An observer of `side_by_side.evaluate`.

    Args:
        classes: number of classes.
        colours: `(256, 3)` uint8 RGB by label.
        frames: of the source, about; every so many of them is shown.
    """

    classes: int
    colours: UInt8Array
    frames: int
    notes: list[FrameNote] = field(default_factory=list)
    _evenly: dict[int, Pictures] = field(default_factory=dict)
    _worst: dict[int, Pictures] = field(default_factory=dict)
    _before: dict[str, UInt8Array] = field(default_factory=dict)
    _first_ns: int | None = None

    def see(self, frame: Frame, results: Mapping[str, Segmentation]) -> None:
        """Note one frame, and keep its pictures if it is its turn or one of the worst so far."""
        self._first_ns = frame.stamp_ns if self._first_ns is None else self._first_ns
        notes = {name: self._note(frame, name, result) for name, result in results.items()}
        now = FrameNote(len(self.notes), (frame.stamp_ns - self._first_ns) / 1e9, notes)
        self.notes.append(now)
        if not notes:
            return
        is_its_turn = now.index % -(-max(self.frames, 1) // EVENLY) == 0
        replaced = self._in_the_way(now)
        if not is_its_turn and replaced is None:
            return
        pictures = encode(frame, results, self.colours)
        if is_its_turn:
            self._evenly[now.index] = pictures
        if replaced is not None:
            for index in replaced:
                del self._worst[index]
            self._worst[now.index] = pictures

    def _note(self, frame: Frame, name: str, result: Segmentation) -> Note:
        before = self._before.get(name)
        self._before[name] = result.labels
        steady = before is not None and before.shape == result.labels.shape and not result.reset
        return Note(
            miou=self._miou(frame.truth, result.labels),
            churn=churn(before, result.labels) if steady and before is not None else None,
            confidence=float(result.confidence.mean()) / 255.0,
        )

    def _miou(self, truth: UInt8Array | None, labels: UInt8Array) -> float | None:
        if truth is None:
            return None
        confusion = ConfusionMatrix(self.classes)
        try:
            confusion.add(truth, labels)
        except DataError:  # truth of other classes; the evaluation says so once
            return None
        return confusion.miou() if confusion.pixels else None

    def _in_the_way(self, now: FrameNote) -> list[int] | None:
        """Which of the worst frames this one takes the place of; None if it is not one of the worst."""
        near = [index for index in self._worst if now.index - index < _APART]
        if any(self.notes[index].badness() >= now.badness() for index in near):
            return None
        if near or len(self._worst) < WORST:
            return near
        mildest = min(self._worst, key=lambda index: self.notes[index].badness())
        return [mildest] if self.notes[mildest].badness() < now.badness() else None

    @property
    def worst(self) -> list[FrameNote]:
        """The worst frames, the worst first, some frames apart."""
        return sorted((self.notes[index] for index in self._worst), key=FrameNote.badness, reverse=True)

    def pictures(self, limit_bytes: int = _BYTES) -> dict[int, Pictures]:
        """Pictures by number of the frame, in order; thinned out until they fit into so many bytes."""
        evenly, worst = sorted(self._evenly), [note.index for note in self.worst]
        every = self._evenly | self._worst
        while sum(every[index].size for index in {*evenly, *worst}) > limit_bytes and len(evenly) + len(worst) > 1:
            if len(evenly) > len(worst):
                evenly = evenly[::2]
            else:
                worst.pop()
        return {index: every[index] for index in sorted({*evenly, *worst})}


def encode(frame: Frame, results: Mapping[str, Segmentation], colours: UInt8Array) -> Pictures:
    """A frame's pictures at no more than 480 px of width."""
    height, width = frame.size
    scale = min(1.0, _WIDTH / width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    image = cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA)
    return Pictures(
        image=_jpeg(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)),
        truth=None if frame.truth is None else _png(frame.truth, size, colours),
        labels={name: _png(result.labels, size, colours) for name, result in results.items()},
        confidence={name: _jpeg(nearest(result.confidence, size)) for name, result in results.items()},
    )


def _jpeg(picture: np.ndarray) -> bytes:
    good, coded = cv2.imencode(".jpg", picture, _JPEG)
    assert good, "OpenCV is built with JPEG"
    return coded.tobytes()


def _png(labels: UInt8Array, size: Size, colours: UInt8Array) -> bytes:
    """Indices with a palette, 255 see-through."""
    picture = Image.fromarray(nearest(labels, size))
    picture.putpalette(colours.reshape(-1).tolist())
    coded = io.BytesIO()
    picture.save(coded, "PNG", optimize=True, transparency=UNLABELLED)
    return coded.getvalue()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
