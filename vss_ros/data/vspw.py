# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VSPW at 480p: videos of all kinds of scenes in which every frame is labelled with 124 classes.

The folder holds `data/<video>/origin/*.jpg`, `data/<video>/mask/*.png`, `train.txt` and `val.txt` with names of videos,
and `label_num_dic_final.json` with names of classes. Source: Miao et al., CVPR 2021.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, UInt8Array
from vss_ros.data.labelled import Shot, SnippetVideo, read_clip, read_indices, read_pair
from vss_ros.data.labels import LabelSet

_CLASSES = 124
_FPS = 15.0
_NAMES = "label_num_dic_final.json"


def vspw_labels(root: str | Path) -> LabelSet:
    """The 124 classes as the data set's own folder names them; colours are PASCAL VOC's, by the mask's index.

    Raises:
        DataError: the file of names is missing, or does not number 1..124.
    """
    path = Path(root) / _NAMES
    try:
        numbers = {int(number): str(name) for name, number in json.loads(path.read_text(encoding="utf-8")).items()}
        names = tuple(numbers[index] for index in range(1, _CLASSES + 1))
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} was wanted with a number from 1 to {_CLASSES} for each class, "
            f"got {type(error).__name__}: {error}; copy it from the data set"
        ) from error
    palette = np.array([_voc_colour(index) for index in range(1, _CLASSES + 1)], np.uint8)
    palette.setflags(write=False)
    return LabelSet(f"vspw{_CLASSES}", names, palette)


class VSPW:
    """The frames of one split: `len(vspw)`, `vspw[i] -> (image, labels)`.

    Args:
        root: folder with `data` and `<split>.txt`.
        split: `train` or `val`.

    Raises:
        DataError: the split is not there, a video is empty, or an image has no mask.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        listed = self.root / f"{split}.txt"
        if not listed.is_file():
            raise DataError(f"{self.root} was wanted as VSPW with data/<video>/origin and {split}.txt, it has none")
        self.videos = {name: self._shots(name) for name in listed.read_text(encoding="utf-8").split()}
        self._index = [(name, number) for name, shots in self.videos.items() for number in range(len(shots))]
        self.names: tuple[str, ...] = tuple(f"{name}/{self.videos[name][n].image.stem}" for name, n in self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Image `(H, W, 3)` uint8 RGB and labels `(H, W)` uint8 in 0..123, 255 = unlabelled."""
        name, number = self._index[index]
        return read_pair(self.videos[name][number], read_mask)

    def read(self, name: str) -> tuple[UInt8Array, UInt8Array]:
        """The same by name, such as `127_-hIVCYO4C90/00000024`."""
        return self[self.names.index(name)]

    def clip(self, index: int, frames: int) -> tuple[UInt8Array, UInt8Array]:
        """`(frames, H, W, 3)` consecutive images that end with that one, and its labels.

        Where too few come before it, the clip ends later in the same video.

        Raises:
            DataError: the video has fewer frames.
        """
        name, number = self._index[index]
        return read_clip(self.videos[name][: max(number + 1, frames)], frames, read_mask)

    def _shots(self, video: str) -> list[Shot]:
        folder = self.root / "data" / video
        images = sorted((folder / "origin").glob("*.jpg"))
        masks = [folder / "mask" / f"{image.stem}.png" for image in images]
        missing = [mask for mask in masks if not mask.is_file()]
        if missing or not images:
            found = f"{len(missing)} are missing, first {missing[0].name}" if missing else "it has no images"
            raise DataError(f"{folder} wants origin/*.jpg with one mask each, but {found}; copy the video again")
        return [Shot(image, mask, n) for n, (image, mask) in enumerate(zip(images, masks, strict=True))]


class VSPWVideo(SnippetVideo):
    """The videos of a split one after another, at 15 Hz, every frame with truth.

    Args:
        root: as `VSPW` has it.
        split: `train` or `val`.
        drive: name of one video; None for all.

    Raises:
        DataError: no such video in the split.
    """

    def __init__(self, root: str | Path, split: str = "val", drive: str | None = None) -> None:
        videos = VSPW(root, split).videos
        if drive is not None and drive not in videos:
            raise DataError(f"split {split!r} has no drive {drive!r}; it has {len(videos)} videos, see {split}.txt")
        snippets = [shots for name, shots in videos.items() if drive in (None, name)]
        classes = vspw_labels(root).names if (Path(root) / _NAMES).is_file() else None
        super().__init__(f"vspw/{split}/{drive or 'all'}", snippets, _FPS, read_mask, classes)


def read_mask(path: Path) -> UInt8Array:
    """`(H, W)` uint8 in 0..123 of a mask file; its 0 (others) and 255 (void) are 255.

    Raises:
        DataError: another value.
    """
    mask = read_indices(path)
    void = (mask == 0) | (mask == UNLABELLED)
    labels = np.where(void, UNLABELLED, mask - np.uint8(1)).astype(np.uint8)
    if labels[~void].size and int(labels[~void].max()) >= _CLASSES:
        raise DataError(f"{path} wants 0..{_CLASSES} or 255, got up to {labels[~void].max() + 1}; use VSPW's masks")
    return labels


def _voc_colour(index: int) -> tuple[int, int, int]:
    """PASCAL VOC's colour of an index: its bits are dealt to red, green and blue in turn, highest first."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return colour[0], colour[1], colour[2]
