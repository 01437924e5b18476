# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Confidence that means what it says: the fitted temperature, and that it reaches the exported file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from test.train.test_trainer import RECIPE  # noqa: E402
from vss_ros.assemble import load_model, load_settings  # noqa: E402
from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.runtimes.export import read_weights  # noqa: E402
from vss_ros.train.publish import prepare_training, publish  # noqa: E402
from vss_ros.train.recipe import Data, Phase  # noqa: E402
from vss_ros.train.temperature import fit_temperature  # noqa: E402

TINY = replace(
    RECIPE,
    method="single",
    options={},
    phases=(Phase(epochs=1, rate=1e-3, data=(Data("synthetic", samples=4, drives=1),), batch=4),),
)


def test_finds_what_overconfident_logits_were_multiplied_by() -> None:
    rng = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, 5, generator=rng)
    labels = torch.multinomial(honest.softmax(dim=1), 1, generator=rng)[:, 0]
    assert fit_temperature(honest, labels) == pytest.approx(1.0, abs=0.03)
    assert fit_temperature(3.0 * honest, labels) == pytest.approx(3.0, rel=0.03)
    assert fit_temperature(0.5 * honest, labels) == pytest.approx(0.5, rel=0.03)


def test_by_hand() -> None:
    """Right three times out of four: the best confidence of two classes is 3/4, so 2 / T = ln 3."""
    logits, labels = torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2 / np.log(3), abs=1e-3)


def test_stays_in_bounds() -> None:
    logits = torch.tensor([[2.0, 0.0]] * 4)
    assert 0.05 <= fit_temperature(logits, torch.tensor([0, 0, 0, 0])) < 0.2
    assert fit_temperature(logits, torch.tensor([0, 0, 1, 1])) == 20.0
    assert fit_temperature(logits[:0], torch.zeros(0, dtype=torch.long)) == 1.0


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Six frames of Cityscapes' layout, labelled at random: nothing can be sure of anything there."""
    rng = np.random.default_rng(0)
    for kind in ("leftImg8bit", "gtFine"):
        for split in ("train", "val"):
            (tmp_path / kind / split / "ulm").mkdir(parents=True)
    for split in ("train", "val"):
        for number in range(3):
            name = f"ulm_{number:06d}_000019"
            picture, ids = rng.integers(0, 256, (64, 80, 3), np.uint8), rng.integers(7, 14, (64, 80), np.uint8)
            cv2.imwrite(str(tmp_path / "leftImg8bit" / split / "ulm" / f"{name}_leftImg8bit.png"), picture)
            Image.fromarray(ids).save(tmp_path / "gtFine" / split / "ulm" / f"{name}_gtFine_labelIds.png")
    return tmp_path


def test_the_exported_confidence_has_the_cards_temperature(tmp_path: Path, drive: Path) -> None:
    data = (Data("cityscapes", samples=4),)
    recipe = replace(TINY, labels="cityscapes19", phases=(replace(TINY.phases[0], data=data),))
    training = prepare_training(recipe, tmp_path / "run", drive)
    stages = training.run(drive)
    with torch.no_grad():  # sure of what it cannot know
        for parameter in list(stages["decode"].decoder.parameters())[-2:]:
            parameter *= 30
    card = publish(training, stages, tmp_path / "models" / "tiny", drive)
    results = card.results["val"]
    assert card.temperature > 2 and read_weights(card)["decode.temperature"].item() == pytest.approx(card.temperature)
    assert (
        results["ece"] < 0.5 * results["ece_at_temperature_1"]
        and "fitted on this very stream" in results["calibration"]
    )
    image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    streamed = load_model(load_settings(values={"model.name": str(card.folder)})).stream()(Frame(0, image))
    with torch.no_grad():
        features = stages["encode"](torch.from_numpy(image)[None])["features"]
        sure = (stages["decode"].decoder(features)[0] / card.temperature).softmax(0).amax(0)
    assert np.abs(streamed.confidence.astype(int) - (255 * sure).round().int().numpy()).max() <= 1


def test_a_temperature_that_was_started_from_is_not_kept(tmp_path: Path) -> None:
    training = prepare_training(TINY, tmp_path / "run", None)
    training.stages["decode"].temperature.fill_(3.0)
    card = publish(training, training.run(None), tmp_path / "models" / "tiny", None)
    assert card.temperature == 1.0 and read_weights(card)["decode.temperature"].item() == 1.0
