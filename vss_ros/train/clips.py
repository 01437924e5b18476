# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The clips a phase trains on: pictures of its sources, moved into pseudo-video or taken from synthetic drives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vss_ros.core.errors import TrainError
from vss_ros.core.frame import UNLABELLED, FloatArray, UInt8Array
from vss_ros.core.prepare import nearest
from vss_ros.data.pseudo_video import PseudoVideo
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.train.datasets import DATA_SETS, Picture, Pictures
from vss_ros.train.recipe import Data, Phase, Recipe

Rng = np.random.Generator
# images (T, H, W, 3) uint8, labels of the last frame (H, W) uint8, motion (T, h, w, 2) px to the first frame or None
Item = tuple[Tensor, Tensor, Tensor | None]
Pair = tuple[UInt8Array, UInt8Array, FloatArray]  # an item whose clip is a keyframe and a later frame

_DRIVE_FRAMES = 400  # long enough that a moment drawn from it shows another part of the street
_FIRST_SEED = 1_000  # far from the small seeds that demos and tests render
_BLOCK = 16  # px; motion is told for blocks of this size, as a codec's is


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
        picture, centre = self._drawn(rng)
        clip = moving.clip(*picture, frames, rng, centre=centre)
        return clip.images, clip.labels[-1]

    def pair(self, distance: int, moving: PseudoVideo, rng: Rng) -> Pair:
        """`(2, H, W, 3)` images up to `distance` frames apart, the last one's labels, and motion of 16x16 px blocks."""
        picture, centre = self._drawn(rng)
        apart = int(rng.integers(1, distance + 1))
        clip = moving.clip(*picture, 2, rng, centre=centre, distance=apart)
        blocks = -(-moving.size[0] // _BLOCK), -(-moving.size[1] // _BLOCK)
        return clip.images, clip.labels[-1], np.stack([nearest(motion, blocks) for motion in clip.motion])

    def _drawn(self, rng: Rng) -> tuple[Picture, tuple[int, int] | None]:
        """A picture, and the pixel it is to be centred on."""
        if not self._holding or rng.random() >= self._focus:
            return self._pictures[int(rng.integers(len(self._pictures)))], None
        label = int(rng.choice(sorted(self._holding)))
        picture = self._pictures[int(rng.choice(self._holding[label]))]
        rows, columns = np.nonzero(picture[1] == label)
        chosen = int(rng.integers(len(rows)))
        return picture, (int(columns[chosen]), int(rows[chosen]))


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


class Part:
    """Some of a data set's pictures or videos.

    Args:
        whole: the data set.
        part: from which to which share of it.
        seed: shuffles it first, so that each part has pictures of all drives.

    Raises:
        TrainError: there is nothing in the part.
    """

    def __init__(self, whole: Any, part: tuple[float, float], seed: int) -> None:
        self._whole = whole
        order = np.random.default_rng(seed).permutation(len(whole))
        self._chosen = order[round(part[0] * len(whole)) : round(part[1] * len(whole))]
        if not len(self._chosen):
            raise TrainError(f"a part wants two shares in 0..1 with pictures between them, got {part}")

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int, /) -> Picture:
        picture: Picture = self._whole[int(self._chosen[index])]
        return picture

    def clip(self, index: int, frames: int) -> Picture:
        """`(T, H, W, 3)` images of a video, and the last one's labels."""
        clip: Picture = self._whole.clip(int(self._chosen[index]), frames)
        return clip


def part_of(whole: Any, part: tuple[float, float], seed: int) -> Any:
    """A data set's pictures or videos, or the `Part` of them that a recipe asks for."""
    return whole if part == (0.0, 1.0) else Part(whole, part, seed)


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
        pictures = part_of(data_set.pictures(root, "train"), data.part, recipe.seed)
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


def _moving(size: tuple[int, int], phase: Phase) -> PseudoVideo:
    still = PseudoVideo(size, scale=phase.zoom, wear=phase.wear)
    rates = {name: phase.motion * getattr(still, name) for name in ("pan_px", "zoom_rate", "turn_deg")}
    return replace(still, **rates)


class PhaseClips:
    """One epoch of a phase; item `i` depends on the seed, phase, epoch and `i` alone, so a run resumes exactly.

    Args:
        recipe: what is trained.
        number: of the phase.
        root: folder of its data set.
        unlabelled: draw from the phase's unlabelled sources: as many clips, of the same lengths.
    """

    def __init__(self, recipe: Recipe, number: int, root: Path | None, *, unlabelled: bool = False) -> None:
        phase = recipe.phases[number]
        self._phase, self._seeds, self._salt = phase, (recipe.seed, number), 2 if unlabelled else 1
        self._data = phase.unlabelled if unlabelled else phase.data
        focus = 0.0 if unlabelled else phase.focus  # what is in a picture without labels, nobody knows
        self._sources = [open_data(data, root, recipe, phase.remembered + 1, focus) for data in self._data]
        self._moving = _moving(phase.crop or recipe.crop, phase)
        self.epoch = 0

    def __len__(self) -> int:
        return self._phase.samples

    def __getitem__(self, index: int) -> Item:
        key = [*self._seeds, self.epoch]
        batch_rng = np.random.default_rng([*key, index // self._phase.batch])  # a batch has clips of one length
        frames = 1 + (int(batch_rng.integers(1, self._phase.remembered + 1)) if self._phase.remembered else 0)
        rng = np.random.default_rng([*key, index, self._salt])
        shares = np.array([data.samples for data in self._data], float)
        source = self._sources[int(rng.choice(len(shares), p=shares / shares.sum()))]
        if self._phase.distance:
            assert isinstance(source, Stills), "clips of one frame are made of stills"
            return _tensors(*source.pair(self._phase.distance, self._moving, rng))
        return _tensors(*source.clip(frames, self._moving, rng))

    def batches(self) -> Iterator[Item]:
        """Items of this epoch in order, batched: `(T, B, H, W, 3)`, `(B, H, W)`; the next one is drawn meanwhile.

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

    def _batch(self, start: int) -> Item:
        items = [self[index] for index in range(start, start + self._phase.batch)]
        images, labels, motions = zip(*items, strict=True)
        motion = None if motions[0] is None else torch.stack(motions, dim=1)
        return torch.stack(images, dim=1), torch.stack(labels), motion


def _tensors(images: UInt8Array, labels: UInt8Array, motion: FloatArray | None = None) -> Item:
    made = (torch.from_numpy(np.ascontiguousarray(x)) for x in (images, labels))
    return *made, None if motion is None else torch.from_numpy(motion)  # type: ignore[return-value]
