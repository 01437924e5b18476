# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CamVid with SegNet's 11 classes at 480x360: single labelled frames, and the only labelled part at video rate.

The folder holds `<split>/images/*.jpg`, `<split>/labels/*.png` (indexed, 11 = void) and `sequences.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, Frame, UInt8Array
from vss_ros.data.labelled import Shot, read_indices, read_pair
from vss_ros.data.labels import LabelSet, load_labels

ALL = "all"  # drives
_VOID = 11
_FPS = 30  # of frame numbers, in all drives
_PAUSE_NS = 60 * 1_000_000_000  # between drives, longer than any gap that a memory outlives
_LAYOUT = "<split>/images/*.jpg and <split>/labels/*.png"


def camvid_labels() -> LabelSet:
    """The 11 classes, from `config/labels/camvid11.yaml`."""
    return load_labels("camvid11")


class CamVid:
    """The labelled frames of one split: `len(camvid)`, `camvid[i] -> (image, labels)`.

    Args:
        root: the prepared folder.
        split: `train` or `val`.

    Raises:
        DataError: the split is not there, or an image has no label file.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        images = sorted((self.root / split / "images").glob("*.jpg"))
        if not images:
            raise DataError(f"{self.root} was wanted as CamVid with {_LAYOUT}, but split {split!r} has no images")
        self.names: tuple[str, ...] = tuple(path.stem for path in images)
        missing = [name for name in self.names if not self._label_path(name).is_file()]
        if missing:
            raise DataError(
                f"split {split!r} of {self.root} wants one label file per image, "
                f"{len(missing)} are missing, first {missing[0]}.png; copy the labels folder again"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Image `(H, W, 3)` uint8 RGB and labels `(H, W)` uint8 in 0..10, 255 = unlabelled."""
        return self.read(self.names[index])

    def read(self, name: str) -> tuple[UInt8Array, UInt8Array]:
        """The same by name, such as `0016E5_07959`."""
        image = self.root / self.split / "images" / f"{name}.jpg"
        return read_pair(Shot(image, self._label_path(name), 0), _read_labels)

    def _label_path(self, name: str) -> Path:
        return self.root / self.split / "labels" / f"{name}.png"


class CamVidVideo:
    """One drive of a split as a stream of Frames with truth, in the order and at the times it was driven.

    Without a drive it is the run with the highest frame rate: in `val` the 101 frames at 15 Hz of drive 0016E5.

    Args:
        root: the prepared folder.
        split: `train` or `val`.
        drive: such as `0016E5`; all frames of that drive in the split, whatever their distance in time. `all` is every
            labelled frame of the split, drive after drive with a minute between them.

    Raises:
        DataError: no `sequences.json`, or no such drive in the split.
    """

    def __init__(self, root: str | Path, split: str = "val", drive: str | None = None) -> None:
        self._frames = CamVid(root, split)
        self.skipped: dict[str, int] = {}
        self.classes = camvid_labels().names
        sequences = _read_sequences(Path(root) / "sequences.json")
        if drive == ALL:
            self.drive, self.name = ALL, f"camvid/{split}/{ALL}"
            self._entries = _one_after_another(self._frames.names)
            return
        runs = [(name, run) for name, entry in sequences.items() for run in entry["runs"] if run["split"] == split]
        known = sorted({name for name, _ in runs})
        if drive is None and runs:
            best = max(runs, key=lambda named: float(named[1]["label_rate_hz"]))
            drive, wanted = best[0], set(best[1]["names"])
        else:
            wanted = {name for run_drive, run in runs if run_drive == drive for name in run["names"]}
        if drive is None or not wanted:
            raise DataError(f"split {split!r} has no drive {drive!r}; it has: {', '.join(known) or 'none'}")
        self.drive = drive
        self.name = f"camvid/{split}/{drive}"
        fps = int(sequences[drive]["fps_of_frame_numbers"])
        entries = sorted((int(entry["frame"]), str(entry["name"])) for entry in sequences[drive]["frames"])
        self._entries = [(number * 1_000_000_000 // fps, name) for number, name in entries if name in wanted]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Frame:
        stamp_ns, name = self._entries[index]
        image, labels = self._frames.read(name)
        return Frame(stamp_ns, image, stream=self.name, frame_id="camera", truth=labels)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def _one_after_another(names: Sequence[str]) -> list[tuple[int, str]]:
    """Stamps and names of frames such as `0016E5_07959`, numbered at 30 Hz within their drive."""
    entries: list[tuple[int, str]] = []
    start_ns = 0
    for _, of_drive in groupby(sorted(names), key=lambda name: name.rpartition("_")[0]):
        numbered = sorted((_number(name), name) for name in of_drive)
        stamps = [start_ns + (number - numbered[0][0]) * 1_000_000_000 // _FPS for number, _ in numbered]
        entries += [(stamp_ns, name) for stamp_ns, (_, name) in zip(stamps, numbered, strict=True)]
        start_ns = stamps[-1] + _PAUSE_NS
    return entries


def _number(name: str) -> int:
    digits = re.search(r"\d+$", name)
    if digits is None:
        raise DataError(f"a frame of CamVid wants a name with its number, such as 0016E5_07959, got {name}")
    return int(digits[0])


def _read_labels(path: Path) -> UInt8Array:
    labels = read_indices(path)
    if int(labels.max()) > _VOID:
        raise DataError(f"{path} wants indices 0..{_VOID}, got up to {labels.max()}; use SegNet's 11-class labels")
    labels[labels == _VOID] = UNLABELLED
    return labels


def _read_sequences(path: Path) -> dict[str, Any]:
    try:
        sequences: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} was wanted with the frames of each drive in order: {error}; copy it from the prepared folder"
        ) from error
    return sequences
