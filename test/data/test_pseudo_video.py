# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What changes along a clip changes smoothly, and light and blur are drawn once for all its frames."""

from __future__ import annotations

import numpy as np
import pytest

from vss_ros.data.pseudo_video import PseudoVideo

SEEDS = range(12)


def test_light_drifts_by_one_factor_a_frame() -> None:
    grey, labels = np.full((80, 120, 3), 110, np.uint8), np.zeros((80, 120), np.uint8)
    for seed in SEEDS:
        images = PseudoVideo((40, 48), light=0.3).clip(grey, labels, 6, np.random.default_rng(seed)).images
        means = images.mean((1, 2, 3), dtype=np.float64)
        assert np.ptp(np.diff(means)) < 0.7 and np.abs(np.diff(means)).max() < 6, "a line, but for rounding and noise"
    assert PseudoVideo((40, 48), light=0.3)._lights(3, np.random.default_rng(0))[0][0] != pytest.approx(1, abs=1e-3)


def test_colour_and_blur_are_the_same_for_all_frames() -> None:
    """A still camera: without motion all frames are alike but for their own noise, whatever was drawn for the clip."""
    image = np.zeros((80, 120, 3), np.uint8)
    image[:, ::4] = (200, 60, 20)
    labels = np.zeros((80, 120), np.uint8)
    still = PseudoVideo((40, 48), pan_px=0.0, zoom_rate=0.0, turn_deg=0.0, light=0.0)
    contrasts = []
    for seed in SEEDS:
        images = still.clip(image, labels, 4, np.random.default_rng(seed)).images.astype(float)
        assert np.abs(images[1:] - images[0]).mean() < 3.0, "noise of 2 grey levels"
        contrasts.append(images.std((1, 2, 3)))
    assert np.ptp(contrasts, axis=1).max() < 0.05 * np.mean(contrasts), "blur is the same for a whole clip"
    assert np.ptp(np.mean(contrasts, axis=1)) > 0.1 * np.mean(contrasts), "and not the same for all clips"


def test_wear_is_drawn_for_each_frame_and_spares_half_of_them() -> None:
    image = np.zeros((80, 120, 3), np.uint8)
    image[:, ::4] = (200, 60, 20)
    still = PseudoVideo((40, 48), pan_px=0.0, zoom_rate=0.0, turn_deg=0.0, light=0.0, wear=1.0)
    clips = [still.clip(image, np.zeros((80, 120), np.uint8), 6, np.random.default_rng(s)).images for s in SEEDS]
    shares = []
    for images in clips:
        frames = images.astype(float)
        unlike = np.abs(frames[:, None] - frames).mean((2, 3, 4))
        shares.append(np.mean(np.median(unlike, axis=1) > 3.0))  # frames that are unlike most others
        assert images.dtype == np.uint8
    assert 0.2 < np.mean(shares) < 0.9


def test_the_path_is_smooth() -> None:
    """The motion of a point changes little from frame to frame: a steady pan and a small shake."""
    moving, blank = PseudoVideo((40, 48), pan_px=3.0), np.zeros((200, 300), np.uint8)
    for seed in SEEDS:
        motion = moving.clip(np.stack([blank] * 3, -1), blank, 6, np.random.default_rng(seed)).motion[1:]
        assert np.abs(np.diff(motion, axis=0)).max() < 3.0


def test_a_view_treats_all_frames_of_a_real_clip_alike() -> None:
    labels = np.repeat(np.repeat(np.arange(24, dtype=np.uint8).reshape(4, 6), 30, 0), 30, 1)
    painted = np.stack([labels * 10] * 3, axis=-1)
    view = PseudoVideo((60, 80), light=0.0)
    for seed in SEEDS:
        images, truth = view.view(np.stack([painted] * 3), labels, np.random.default_rng(seed))
        assert images.shape == (3, 60, 80, 3) and truth.shape == (60, 80)
        inside = truth != 255
        for image in images:
            close = np.abs(image[..., 0].astype(int) - truth.astype(int) * 10) <= 8
            assert close[inside].mean() > 0.9  # all but cell borders
