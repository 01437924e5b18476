# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CameraInfo at another size, against numbers worked out by hand."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.core.frame import Segmentation
from vss_ros.data.messages import ImageTypes
from vss_ros.ros.camera_info import Calibration, CameraInfoTypes, rescale_camera_info

IMAGES = ImageTypes(*[SimpleNamespace] * 4, pack=bytes)
TYPES = CameraInfoTypes(SimpleNamespace, SimpleNamespace)
NO_ROI = (0, 0, 0, 0)


def camera(
    width: int = 640, height: int = 480, roi: tuple[int, int, int, int] = NO_ROI, binning: int = 0, fx: float = 500.0
) -> Any:
    x, y, w, h = roi
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id="of the camera_info"),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.1, -0.2, 0.001, 0.002, 0.0],
        k=[fx, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[490.0, 0.0, 318.0, -60.0, 0.0, 505.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=binning,
        binning_y=binning,
        roi=SimpleNamespace(x_offset=x, y_offset=y, width=w, height=h, do_rectify=False),
    )


def rescaled(info: Any, picture: tuple[int, int], labels: tuple[int, int]) -> Any:
    pixels = np.zeros(labels, np.uint8)
    return rescale_camera_info(info, picture, Segmentation(3_000_000_004, pixels, pixels, "c", "cam"), IMAGES, TYPES)


def test_half_the_width_and_a_quarter_of_the_height():
    out = rescaled(camera(), (480, 640), (120, 320))
    assert (out.width, out.height) == (320, 120)
    assert list(out.k) == [250.0, 0.0, 160.0, 0.0, 127.5, 60.0, 0.0, 0.0, 1.0]
    assert list(out.p) == [245.0, 0.0, 159.0, -30.0, 0.0, 126.25, 59.5, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_at_the_same_size_nothing_but_the_header_changes():
    info = camera()
    out = rescaled(info, (480, 640), (480, 640))
    assert (list(out.k), list(out.p), out.d, out.r) == (info.k, info.p, info.d, info.r)
    assert (out.width, out.height, out.distortion_model) == (640, 480, "plumb_bob")
    assert (out.header.stamp.sec, out.header.stamp.nanosec, out.header.frame_id) == (3, 4, "cam")


def test_the_message_that_came_is_not_changed():
    info = camera()
    rescaled(info, (480, 640), (120, 320))
    assert info.k == camera().k and info.p == camera().p


def test_a_region_of_interest_in_the_whole_picture_is_scaled():
    out = rescaled(camera(roi=(100, 40, 200, 120)), (480, 640), (240, 320))
    assert (out.roi.x_offset, out.roi.y_offset, out.roi.width, out.roi.height) == (50, 20, 100, 60)
    assert out.k[2] == 160.0


def test_a_picture_that_is_the_region_of_interest_moves_the_principal_point():
    out = rescaled(camera(roi=(100, 40, 200, 120)), (120, 200), (60, 100))
    assert (out.width, out.height) == (100, 60)
    # cx (320 - 100) / 2, cy (240 - 40) / 2
    assert list(out.k) == [250.0, 0.0, 110.0, 0.0, 255.0, 100.0, 0.0, 0.0, 1.0]
    assert list(out.p) == [245.0, 0.0, 109.0, -30.0, 0.0, 252.5, 99.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (out.roi.x_offset, out.roi.y_offset, out.roi.width, out.roi.height) == NO_ROI


def test_binning_is_contained_in_the_size():
    out = rescaled(camera(binning=2), (240, 320), (240, 320))
    assert (out.k[0], out.k[2], out.binning_x, out.binning_y) == (250.0, 160.0, 0, 0)


def test_a_point_lies_on_the_same_spot_of_the_labels():
    info, out = camera(), rescaled(camera(), (480, 640), (96, 160))
    point = np.array([0.3, -0.2, 2.0, 1.0])
    (u, v, w), (x, y, z) = np.reshape(info.p, (3, 4)) @ point, out.p.reshape(3, 4) @ point
    assert (x / z, y / z) == pytest.approx((u / w * 160 / 640, v / w * 96 / 480))


@pytest.mark.parametrize(
    ("other", "changed"), [({}, False), ({"fx": 501.0}, True), ({"width": 320, "height": 240}, True)]
)
def test_only_another_calibration_is_a_change(other, changed):
    calibration = Calibration()
    assert not calibration.take(camera()), "the first one changes nothing"
    assert calibration.take(second := camera(**other)) is changed
    assert calibration.newest is second


def test_a_camera_that_is_not_calibrated_does_not_change_with_every_message():
    calibration, unknown = Calibration(), [float("nan")] * 9
    infos = [camera(), camera(), camera()]
    for info, k in zip(infos, (unknown, np.full(9, np.nan), camera().k), strict=True):
        info.k = k
    assert [calibration.take(info) for info in infos] == [False, False, True]


def test_a_camera_info_without_size_is_refused_once_and_the_last_good_one_kept():
    calibration, records = Calibration(), list[logging.LogRecord]()
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("vss_ros.ros.camera_info")
    logger.addHandler(handler)
    try:
        calibration.take(good := camera())
        assert not calibration.take(camera(width=0, height=0)) and not calibration.take(camera(width=0))
    finally:
        logger.removeHandler(handler)
    assert calibration.newest is good
    assert len(records) == 1 and "set width and height" in records[0].getMessage()
