# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which epoch's weights are given back, and what whoever watches is told meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from test.train.test_trainer import RECIPE  # noqa: E402
from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.train.progress import Pace, Progress  # noqa: E402
from vss_ros.train.publish import prepare_training, publish  # noqa: E402
from vss_ros.train.recipe import Data, Phase  # noqa: E402
from vss_ros.train.trainer import Training  # noqa: E402

STREETS = (Data("synthetic", samples=8, drives=1),)
SINGLE = replace(
    RECIPE, method="single", options={}, phases=(Phase(epochs=4, rate=1e-3, data=STREETS, batch=4),), keep="best"
)


class Validation:
    """Gives prepared figures, and keeps the weights it was shown."""

    def __init__(self, *figures: float) -> None:
        self.figures, self.shown = list(figures), []

    def __call__(self, averaged: Any) -> dict[str, float]:
        self.shown.append({name: tensor.clone() for name, tensor in averaged.state_dict().items()})
        return {"val_miou": self.figures.pop(0)}


def training_of(folder: Path, validation: Validation, keep: str = "best") -> Training:
    training = prepare_training(replace(SINGLE, keep=keep), folder, None)
    training.measure, training.measure_every = validation, 1
    return training


@pytest.mark.parametrize(
    ("keep", "figures", "taken"),
    [("best", (0.1, 0.4, 0.2, 0.3), 2), ("best", (0.1, 0.2, 0.3, 0.3), 4), ("last", (0.1, 0.4, 0.2, 0.3), 4)],
)
def test_the_epoch_that_is_taken(tmp_path: Path, keep: str, figures: tuple[float, ...], taken: int) -> None:
    validation = Validation(*figures)
    training = training_of(tmp_path, validation, keep)
    stages = training.run(None).state_dict()
    assert training.epoch_taken == taken
    assert all(stages[name].equal(tensor) for name, tensor in validation.shown[taken - 1].items())
    assert (tmp_path / "best.pt").exists() == (keep == "best")


def test_the_best_epoch_outlives_a_stop_and_is_named_on_the_card(tmp_path: Path) -> None:
    first = training_of(tmp_path / "run", Validation(0.5))
    assert not first.run(None, minutes=0).training and first.epoch_taken == 1 and not first.finished
    second = training_of(tmp_path / "run", Validation(0.1, 0.2, 0.3))
    stages = second.run(None)
    assert second.finished and second.epoch_taken == 1
    card = publish(second, stages, tmp_path / "models" / "tiny", None)
    assert (card.training["epochs"], card.training["epoch_taken"]) == (4, 1)
    assert "best val mIoU" in card.training["chosen_by"] and "optimistic" in card.training["chosen_by"]


def test_the_best_epoch_may_be_one_before_the_recipe_grew(tmp_path: Path) -> None:
    training_of(tmp_path, Validation(0.1, 0.9, 0.2, 0.3)).run(None)
    more = replace(SINGLE, phases=(*SINGLE.phases, Phase(epochs=1, rate=1e-3, data=STREETS, batch=4)))
    grown = prepare_training(more, tmp_path, None)
    grown.measure, grown.measure_every = Validation(0.5), 1
    grown.run(None)
    assert grown.done == 5 and grown.epoch_taken == 2


def test_best_wants_something_to_choose_by(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="keep 'best' wants a validation stream"):
        prepare_training(SINGLE, tmp_path, None).run(None)
    with pytest.raises(TrainError, match="keep wants 'last' or 'best', got 'first'"):
        replace(SINGLE, keep="first")


def test_every_step_is_told(tmp_path: Path) -> None:
    told: list[Progress] = []
    recipe = replace(SINGLE, keep="last", phases=(replace(SINGLE.phases[0], epochs=2),))
    prepare_training(recipe, tmp_path, None, observe=told.append).run(None)
    assert [(p.epoch, p.epochs, p.step, p.steps) for p in told] == [(e, 2, s, 2) for e in (1, 2) for s in (1, 2)]
    assert all(p.loss > 0 and p.rate > 0 and p.left_s >= 0 for p in told) and told[-1].left_s == 0


def test_time_is_left_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four small steps, then one epoch of four pictures that are four times as large and have two frames each."""
    now_s = 100.0
    monkeypatch.setattr("vss_ros.train.progress.time.monotonic", lambda: now_s)
    small = Phase(epochs=2, rate=1e-3, data=STREETS, batch=4, crop=(32, 40))
    large = replace(small, epochs=1, batch=8, crop=(64, 80), remembered=1)
    pace = Pace(replace(SINGLE, phases=(small, large)), 0, epochs_left=2)
    now_s = 101.0
    assert pace.step() == pytest.approx(3 + 2 * 4 * 2)
    now_s = 103.0
    assert pace.step() == pytest.approx(1.5 * (2 + 2 * 4 * 2))
