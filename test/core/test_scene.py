# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.scene import Scene


def halves(left: int, right: int, size: tuple[int, int] = (72, 128)) -> np.ndarray:
    image = np.full((*size, 3), left, np.uint8)
    image[:, size[1] // 2 :] = right
    return image


def test_the_same_picture_has_not_changed() -> None:
    assert Scene.of(halves(10, 200)).change(Scene.of(halves(10, 200))) == pytest.approx(0, abs=1e-6)


def test_by_hand() -> None:
    """Left and right swapped: opposite layout, the same colours. One half in a new colour: half the colours."""
    before = Scene.of(halves(10, 200))
    assert before.change(Scene.of(halves(200, 10))) == pytest.approx(0, abs=1e-6)
    assert before.change(Scene.of(halves(200, 100))) == pytest.approx(0.5)
    assert before.change(Scene.of(halves(250, 100))) == pytest.approx(0.5), "10 and 200 made way for 100 and 250"


def test_a_lamp_switched_on_is_no_cut() -> None:
    assert Scene.of(halves(10, 100)).change(Scene.of(halves(110, 200))) == pytest.approx(0, abs=1e-6)


def test_another_size_is_another_scene() -> None:
    assert Scene.of(halves(10, 200)).change(Scene.of(halves(10, 200, (144, 96)))) == 1.0


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 4), (360, 480), (1080, 1920)])
def test_any_size_has_a_summary(size: tuple[int, int]) -> None:
    scene = Scene.of(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert np.isfinite(scene.layout).all() and scene.colours.sum() == pytest.approx(1)
