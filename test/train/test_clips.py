# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which part of a still a clip shows: anywhere, or about a pixel of a class that would be met too seldom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from torch import nn

from test.train.test_trainer import RECIPE as TINY
from vss_ros.data.pseudo_video import PseudoVideo
from vss_ros.train.clips import PhaseClips, Stills
from vss_ros.train.publish import prepare_training
from vss_ros.train.recipe import Data, Phase, load_recipe

ROAD, SIGN = 0, 7
RECIPE = replace(
    TINY,
    method="single",
    options={},
    phases=(Phase(epochs=1, rate=1e-3, data=(Data("synthetic", samples=4, drives=1),), batch=4),),
    input_size=(96, 128),
)


def stills(focus: float) -> Stills:
    """Ten streets, and one of them with a sign of four pixels."""
    image, labels = np.full((200, 300, 3), 90, np.uint8), np.full((200, 300), ROAD, np.uint8)
    labels[:5] = 255
    signed = labels.copy()
    signed[120:122, 250:252] = SIGN
    return Stills([(image, labels)] * 9 + [(image, signed)], focus)


@pytest.mark.parametrize(("focus", "low", "high"), [(0.0, 0.0, 0.1), (0.5, 0.15, 0.4), (1.0, 0.35, 0.65)])
def test_a_focus_shows_every_class_equally_often(focus: float, low: float, high: float) -> None:
    moving, rng, source = PseudoVideo((64, 80), scale=(1.0, 1.0)), np.random.default_rng(0), stills(focus)
    shown = [bool((source.clip(1, moving, rng)[1] == SIGN).any()) for _ in range(200)]
    assert low <= np.mean(shown) <= high


def test_a_wanted_centre_does_not_lead_out_of_the_still() -> None:
    image, labels = np.full((200, 300, 3), 90, np.uint8), np.full((200, 300), ROAD, np.uint8)
    moving = PseudoVideo((64, 80), scale=(1.0, 1.0), turn_deg=0.0, pan_px=0.0)
    for centre in ((0, 0), (299, 199), (150, 100)):
        shares = [
            np.mean(moving.clip(image, labels, 1, np.random.default_rng(seed), centre=centre).labels == ROAD)
            for seed in range(20)
        ]
        assert np.mean(shares) > 0.93, "more than the corners that a small rotation cuts off"


def test_a_wanted_centre_is_in_the_middle() -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[99:102, 149:152] = SIGN
    image = np.zeros((200, 300, 3), np.uint8)
    moving = PseudoVideo((64, 80), scale=(1.0, 1.0))
    seen = moving.clip(image, labels, 1, np.random.default_rng(3), centre=(150, 100)).labels[0]
    row, column = (float(where.mean()) for where in np.nonzero(seen == SIGN))
    assert row == pytest.approx(32, abs=2) and column == pytest.approx(40, abs=2)


def test_a_phase_may_have_its_own_crop_and_zoom() -> None:
    phase = replace(RECIPE.phases[0], crop=(32, 48), zoom=(0.5, 0.6))
    images, labels, _ = PhaseClips(replace(RECIPE, phases=(phase,)), 0, None)[0]
    assert images.shape == (1, 32, 48, 3) and labels.shape == (32, 48)


def test_a_phase_may_move_faster() -> None:
    phase = replace(RECIPE.phases[0], motion=3.0, wear=0.5)
    moving = PhaseClips(replace(RECIPE, phases=(phase,)), 0, None)._moving
    still = PseudoVideo(moving.size, scale=phase.zoom)
    assert (moving.pan_px, moving.zoom_rate, moving.turn_deg) == pytest.approx(
        (3 * still.pan_px, 3 * still.zoom_rate, 3 * still.turn_deg)
    )
    assert moving.wear == 0.5 and moving.light == still.light


def test_a_recipe_may_ask_for_less_dropout(tmp_path: Path) -> None:
    rates = {
        share: [
            module.p
            for module in prepare_training(replace(RECIPE, dropout=share), tmp_path, None).stages.modules()
            if isinstance(module, nn.Dropout2d)
        ]
        for share in (1.0, 0.5)
    }
    assert max(rates[1.0]) == 0.3 and rates[0.5] == [rate / 2 for rate in rates[1.0]]


def test_lists_of_a_recipe_file_become_what_the_fields_say() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "config" / "recipes" / "single_erfnet_camvid.yaml")
    first = recipe.phases[0]
    assert (recipe.crop, first.crop, first.zoom, first.focus) == ((240, 320), (160, 208), (0.45, 1.0), 0.4)
