# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import FrameError
from vss_ros.core.prepare import like, nearest


@pytest.mark.parametrize("camera", [(375, 1242), (1080, 1920), (360, 480), (481, 639), (1920, 1080), (16, 2000)])
def test_like_keeps_aspect_and_cost(camera: tuple[int, int]) -> None:
    height, width = like(camera, (360, 480), 8)
    assert height % 8 == width % 8 == 0
    assert 0.8 < height * width / (360 * 480) < 1.25
    assert width / height == pytest.approx(camera[1] / camera[0], rel=0.12)


def test_like_gives_the_models_size_for_the_models_camera() -> None:
    assert like((360, 480), (360, 480), 8) == (360, 480)


def test_like_refuses_a_picture_too_small_to_have_cells() -> None:
    with pytest.raises(FrameError, match="at least 16x16 px was wanted, got 40x15"):
        like((15, 40), (360, 480), 8)


def test_nearest_repeats_and_picks_centres() -> None:
    labels = np.array([[1, 2], [3, 4]], np.uint8)
    assert nearest(labels, (2, 4)).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert nearest(nearest(labels, (6, 10)), (2, 2)).tolist() == labels.tolist()
    assert nearest(labels, (2, 2)) is labels
