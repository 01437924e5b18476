# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from vss_ros.core.errors import TrainError
from vss_ros.train.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "config" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_shipped_recipes_are_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem and recipe.phases and recipe.crop[0] % 8 == recipe.crop[1] % 8 == 0
    for phase in recipe.phases:
        assert phase.epochs > 0 and sum(data.samples for data in phase.data) >= phase.batch


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs", "epoch", r"a phase has no key 'epoch'; did you mean 'epochs'\?"),
        ("net: erfnet", "nett: erfnet", r"a recipe has no key 'nett'; did you mean 'net'\?"),
        ("source: camvid,", "", "missing 1 required positional argument: 'source'"),
    ],
)
def test_refuses_with_the_nearest_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = next(path for path in RECIPES if path.stem == "single_erfnet_camvid").read_text()
    assert old in text
    (tmp_path / "bad.yaml").write_text(text.replace(old, new))
    with pytest.raises(TrainError, match=message):
        load_recipe(tmp_path / "bad.yaml")


def test_refuses_a_file_without_phases(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\n")
    with pytest.raises(TrainError, match="a mapping with a list of phases"):
        load_recipe(tmp_path / "bad.yaml")
