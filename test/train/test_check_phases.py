# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a phase cannot do is refused before the first step, not hours later, and nothing is left out without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from test.train.test_recipe import RECIPES  # noqa: E402
from test.train.test_trainer import MEMORY, RECIPE  # noqa: E402
from vss_ros.assemble import build_stages, host_named, plan_for  # noqa: E402
from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.data.labels import load_labels  # noqa: E402
from vss_ros.train.publish import check_phases  # noqa: E402
from vss_ros.train.recipe import Recipe, load_recipe  # noqa: E402


def checked(recipe: Recipe) -> None:
    plan = plan_for(recipe.method, recipe.options)
    with torch.device("meta"):  # names are all that is asked for
        stages = build_stages(
            recipe.method, plan, recipe.net, len(load_labels(recipe.labels)), mean=recipe.mean, std=recipe.std
        )
    check_phases(recipe, plan, host_named(recipe.net), [name for name, _ in stages.named_parameters()])


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_shipped_recipes_can_do_what_they_say(path: Path) -> None:
    checked(load_recipe(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trains": (*MEMORY, "decod.decoder")}, r"phase 2 trains 'decod\.decoder', .* did you mean 'decode\.decoder'"),
        ({"trains": ("zzz",)}, r"phase 2 trains 'zzz', the model has no such part; there are decode\.decoder, encode"),
        ({"distance": 3, "remembered": 0}, "phase 2 has distance 3, which is of methods with keyframes, got 'lmanet'"),
        ({"crop": (63, 80)}, r"phase 2: crop wants multiples of 8 px on erfnet, got \[63, 80\]"),
        ({"crop": (64, 88)}, r"phase 2: crop wants at most input_size \[64, 80\], .*, got \[64, 88\]"),
    ],
)
def test_what_a_later_phase_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    first = RECIPE.phases[0]
    checked(replace(RECIPE, phases=(first, first)))
    with pytest.raises(TrainError, match=message):
        checked(replace(RECIPE, phases=(first, replace(first, **changes))))
