# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import pickle

import cv2
import numpy as np
import pytest

from vss_ros.core.errors import DataError
from vss_ros.data.bag import BagSource
from vss_ros.data.labels import load_labels
from vss_ros.data.synthetic import SyntheticDrive, write_bag
from vss_ros.data.synthetic_sensor import Sensor

SMALL = (180, 240)
SEEDS = (0, 1, 2, 3)
NAMES = load_labels("camvid11").names


@pytest.fixture(scope="module")
def clips():
    """Seed -> two neighbouring frames without sensor effects, at the size networks are trained at."""
    drives = {seed: SyntheticDrive(seed, frames=40, effects=False) for seed in SEEDS}
    return {seed: (drive[19], drive[20]) for seed, drive in drives.items()}


def warped(picture, motion, flag=cv2.INTER_NEAREST):
    """The previous frame's picture brought to this frame."""
    height, width = motion.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    known = np.nan_to_num(motion)
    return cv2.remap(picture, x + known[..., 0], y + known[..., 1], flag, borderValue=255)


def test_frames_have_the_promised_shapes_stamps_and_names():
    drive = SyntheticDrive(5, SMALL, frames=3, fps=10)
    frames = list(drive)
    assert len(drive) == len(frames) == 3 and drive.name == "synthetic:5x3" and drive.skipped == {}
    assert drive.classes == NAMES
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [100_000_000] * 2
    for frame in frames:
        assert frame.image.shape == (*SMALL, 3) and frame.image.dtype == np.uint8
        assert frame.truth.shape == SMALL and frame.truth.dtype == np.uint8 and frame.truth.max() < len(NAMES)
        assert frame.stream == drive.name and frame.frame_id == "camera"
    assert frames[0].motion is None
    assert frames[1].motion.shape == (*SMALL, 2) and frames[1].motion.dtype == np.float32


def assert_same(a, b):
    assert a.stamp_ns == b.stamp_ns
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.truth, b.truth)
    np.testing.assert_array_equal(a.motion, b.motion)


def test_the_same_seed_gives_the_same_bytes_in_any_order():
    forward = list(SyntheticDrive(7, SMALL, frames=6))
    drive = SyntheticDrive(7, SMALL, frames=6)
    for index in (5, 2, 4, -3, 1):
        assert_same(drive[index], forward[index])
    with pytest.raises(IndexError):
        drive[6]


def test_a_longer_drive_begins_the_same():
    short, long = SyntheticDrive(8, SMALL, frames=3), SyntheticDrive(8, SMALL, frames=300)
    assert_same(short[2], long[2])
    assert long[299].truth.max() > 0


def test_without_motion_the_picture_is_the_same():
    still = SyntheticDrive(7, SMALL, frames=6, motion=False)[3]
    assert still.motion is None
    np.testing.assert_array_equal(still.image, SyntheticDrive(7, SMALL, frames=6)[3].image)


@pytest.mark.parametrize("seed", SEEDS)
def test_motion_brings_the_previous_labels_to_this_frame(clips, seed):
    before, now = clips[seed]
    known = np.isfinite(now.motion).all(2)
    assert known.mean() > 0.9
    agree = warped(before.truth, now.motion) == now.truth
    assert agree[known].mean() > 0.99
    for label in np.unique(now.truth):  # things that move as well as those that stand
        here = known & (now.truth == label)
        if here.sum() > 300:
            assert agree[here].mean() > 0.9, NAMES[label]


@pytest.mark.parametrize("seed", SEEDS)
def test_motion_brings_the_previous_colours_to_this_frame(clips, seed):
    before, now = clips[seed]
    known = np.isfinite(now.motion).all(2)
    moved = np.abs(warped(before.image, now.motion, cv2.INTER_LINEAR).astype(int) - now.image).mean(2)
    still = np.abs(before.image.astype(int) - now.image).mean(2)
    assert moved[known].mean() < 6 and moved[known].mean() < 0.6 * still[known].mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_driving_forward_the_ground_was_nearer_to_the_horizon(clips, seed):
    _, now = clips[seed]
    road = (now.truth == NAMES.index("road")) & np.isfinite(now.motion).all(2)
    height, width = now.size
    low = np.zeros_like(road)
    low[height * 3 // 4 :] = True
    assert (now.motion[..., 1][road & low] < 0).mean() > 0.98
    right, left = low.copy(), low.copy()
    right[:, : width * 3 // 4] = False
    left[:, width // 4 :] = False
    # Content on the right moves right: it was further left before.
    assert np.median(now.motion[..., 0][road & right]) < 0 < np.median(now.motion[..., 0][road & left])


def test_a_drive_can_be_sent_to_another_process():
    drive = SyntheticDrive(6, SMALL, frames=3)
    expected = drive[2]
    assert_same(pickle.loads(pickle.dumps(drive))[2], expected)


def test_nothing_vanishes_in_plain_view_and_movers_do_not_gather():
    drive = SyntheticDrive(9, SMALL, frames=200)
    close = set()
    for index in range(0, 200, 5):
        time_s = index / drive.fps
        camera = drive._ride.camera(time_s)
        ahead = {thing: thing.place_at(time_s)[1] - camera.centre[2] for thing in drive._scene(camera, time_s)._movers}
        assert close <= set(ahead)
        close = {thing for thing, distance_m in ahead.items() if 25 < distance_m < 100}
        assert len(close) < 60


def test_what_motion_hides_was_not_in_the_previous_picture(clips):
    """Pixels without motion lie at the edges of things and of the picture, not inside large areas."""
    for _, now in clips.values():
        hidden = ~np.isfinite(now.motion).all(2)
        inner = cv2.erode(hidden[8:-40, 40:-40].astype(np.uint8), np.ones((25, 25), np.uint8))
        assert inner.mean() < 0.01


def test_every_class_appears_with_about_the_frequency_of_real_streets():
    seen = np.zeros(len(NAMES))
    for seed in range(10):
        drive = SyntheticDrive(seed, SMALL, frames=90, motion=False, effects=False)
        for index in (0, 45, 89):
            seen += np.bincount(drive[index].truth.ravel(), minlength=len(NAMES))
    share = dict(zip(NAMES, seen / seen.sum(), strict=True))
    assert min(share.values()) > 0.001, share
    assert 0.25 < share["road"] < 0.5 and 0.1 < share["building"] < 0.4 and 0.04 < share["sky"] < 0.3, share
    assert 0.02 < share["car"] < 0.2 and share["pole"] < 0.03, share


def test_seeds_give_different_streets(clips):
    frames = [now for _, now in clips.values()]
    for i, one in enumerate(frames):
        for other in frames[i + 1 :]:
            assert (one.truth != other.truth).mean() > 0.1
            assert np.abs(one.image.astype(int) - other.image).mean() > 15


def test_sensor_effects_change_the_image_only():
    clean, real = (SyntheticDrive(3, SMALL, frames=9, effects=effects)[8] for effects in (False, True))
    np.testing.assert_array_equal(clean.truth, real.truth)
    np.testing.assert_array_equal(clean.motion, real.motion)
    assert (clean.image != real.image).mean() > 0.5


def test_exposure_changes_over_time():
    sensor = Sensor(np.random.default_rng(2), 2, SMALL)
    levels = [sensor.exposure(t) for t in np.arange(0, 10, 0.5)]
    assert max(levels) > 1.03 * min(levels)


@pytest.mark.parametrize("size", [(97, 131), (360, 640)])
def test_any_size(size):
    frame = SyntheticDrive(1, size, frames=2)[1]
    assert frame.size == frame.truth.shape == size


@pytest.mark.parametrize("wrong", [{"size": (16, 480)}, {"frames": 0}, {"fps": 0}, {"seed": -1}])
def test_impossible_drives_are_refused(wrong):
    with pytest.raises(DataError, match="a synthetic drive wants"):
        SyntheticDrive(**wrong)


@pytest.mark.parametrize(("storage", "compressed"), [("mcap", False), ("sqlite3", True)])
def test_a_drive_as_a_bag(tmp_path, storage, compressed):
    drive = SyntheticDrive(4, SMALL, frames=3)
    write_bag(tmp_path / "bag", drive, storage=storage, compressed=compressed)
    source = BagSource(tmp_path / "bag")
    assert source.topic == "/camera/image_raw" + "/compressed" * compressed
    for got, made in zip(source, drive, strict=True):
        assert (got.stamp_ns, got.frame_id) == (made.stamp_ns, made.frame_id)
        np.testing.assert_array_equal(got.truth, made.truth)
        difference = np.abs(got.image.astype(int) - made.image).mean()
        assert difference < 4 if compressed else difference == 0
