# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Labelled clouds from depth pictures and organised clouds, against points worked out by hand."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.ros.test_camera_info import IMAGES, TYPES, camera
from vss_ros.core.errors import FrameError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.typestore import POINT_CLOUD, ros2_types, rosbags_image_types
from vss_ros.ros import points as module
from vss_ros.ros.points import LAYOUT, CloudTypes, LabelledPoints, cloud_xyz, depth_xyz

CLOUDS = CloudTypes(SimpleNamespace, lambda header, fields, points: SimpleNamespace(**locals()))
STAMP_NS = 5_000_000_000


def header(stamp_ns: int = STAMP_NS, frame_id: str = "depth") -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def depth(values: Any, kind: str = "<u2", *, encoding: str = "16UC1", padding: int = 0, **stamp: Any) -> Any:
    pixels = np.asarray(values, kind)
    rows = [row.tobytes() + bytes(padding) for row in pixels]
    return SimpleNamespace(
        header=header(**stamp),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(kind[0] == ">"),
        step=pixels.shape[1] * pixels.itemsize + padding,
        data=b"".join(rows),
    )


def cloud(xyz: Any, *, order: str = "<", axis: str = "f4", gap: int = 4, row_gap: int = 0, **stamp: Any) -> Any:
    """An organised cloud whose points end with `gap` bytes of something else."""
    xyz = np.asarray(xyz, float)
    kind = np.dtype([(name, order + axis) for name in "xyz"] + [("rgb", f"V{gap}")])
    points = np.zeros(xyz.shape[:2], kind)
    for index, name in enumerate("xyz"):
        points[name] = xyz[..., index]
    datatype = {"f4": 7, "f8": 8}[axis]
    fields = [SimpleNamespace(name=n, offset=kind.fields[n][1], datatype=datatype, count=1) for n in "xyz"]
    return SimpleNamespace(
        header=header(**stamp),
        height=xyz.shape[0],
        width=xyz.shape[1],
        fields=fields,
        is_bigendian=order == ">",
        point_step=kind.itemsize,
        row_step=kind.itemsize * xyz.shape[1] + row_gap,
        data=b"".join(row.tobytes() + bytes(row_gap) for row in points),
        is_dense=False,
    )


def picture(height: int = 2, width: int = 3) -> tuple[Frame, Segmentation]:
    labels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    image = np.zeros((height, width, 3), np.uint8)
    return Frame(STAMP_NS, image, "front", "cam"), Segmentation(STAMP_NS, labels, 255 - labels, "front", "cam")


XYZ = np.arange(18, dtype=float).reshape(2, 3, 3)


@pytest.mark.parametrize(
    "message",
    [
        depth([[1500, 0], [2000, 500]]),
        depth([[1500, 0], [2000, 500]], ">u2", padding=6),
        depth([[1.5, np.nan], [2.0, 0.5]], "<f4", encoding="32FC1"),
        depth([[1.5, -1.0], [2.0, 0.5]], ">f4", encoding="32FC1", padding=8),
    ],
    ids=["mm", "mm big-endian", "m", "m big-endian"],
)
def test_depth_by_hand(message: Any) -> None:
    info = SimpleNamespace(p=[2.0, 0, 0.5, 0, 0, 4.0, 1.0, 0, 0, 0, 1, 0], k=[0.0] * 9)
    points = depth_xyz(message, info)
    np.testing.assert_allclose(points[0, 0], [1.5 * (0 - 0.5) / 2, 1.5 * (0 - 1) / 4, 1.5], rtol=1e-6)
    np.testing.assert_allclose(points[1, 1], [0.5 * (1 - 0.5) / 2, 0.5 * (1 - 1) / 4, 0.5], rtol=1e-6)
    assert np.isnan(points[0, 1]).all() and points.dtype == np.float32


def test_depth_takes_k_where_p_is_empty() -> None:
    info = SimpleNamespace(p=[0.0] * 12, k=[2.0, 0, 0, 0, 4.0, 0, 0, 0, 1])
    np.testing.assert_allclose(depth_xyz(depth([[1000, 1000]]), info)[0, 1], [0.5, 0, 1])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (depth([[1, 2]], encoding="rgb8"), "depth wants encoding 16UC1"),
        (SimpleNamespace(**vars(depth([[1, 2], [3, 4]])) | {"data": b"123"}), "got step 4, 3 bytes"),
        (SimpleNamespace(**vars(depth([[1, 2], [3, 4]])) | {"step": 1}), "wants rows of 4 bytes"),
    ],
)
def test_bad_depth_is_refused(message: Any, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        depth_xyz(message, camera())


@pytest.mark.parametrize("kind", [{}, {"order": ">"}, {"axis": "f8", "gap": 9}, {"row_gap": 5, "gap": 1}])
def test_organised_clouds_of_any_layout(kind: Any) -> None:
    np.testing.assert_allclose(cloud_xyz(cloud(XYZ, **kind)), XYZ)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"height": 1}, "an organised cloud"),
        ({"fields": []}, "with none"),
        ({"data": b"short"}, "and 5 bytes"),
        ({"point_step": 8}, "points of 8 bytes"),
        ({"row_step": 2}, "got row_step 2"),
    ],
)
def test_bad_clouds_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(FrameError, match=says):
        cloud_xyz(SimpleNamespace(**vars(cloud(XYZ)) | change))


def test_every_point_has_the_label_of_its_pixel() -> None:
    collected = LabelledPoints(IMAGES, TYPES, CLOUDS)
    collected.offer(cloud(XYZ))
    frame, result = picture()
    out = collected.build(frame, result, None)
    assert (out.header.stamp.sec, out.header.stamp.nanosec, out.header.frame_id) == (5, 0, "depth")
    assert [(f.name, f.offset, f.datatype) for f in out.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("label", 12, 6), ("confidence", 16, 7),
    ]  # fmt: skip
    np.testing.assert_array_equal(out.points["label"], result.labels)
    np.testing.assert_allclose(out.points["confidence"], (255 - result.labels.astype(float)) / 255)
    np.testing.assert_allclose([out.points[axis] for axis in "xyz"], np.moveaxis(XYZ, -1, 0))


def test_depth_of_another_size_uses_the_calibration_of_that_size() -> None:
    """640x480 picture and camera_info, 320x240 depth: half the focal length and centre, every second label."""
    collected = LabelledPoints(IMAGES, TYPES, CLOUDS)
    collected.offer(depth(np.full((240, 320), 2000)))
    frame, result = picture(480, 640)
    out = collected.build(frame, result, camera()).points
    assert out.shape == (240, 320) and out["z"][7, 9] == 2
    assert out["x"][0, 300] == pytest.approx(2 * (300 - 159) / 245) and out["y"][200, 0] == pytest.approx(
        2 * (200 - 119) / 252.5
    )
    np.testing.assert_array_equal(out["label"], result.labels[1::2, 1::2])


def test_the_nearest_in_time_counts_and_only_a_few_are_kept() -> None:
    collected = LabelledPoints(IMAGES, TYPES, CLOUDS)
    for offset_ms, x in ((-80, 1), (-20, 2), (30, 3), (900, 4)):
        collected.offer(cloud(XYZ + x, stamp_ns=STAMP_NS + offset_ms * 1_000_000))
    assert collected.build(*picture(), None).points["x"][0, 0] == 2
    for _ in range(module._KEPT):
        collected.offer(cloud(XYZ, stamp_ns=STAMP_NS + 40_000_000))
    assert collected.build(*picture(), None).points["x"][0, 0] == 0 and len(collected._newest) == module._KEPT


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "none has come"),
        ([cloud(XYZ, stamp_ns=STAMP_NS - 200_000_000)], "0.200 s away"),
        ([depth([[1, 2], [3, 4]])], "wants the camera's CameraInfo"),
        ([SimpleNamespace(**vars(cloud(XYZ)) | {"height": 0})], "got 3x0"),
    ],
)
def test_without_points_the_reason_is_said_once(messages: list[Any], says: str, caplog: Any) -> None:
    collected = LabelledPoints(IMAGES, TYPES, CLOUDS)
    for message in messages:
        collected.offer(message)
    logger = logging.getLogger("vss_ros.ros.points")
    logger.addHandler(caplog.handler)  # pytest's ROS plugins may have cut loggers off the root
    try:
        assert [collected.build(*picture(), None) for _ in range(3)] == [None] * 3
    finally:
        logger.removeHandler(caplog.handler)
    assert len({r.getMessage() for r in caplog.records}) == 1 and says in caplog.text


def test_the_cloud_of_the_dds_face_reads_back_as_it_was_written() -> None:
    cloud_types = pytest.importorskip("vss_ros.ros.dds_channel", reason="cyclonedds is not installed").cloud_types
    store = ros2_types()
    collected = LabelledPoints(rosbags_image_types(), TYPES, cloud_types())
    collected.offer(cloud(XYZ))
    frame, result = picture()
    sent = store.serialize_cdr(collected.build(frame, result, None), POINT_CLOUD)
    back = store.deserialize_cdr(sent, POINT_CLOUD)
    np.testing.assert_allclose(cloud_xyz(back), XYZ)
    points = np.frombuffer(back.data, LAYOUT).reshape(back.height, back.width)
    np.testing.assert_array_equal(points["label"], result.labels)
    assert back.row_step == back.point_step * back.width == 20 * 3


def test_sensor_msgs_py_reads_the_cloud_of_the_rclpy_face() -> None:
    pytest.importorskip("sensor_msgs_py", reason="ROS 2 is not sourced")
    from sensor_msgs_py.point_cloud2 import read_points

    from vss_ros.ros.rclpy_types import CLOUDS as RCLPY_CLOUDS
    from vss_ros.ros.rclpy_types import IMAGES as RCLPY_IMAGES

    collected = LabelledPoints(RCLPY_IMAGES, TYPES, RCLPY_CLOUDS)
    collected.offer(cloud(XYZ))
    frame, result = picture()
    points = read_points(collected.build(frame, result, None)).reshape(2, 3)
    np.testing.assert_array_equal(points["label"], result.labels)
    np.testing.assert_allclose(points["y"], XYZ[..., 1])
