# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How sure a difference between two models is, when both saw the same video once.

Blocks of consecutive frames are drawn, the same for both: frames of a video resemble their neighbours, and drawing them
one by one would make the interval too narrow. The video is closed to a ring, so that its ends are drawn as often as its
middle (circular block bootstrap, Politis and Romano 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vss_ros.evaluate.metrics import ConfusionMatrix

RESAMPLED = 1000  # draws
BLOCK = 15  # frames; neighbours err alike, so whole seconds are drawn

Counts = npt.NDArray[np.int64]
Pairs = tuple[Counts, Counts]  # which entries of a frame's confusion matrix are not zero, and what they are
Interval = tuple[float, float, float]  # 2.5 %, the difference itself, 97.5 %


def pairs_of(counts: Counts) -> Pairs:
    """A frame's confusion matrix without its zeros: of 124 classes a frame shows ten, and frames are many."""
    where = np.flatnonzero(counts)
    return where, counts.ravel()[where]


def miou_difference(one: Sequence[Pairs], other: Sequence[Pairs], classes: int, seed: int = 0) -> Interval:
    """mIoU(one) - mIoU(other) with its 95 % interval.

    Args:
        one, other: confusion matrices `(K, K + 1)` of the same frames in order, as `pairs_of` gives them.
        classes: K.
        seed: of the draws.
    """
    first, second = _miou_of(one, classes), _miou_of(other, classes)
    return _interval(lambda times: first(times) - second(times), len(one), seed)


def mean_difference(one: Sequence[float], other: Sequence[float], seed: int = 0) -> Interval:
    """mean(one) - mean(other) of the same windows in order, with its 95 % interval."""
    difference = np.asarray(one) - np.asarray(other)
    return _interval(lambda times: float(np.average(difference, weights=times)), len(difference), seed)


def _interval(difference: Callable[[Counts], float], frames: int, seed: int) -> Interval:
    # where few frames are labelled, a draw may have none of them, and says nothing
    low, high = np.nanpercentile([difference(times) for times in _draws(frames, seed)], (2.5, 97.5))
    return float(low), difference(np.ones(frames, np.int64)), float(high)


def _draws(frames: int, seed: int) -> Iterator[Counts]:
    """How often each frame is in a draw."""
    block, rng = min(BLOCK, frames), np.random.default_rng(seed)
    for _ in range(RESAMPLED):
        starts = rng.integers(0, frames, -(-frames // block))
        drawn = (starts[:, None] + np.arange(block)).ravel()[:frames] % frames
        yield np.bincount(drawn, minlength=frames)


def _miou_of(frames: Sequence[Pairs], classes: int) -> Callable[[Counts], float]:
    """mIoU of a draw."""
    where, counts = (np.concatenate(parts) for parts in zip(*frames, strict=True))
    frame = np.repeat(np.arange(len(frames)), [len(each) for each, _ in frames])

    def miou(times: Counts) -> float:
        confusion = ConfusionMatrix(classes)
        summed = np.bincount(where, weights=counts * times[frame], minlength=confusion.counts.size)
        confusion.counts = summed.astype(np.int64).reshape(classes, classes + 1)
        return confusion.miou()

    return miou
