# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import FrameError
from vss_ros.core.overlay import overlay


def test_mixes_half_and_half_and_leaves_unlabelled_pixels_alone() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    colours[1] = 200, 0, 50
    painted = overlay(image, np.array([[1, 255]], np.uint8), colours)
    assert painted.tolist() == [[[150, 50, 75], [100, 100, 100]]]


def test_wants_one_size() -> None:
    with pytest.raises(FrameError, match=r"picture's size \(2, 2\), got \(1, 2\)"):
        overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2), np.uint8), np.zeros((256, 3), np.uint8))
