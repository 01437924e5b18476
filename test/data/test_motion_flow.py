# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from test.conftest import SHARED, needs_shared_data
from test.data.moving import moving, scene
from vss_ros.core.errors import FrameError
from vss_ros.core.motion import ZeroMotion
from vss_ros.data.camvid import CamVidVideo
from vss_ros.data.motion_flow import FlowMotion


@pytest.mark.parametrize(("size", "step"), [((192, 256), 8), ((192, 256), -5), ((720, 1280), 8), ((90, 154), 4)])
def test_what_moves_right_has_a_motion_to_the_left_in_px(size, step):
    before, now = moving(2, step, size=size)
    field = FlowMotion()(before, now)
    assert field.motion.shape == (-(-size[0] // 8), -(-size[1] // 8), 2) and field.motion.dtype == np.float32
    assert np.median(field.motion[..., 0]) == pytest.approx(-step, abs=0.3)
    assert np.median(field.motion[..., 1]) == pytest.approx(0, abs=0.3)
    assert field.unmatched < 0.25 and not field.codec_key


def test_two_motions_in_one_picture():
    (left_before, left), (right_before, right) = moving(2, 6, 1), moving(2, -6, 2)
    field = FlowMotion()(np.hstack([left_before, right_before]), np.hstack([left, right]))
    assert np.median(field.motion[:, 4:28, 0]) == pytest.approx(-6, abs=0.5)
    assert np.median(field.motion[:, 36:60, 0]) == pytest.approx(6, abs=0.5)


def test_another_scene_is_unmatched_and_another_exposure_is_not():
    image = scene(192, 256, 1)
    assert FlowMotion()(image, scene(192, 256, 2)).unmatched > 0.4
    brighter = np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8)
    assert FlowMotion()(image, brighter).unmatched < 0.1


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (17, 300)])
def test_small_pictures(size):
    image = scene(64, 320)[: size[0], : size[1]]
    field = FlowMotion()(image, image)
    assert np.abs(field.motion).max() < 0.1 and field.unmatched == 0


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(FrameError, match="two pictures of one size"):
        FlowMotion()(scene(64, 64), scene(64, 72))


def test_zero_motion():
    field = ZeroMotion()(scene(64, 80), scene(64, 80))
    assert field.motion.shape == (8, 10, 2) and not field.motion.any() and field.unmatched == 0


@needs_shared_data
def test_neighbours_of_a_real_drive_match_and_other_drives_do_not():
    video, flow = CamVidVideo(SHARED / "camvid"), FlowMotion()
    images = [video[i].image for i in range(0, 100, 20)]
    for i, image in zip(range(0, 100, 20), images, strict=True):
        assert flow(image, video[i + 1].image).unmatched < 0.15
    other = CamVidVideo(SHARED / "camvid", "train")
    for image, elsewhere in itertools.product(images, [other[0].image]):
        assert flow(image, elsewhere).unmatched > 0.6
