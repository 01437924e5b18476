# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import Frame


def test_size_is_height_and_width() -> None:
    assert Frame(0, np.zeros((3, 5, 3), np.uint8)).size == (3, 5)


@pytest.mark.parametrize(
    "image", [np.zeros((3, 5), np.uint8), np.zeros((3, 5, 4), np.uint8), np.zeros((3, 5, 3)), None]
)
def test_refuses_what_is_not_rgb(image: object) -> None:
    with pytest.raises(FrameError, match=r"\(H, W, 3\) uint8 RGB, got"):
        Frame(0, image)  # type: ignore[arg-type]


def test_refuses_a_picture_without_pixels() -> None:
    with pytest.raises(FrameError, match="at least one pixel"):
        Frame(0, np.zeros((0, 5, 3), np.uint8))
