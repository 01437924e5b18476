# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What data sets of labelled videos share: files to arrays, and snippets to one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame, UInt8Array

_PAUSE_NS = 60 * 1_000_000_000  # longer than any gap that a memory outlives


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame on disk: its picture, its labels where it has any, and its number within the snippet."""

    image: Path
    labels: Path | None
    number: int


class SnippetVideo:
    """Short videos one after another as one stream of Frames, with truth where a frame is labelled.

    Between two of them a minute passes, so that a stream's memory begins anew with each.

    Args:
        name: of the stream.
        snippets: the frames of each, in order.
        fps: frames per second within a snippet.
        read_labels: `(H, W)` uint8 of a label file, 255 = unlabelled.
        classes: names of the labels by id; None where they are not known.
    """

    def __init__(
        self,
        name: str,
        snippets: Sequence[Sequence[Shot]],
        fps: float,
        read_labels: Callable[[Path], UInt8Array],
        classes: tuple[str, ...] | None,
    ) -> None:
        self.name, self.classes = name, classes
        self.skipped: dict[str, int] = {}
        self._read_labels = read_labels
        self._shots: list[tuple[int, Shot]] = []
        start_ns = 0
        for snippet in snippets:
            self._shots += [(start_ns + round(shot.number * 1e9 / fps), shot) for shot in snippet]
            start_ns = self._shots[-1][0] + _PAUSE_NS

    def __len__(self) -> int:
        return len(self._shots)

    def __getitem__(self, index: int) -> Frame:
        stamp_ns, shot = self._shots[index]
        truth = None if shot.labels is None else self._read_labels(shot.labels)
        return Frame(stamp_ns, read_image(shot.image), stream=self.name, frame_id="camera", truth=truth)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def read_image(path: Path) -> UInt8Array:
    """`(H, W, 3)` uint8 RGB of a JPEG or PNG file; DataError where it cannot be decoded."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"{path} was wanted as an image and cannot be decoded; copy the file again")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_indices(path: Path) -> UInt8Array:
    """`(H, W)` uint8 of a label PNG, as stored; DataError where it is none."""
    # Pillow, because OpenCV would turn a palette's indices into colours.
    try:
        with Image.open(path) as picture:
            indices = np.array(picture)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} was wanted as a PNG of labels: {error}; copy the file again") from error
    if indices.ndim != 2 or indices.dtype != np.uint8:
        raise DataError(
            f"{path} wants labels (H, W) uint8, got {indices.shape} {indices.dtype}; use the data set's own"
        )
    return indices


def read_pair(shot: Shot, read_labels: Callable[[Path], UInt8Array]) -> tuple[UInt8Array, UInt8Array]:
    """Image and labels of a labelled frame; DataError where their sizes differ."""
    assert shot.labels is not None, "only labelled frames are read in pairs"
    image, labels = read_image(shot.image), read_labels(shot.labels)
    if image.shape[:2] != labels.shape:
        raise DataError(f"{shot.labels} wants the size of its image {image.shape[:2]}, got {labels.shape}")
    return image, labels


def read_clip(
    shots: Sequence[Shot], wanted: int, read_labels: Callable[[Path], UInt8Array]
) -> tuple[UInt8Array, UInt8Array]:
    """`(wanted, H, W, 3)` of the last frames of `shots`, and the last one's labels; DataError where there are fewer."""
    if len(shots) < wanted:
        raise DataError(f"a clip of {wanted} frames was wanted up to {shots[-1].image}, {len(shots)} are there")
    image, labels = read_pair(shots[-1], read_labels)
    before = [read_image(shot.image) for shot in shots[len(shots) - wanted : -1]]
    return np.stack([*before, image]), labels
