# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cityscapes with its 19 evaluated classes: single labelled frames, and the snippets of 30 frames around them.

The folder holds `leftImg8bit/<split>/<city>/*_leftImg8bit.png`, `gtFine/<split>/<city>/*_gtFine_labelIds.png` and, for
clips, `leftImg8bit_sequence/<split>/<city>/*_leftImg8bit.png`. Source: Cordts et al., CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, UInt8Array
from vss_ros.data.labelled import Shot, SnippetVideo, read_clip, read_indices, read_pair
from vss_ros.data.labels import LabelSet, load_labels

_IMAGE, _LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"
_BEFORE, _AFTER = 19, 10  # frames of a snippet round its labelled one
_FPS = 17.0
# the data set's ids of our 0..18
_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def cityscapes_labels() -> LabelSet:
    """The 19 classes, from `config/labels/cityscapes19.yaml`."""
    return load_labels("cityscapes19")


class Cityscapes:
    """The finely labelled frames of one split: `len(cityscapes)`, `cityscapes[i] -> (image, labels)`.

    Args:
        root: folder with `leftImg8bit` and `gtFine`.
        split: `train` or `val`.

    Raises:
        DataError: the split is not there, or an image has no label file.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        images = sorted((self.root / "leftImg8bit" / split).glob(f"*/*{_IMAGE}"))
        if not images:
            raise DataError(
                f"{self.root} was wanted as Cityscapes with leftImg8bit/<split>/<city>/*{_IMAGE} and "
                f"gtFine/<split>/<city>/*{_LABELS}, but split {split!r} has no images"
            )
        self.names: tuple[str, ...] = tuple(path.name.removesuffix(_IMAGE) for path in images)
        missing = [name for name in self.names if not self._labelled(name).is_file()]
        if missing:
            raise DataError(
                f"split {split!r} of {self.root} wants one label file per image, "
                f"{len(missing)} are missing, first {missing[0]}{_LABELS}; unpack gtFine too"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Image `(H, W, 3)` uint8 RGB and labels `(H, W)` uint8 in 0..18, 255 = unlabelled."""
        return self.read(self.names[index])

    def read(self, name: str) -> tuple[UInt8Array, UInt8Array]:
        """The same by name, such as `aachen_000000_000019`."""
        image = self.root / "leftImg8bit" / self.split / _city(name) / f"{name}{_IMAGE}"
        return read_pair(Shot(image, self._labelled(name), 0), read_train_ids)

    def clip(self, index: int, frames: int) -> tuple[UInt8Array, UInt8Array]:
        """`(frames, H, W, 3)` consecutive images that end with the labelled one, and its labels.

        Raises:
            DataError: `leftImg8bit_sequence` does not have them.
        """
        snippet = self.snippet(self.names[index])
        until_labelled = [shot for shot in snippet if shot.number <= _BEFORE]
        return read_clip(until_labelled, frames, read_train_ids)

    def snippet(self, name: str) -> list[Shot]:
        """The frames that were recorded round a labelled one; without the sequences, that one alone."""
        city, sequence, frame = _city(name), *name.split("_")[-2:]
        shots = []
        for number in range(-_BEFORE, _AFTER + 1):
            other = f"{city}_{sequence}_{int(frame) + number:06d}"
            path = self.root / "leftImg8bit_sequence" / self.split / city / f"{other}{_IMAGE}"
            if number == 0:
                still = self.root / "leftImg8bit" / self.split / city / f"{name}{_IMAGE}"
                shots.append(Shot(still, self._labelled(name), _BEFORE))
            elif path.is_file():
                shots.append(Shot(path, None, _BEFORE + number))
        return shots

    def _labelled(self, name: str) -> Path:
        return self.root / "gtFine" / self.split / _city(name) / f"{name}{_LABELS}"


class CityscapesVideo(SnippetVideo):
    """The snippets of a split one after another, at 17 Hz; truth is on the 20th frame of each.

    Args:
        root: as `Cityscapes` has it.
        split: `train` or `val`.
        drive: a city such as `frankfurt`; None for all.

    Raises:
        DataError: no such city in the split.
    """

    def __init__(self, root: str | Path, split: str = "val", drive: str | None = None) -> None:
        frames = Cityscapes(root, split)
        cities = sorted({_city(name) for name in frames.names})
        if drive is not None and drive not in cities:
            raise DataError(f"split {split!r} has no drive {drive!r}; it has: {', '.join(cities)}")
        snippets = [frames.snippet(name) for name in frames.names if drive in (None, _city(name))]
        name, classes = f"cityscapes/{split}/{drive or 'all'}", cityscapes_labels().names
        super().__init__(name, snippets, _FPS, read_train_ids, classes)


def read_train_ids(path: Path) -> UInt8Array:
    """`(H, W)` uint8 in 0..18 of a `labelIds` file; what is not evaluated is 255."""
    to_label = np.full(256, UNLABELLED, np.uint8)
    to_label[list(_EVALUATED)] = np.arange(len(_EVALUATED))
    return to_label[read_indices(path)]


def _city(name: str) -> str:
    return name.split("_")[0]
