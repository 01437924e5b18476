# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a training tells whoever watches it, after every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vss_ros.train.recipe import Phase, Recipe


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is.

    Attributes:
        epoch: the epoch it is in, counted over all phases from 1.
        epochs: of the whole recipe.
        step: steps of this epoch that are done.
        steps: of this epoch.
        loss: mean of this epoch so far.
        rate: learning rate of the last step.
        left_s: seconds until the recipe ends, at this phase's pace so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rate: float
    left_s: float


Observer = Callable[[Progress], None]


class Pace:
    """Estimates the time that is left from the pixels that are left; measured anew in each phase.

    Args:
        recipe: what is to be done.
        phase: number of the phase that begins or is resumed.
        epochs_left: epochs of that phase that are left.
    """

    def __init__(self, recipe: Recipe, phase: int, epochs_left: int) -> None:
        self._started = time.monotonic()
        self._done = 0
        self._step = _pixels_per_clip(recipe, recipe.phases[phase]) * recipe.phases[phase].batch
        later = sum(p.epochs * _pixels_per_epoch(recipe, p) for p in recipe.phases[phase + 1 :])
        self._all = epochs_left * _pixels_per_epoch(recipe, recipe.phases[phase]) + later

    def step(self) -> float:
        """One more step is done; returns the seconds that are left."""
        self._done += self._step
        spent_s = time.monotonic() - self._started
        return max(self._all - self._done, 0) * spent_s / self._done


def _pixels_per_clip(recipe: Recipe, phase: Phase) -> int:
    """Twice the mean, to stay with whole numbers: a clip has 1 frame, or 1 and 1..remembered past ones."""
    height, width = phase.crop or recipe.crop
    return height * width * (3 + phase.remembered if phase.remembered else 2)


def _pixels_per_epoch(recipe: Recipe, phase: Phase) -> int:
    return _pixels_per_clip(recipe, phase) * phase.samples


def unobserved(progress: Progress) -> None:
    """Nobody watches."""
