# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from pathlib import Path

import pytest

from vss_ros.core.errors import TrainError
from vss_ros.train.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "config" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_shipped_recipes_are_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert len(recipe.limits) > 1 and not any("IoU 0" in sentence for sentence in recipe.limits), "figures come later"
    assert recipe.name == path.stem and recipe.phases and recipe.crop[0] % 8 == recipe.crop[1] % 8 == 0
    for phase in recipe.phases:
        assert phase.epochs > 0 and sum(data.samples for data in phase.data) >= phase.batch


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs", "epoch", r"a phase has no key 'epoch'; did you mean 'epochs'\?"),
        ("net: erfnet", "nett: erfnet", r"a recipe has no key 'nett'; did you mean 'net'\?"),
        ("source: camvid,", "", "missing 1 required positional argument: 'source'"),
        ("rate: 2.0e-3", "rate: 2e-3", r"rate wants a number, got '2e-3'; write 2.0e-03 with a point, YAML takes"),
        ("epochs: 110", "epochs: many", r"bad\.yaml: epochs wants a whole number, got 'many'$"),
        ("epochs: 110", "epochs: 0", r"bad\.yaml: epochs wants 1 or more, got 0"),
        ("epochs: 110", "epochs: 1.5", r"epochs wants a whole number, got 1\.5"),
        ("batch: 8", "batch: 900", r"clips for one batch of 900 or more in data, got 400"),
        ("batch: 8", "batch: 0", r"batch wants 1 or more, got 0"),
        ("rate: 2.0e-3", "rate: -1.0", r"a rate above 0 and a balance above 1, got -1\.0 and 1\.05"),
        ("zoom: [0.45, 1.0]", "zoom: 0.5", r"zoom wants a list of 2, each a number, got 0\.5"),
        (
            "zoom: [0.45, 1.0]",
            "zoom: [1.0, 0.45]",
            r"zoom wants two scales above 0, the smaller one first, got \[1\.0, 0",
        ),
        ("crop: [160, 208]", "crop: [160]", r"crop wants a list of 2, each a whole number, got \[160\]"),
        ("focus: 0.4", "focus: 4", r"focus wants 0\.\.1, got 4"),
        ("seed: 0", "seed: -1", r"seed wants 0 or more, got -1"),
        ("seed: 0", "seed: true", r"seed wants a whole number, got True"),
        (
            "data: &pictures\n",
            "data: synthetic\n    unlabelled: &pictures\n",
            r"data wants a list such as .* got 'synthetic'",
        ),
        ("drives: 120}", "drives: 120, part: [0.5, 0.5]}", r"part wants two shares in 0\.\.1, the smaller one first"),
        ("limits:\n", "limits: Not by night.\nrest:\n", r"limits wants a list, each text, got 'Not by night\.'"),
        ("phases:\n", "phases: [3]\nrest:\n", r"a phase wants keys with values, got 3"),
        ("name: single", "name: [single", r"bad\.yaml wants YAML: .*; compare it with config/recipes"),
    ],
)
def test_refuses_with_the_nearest_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = next(path for path in RECIPES if path.stem == "single_erfnet_camvid").read_text()
    assert old in text
    (tmp_path / "bad.yaml").write_text(text.replace(old, new))
    with pytest.raises(TrainError, match=message):
        load_recipe(tmp_path / "bad.yaml")


def test_what_the_card_warns_of_makes_no_other_recipe() -> None:
    """A checkpoint is of the recipe whose repr it holds."""
    recipe = load_recipe(RECIPES[0])
    assert repr(replace(recipe, limits=())) == repr(recipe) != repr(replace(recipe, seed=1))


def test_refuses_a_file_without_phases(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\n")
    with pytest.raises(TrainError, match="a mapping with a list of phases"):
        load_recipe(tmp_path / "bad.yaml")
    with pytest.raises(TrainError, match="at least one phase, got none"):
        replace(load_recipe(RECIPES[0]), phases=())
