# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where a replay's results go: a labels bag, an overlay video, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Protocol

import cv2
import numpy as np

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.core.overlay import overlay
from vss_ros.data.bag_writer import BagWriter
from vss_ros.data.video import VideoWriter

_TIMED = 5  # frames; their median gap forgives one frame that is missing among them


class Sink(Protocol):
    """Takes every frame with its segmentation, in order."""

    def write(self, frame: Frame, result: Segmentation) -> None: ...

    def close(self) -> None: ...


class LabelsBag:
    """`/vss/labels` and `/vss/confidence` with the source's stamps, and the latched class names."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._bag = BagWriter(path)
        self._bag.__enter__()
        self._card, self._named = card, False

    def write(self, frame: Frame, result: Segmentation) -> None:
        if not self._named:
            self._bag.write_label_info("/vss/label_info", self._card.labels, result.stamp_ns, frame_id=result.frame_id)
            self._named = True
        for topic, pixels in (("/vss/labels", result.labels), ("/vss/confidence", result.confidence)):
            self._bag.write_labels(topic, pixels, result.stamp_ns, frame_id=result.frame_id)

    def close(self) -> None:
        self._bag.__exit__(None, None, None)


class OverlayVideo:
    """The picture, and beside it the picture with its labels in colour and a legend, at the source's own rate."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._path, self._card = path, card
        self._video: VideoWriter | None = None
        self._legend: UInt8Array | None = None
        self._first: list[tuple[int, UInt8Array]] = []  # stamp and picture of the frames that tell the rate

    def write(self, frame: Frame, result: Segmentation) -> None:
        colours = self._card.colours
        size = (frame.image.shape[1], frame.image.shape[0])
        labels = np.asarray(cv2.resize(result.labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        pair = np.hstack([frame.image, overlay(frame.image, labels, colours, opacity=0.6)])
        if self._legend is None or self._legend.shape[1] != pair.shape[1]:
            self._legend = legend(self._card, pair.shape[1])
        picture = np.vstack([pair, self._legend])
        if self._video is not None:
            self._video.write(picture)
            return
        self._first.append((frame.stamp_ns, picture))
        # a picture of another size is refused at once, not when all is closed
        if len(self._first) == _TIMED or picture.shape != self._first[0][1].shape:
            self._open()

    def _open(self) -> None:
        first, self._first = self._first, []
        self._video = VideoWriter(self._path, fps=frame_rate([stamp_ns for stamp_ns, _ in first]))
        self._video.__enter__()
        for _, picture in first:
            self._video.write(picture)

    def close(self) -> None:
        if self._first:
            self._open()
        if self._video is not None:
            self._video.__exit__(None, None, None)


def frame_rate(stamps_ns: Sequence[int]) -> float:
    """Frames per second by the median gap, 1 to 120, so that a video of stills still moves; 10 without any gap."""
    gaps_ns = [after - before for before, after in pairwise(stamps_ns) if after > before]
    return min(max(1e9 / median(gaps_ns), 1.0), 120.0) if gaps_ns else 10.0


def legend(card: ModelCard, width: int, row: int = 22) -> UInt8Array:
    """A strip `(rows * row, width, 3)` uint8 RGB with the colour and name of each class."""
    cell = 120
    columns = max(width // cell, 1)
    rows = -(-len(card.labels) // columns)
    strip = np.full((rows * row, width, 3), 24, np.uint8)
    for index, (name, colour) in enumerate(zip(card.labels, card.palette, strict=True)):
        x, y = index % columns * cell + 4, index // columns * row + 4
        cv2.rectangle(strip, (x, y), (x + 14, y + 14), colour, -1)
        cv2.putText(strip, name, (x + 20, y + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
    return strip


class LabelImages:
    """`<n>_labels.png` (indices, 255 = unlabelled), `<n>_confidence.png` and `<n>_overlay.jpg` for each frame."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        self._folder, self._card, self._count = folder, card, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"a folder for the labels was wanted at {folder}: {error}; name another") from error

    def write(self, frame: Frame, result: Segmentation) -> None:
        picture = np.asarray(cv2.resize(frame.image, result.labels.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        painted = overlay(picture, result.labels, self._card.colours)
        files = {"labels.png": result.labels, "confidence.png": result.confidence, "overlay.jpg": painted[..., ::-1]}
        for ending, pixels in files.items():
            path = self._folder / f"{self._count:06d}_{ending}"
            if not cv2.imwrite(str(path), pixels):
                raise DataError(f"{path} cannot be written; check the space on the disk")
        self._count += 1

    def close(self) -> None:
        pass
