# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The clips a phase trains on: pictures of its sources, moved into pseudo-video or taken from synthetic drives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vss_ros.core.errors import TrainError
from vss_ros.core.frame import UNLABELLED
from vss_ros.data.pseudo_video import PseudoVideo
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.train.datasets import DATA_SETS, Picture, Pictures
from vss_ros.train.recipe import Data, Phase, Recipe

Rng = np.random.Generator
Item = tuple[Tensor, Tensor]  # images (T, H, W, 3) uint8, labels of the last frame (H, W) uint8

_DRIVE_FRAMES = 400  # long enough that a moment drawn from it shows another part of the street
_FIRST_SEED = 1_000  # far from the small seeds that demos and tests render


class Stills:
    """Labelled pictures that a clip is made from by moving them.

    Args:
        pictures: `(H, W, 3)` images with `(H, W)` labels.
        focus: share of the clips that are centred on a pixel of a class, each class equally often; a class that fills
            a thousandth of the pixels is otherwise met too seldom to be learned in a short training. Reads all
            pictures once.
    """

    def __init__(self, pictures: Pictures, focus: float = 0.0) -> None:
        self._pictures = pictures
        self._focus = focus
        self._holding: dict[int, list[int]] = {}  # pictures by the classes they show
        for index in range(len(pictures)) if focus else ():
            labels = pictures[index][1]
            for label in np.unique(labels[labels != UNLABELLED]):
                self._holding.setdefault(int(label), []).append(index)

    def clip(self, frames: int, moving: PseudoVideo, rng: Rng) -> Picture:
        """`(T, H, W, 3)` images and the last frame's `(H, W)` labels."""
        centre = None
        if self._holding and rng.random() < self._focus:
            label = int(rng.choice(sorted(self._holding)))
            picture = self._pictures[int(rng.choice(self._holding[label]))]
            rows, columns = np.nonzero(picture[1] == label)
            chosen = int(rng.integers(len(rows)))
            centre = (int(columns[chosen]), int(rows[chosen]))
        else:
            picture = self._pictures[int(rng.integers(len(self._pictures)))]
        clip = moving.clip(*picture, frames, rng, centre=centre)
        return clip.images, clip.labels[-1]


class Drives:
    """Short pieces of synthetic drives, cropped and mirrored."""

    def __init__(self, pieces: Sequence[Picture]) -> None:
        self._pieces = pieces  # (T, H, W, 3) and the last frame's labels

    def clip(self, frames: int, moving: PseudoVideo, rng: Rng) -> Picture:
        """`(T, H, W, 3)` images and the last frame's `(H, W)` labels."""
        images, labels = self._pieces[int(rng.integers(len(self._pieces)))]
        height, width = moving.size
        top, left = rng.integers(0, labels.shape[0] - height + 1), rng.integers(0, labels.shape[1] - width + 1)
        images = images[-frames:, top : top + height, left : left + width]
        labels = labels[top : top + height, left : left + width]
        return (images[:, :, ::-1], labels[:, ::-1]) if rng.random() < 0.5 else (images, labels)


class Recordings:
    """Consecutive frames of real videos up to a labelled one, all in one view."""

    def __init__(self, videos: Any) -> None:
        self._videos = videos

    def clip(self, frames: int, moving: PseudoVideo, rng: Rng) -> Picture:
        """`(T, H, W, 3)` images and the last frame's `(H, W)` labels."""
        images, labels = self._videos.clip(int(rng.integers(len(self._videos))), frames)
        return moving.view(images, labels, rng)


Clips = Stills | Drives | Recordings


def open_data(data: Data, root: Path | None, recipe: Recipe, frames: int, focus: float = 0.0) -> Clips:
    """A source for clips of up to `frames` frames, decoded or rendered once where that fits; `focus` as in `Stills`.

    Raises:
        TrainError: an unknown source, or one whose folder or number of drives was not given.
    """
    if data.source in DATA_SETS:
        if root is None:
            raise TrainError(f"source '{data.source}' wants the data folder, got none; say --data DIR")
        data_set = DATA_SETS[data.source]
        pictures = data_set.pictures(root, "train")
        if data_set.videos and frames > 1:
            return Recordings(pictures)
        return Stills([pictures[i] for i in range(len(pictures))] if data_set.in_memory else pictures, focus)
    if data.source != "synthetic" or data.drives < 1:
        raise TrainError(
            f"a data source is one of {', '.join(DATA_SETS)}, or 'synthetic' with at least 1 of drives, got {data}"
        )
    pieces = [_piece(_FIRST_SEED + number, recipe, frames) for number in range(data.drives)]
    return Stills([(images[-1], labels) for images, labels in pieces], focus) if frames == 1 else Drives(pieces)


def _piece(seed: int, recipe: Recipe, frames: int) -> Picture:
    """Consecutive frames of one synthetic street, and the last one's labels."""
    drive = SyntheticDrive(seed=seed, size=recipe.input_size, frames=_DRIVE_FRAMES)
    last = int(np.random.default_rng([recipe.seed, seed]).integers(frames, _DRIVE_FRAMES))
    seen = [drive[i] for i in range(last - frames + 1, last + 1)]
    truth = seen[-1].truth
    assert truth is not None, "a synthetic frame always has truth"
    return np.stack([frame.image for frame in seen]), truth


class PhaseClips:
    """One epoch of a phase; item `i` depends on the seed, phase, epoch and `i` alone, so a run resumes exactly."""

    def __init__(self, recipe: Recipe, phase: Phase, root: Path | None) -> None:
        self._recipe, self._phase = recipe, phase
        self._sources = [open_data(data, root, recipe, phase.remembered + 1, phase.focus) for data in phase.data]
        self._moving = PseudoVideo(phase.crop or recipe.crop, scale=phase.zoom)
        self.epoch = 0

    def __len__(self) -> int:
        return self._phase.samples

    def __getitem__(self, index: int) -> Item:
        key = [self._recipe.seed, self._recipe.phases.index(self._phase), self.epoch]
        batch_rng = np.random.default_rng([*key, index // self._phase.batch])  # a batch has clips of one length
        frames = 1 + (int(batch_rng.integers(1, self._phase.remembered + 1)) if self._phase.remembered else 0)
        rng = np.random.default_rng([*key, index, 1])
        shares = np.array([data.samples for data in self._phase.data], float)
        source = self._sources[int(rng.choice(len(shares), p=shares / shares.sum()))]
        images, labels = source.clip(frames, self._moving, rng)
        return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.ascontiguousarray(labels))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """`images (T, B, H, W, 3)` and `labels (B, H, W)` of this epoch in order; the next batch is drawn meanwhile.

        A thread and not a process: a forked OpenCV hangs on the thread pool it inherited.
        """
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = ahead.submit(self._batch, 0)
            for start in range(0, len(self), self._phase.batch):
                batch = waiting.result()
                following = start + self._phase.batch
                if following < len(self):
                    waiting = ahead.submit(self._batch, following)
                yield batch

    def _batch(self, start: int) -> tuple[Tensor, Tensor]:
        images, labels = zip(*(self[index] for index in range(start, start + self._phase.batch)), strict=True)
        return torch.stack(images, dim=1), torch.stack(labels)
