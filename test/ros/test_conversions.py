# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Messages as consumers read them; the same with the classes of rosbags and, where it imports, of rclpy."""

from __future__ import annotations

import array
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.core.config import DiagnosticSettings
from vss_ros.core.frame import Segmentation
from vss_ros.data.messages import ImageTypes
from vss_ros.ros.conversions import DiagnosticTypes, LabelTypes, diagnostics, judge, label_images, label_info, pack
from vss_ros.ros.statistics import Drop, StreamStatistics

STAMP_NS = 1_700_000_000_987_654_321
LIMITS = DiagnosticSettings()


def _rosbags() -> SimpleNamespace:
    types = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    store = types.get_typestore(types.Stores.ROS2_JAZZY)
    # vision_msgs is in no typestore that rosbags brings
    definitions = {
        "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
        "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
    }
    for name, text in definitions.items():
        store.register(types.get_types_from_msg(text, name))
    t = store.types
    return SimpleNamespace(
        images=ImageTypes(
            image=t["sensor_msgs/msg/Image"],
            compressed=t["sensor_msgs/msg/CompressedImage"],
            header=t["std_msgs/msg/Header"],
            time=t["builtin_interfaces/msg/Time"],
            pack=lambda flat: flat,
        ),
        labels=LabelTypes(t["vision_msgs/msg/LabelInfo"], t["vision_msgs/msg/VisionClass"]),
        diagnostics=DiagnosticTypes(
            t["diagnostic_msgs/msg/DiagnosticArray"],
            t["diagnostic_msgs/msg/DiagnosticStatus"],
            t["diagnostic_msgs/msg/KeyValue"],
            level=int,
        ),
    )


def _rclpy() -> SimpleNamespace:
    pytest.importorskip("rclpy", reason="ROS 2 is not sourced: rclpy does not import")
    from vss_ros.ros.rclpy_types import DIAGNOSTICS, IMAGES, LABELS

    if LABELS is None:
        pytest.skip("vision_msgs is not installed")
    return SimpleNamespace(images=IMAGES, labels=LABELS, diagnostics=DIAGNOSTICS)


@pytest.fixture(params=[_rosbags, _rclpy], ids=["rosbags", "rclpy"])
def types(request: pytest.FixtureRequest) -> Any:
    return request.param()


def _result(height: int = 6, width: int = 10) -> Segmentation:
    labels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    return Segmentation(STAMP_NS, labels, 255 - labels, "camera", "cam_optical")


def test_labels_and_confidence_are_mono8_without_gaps(types):
    result = _result()
    for message, pixels in zip(label_images(result, types.images), (result.labels, result.confidence), strict=True):
        assert (message.encoding, message.height, message.width, message.step) == ("mono8", 6, 10, 10)
        # a planner reads data[v * width + u] and looks at nothing else
        assert bytes(memoryview(message.data)) == pixels.tobytes()
        assert len(message.data) == message.width * message.height


def test_both_carry_the_same_stamp_and_frame_id_as_the_picture(types):
    labels, confidence = label_images(_result(), types.images)
    for header in (labels.header, confidence.header):
        assert (header.stamp.sec, header.stamp.nanosec) == (1_700_000_000, 987_654_321)
        assert header.frame_id == "cam_optical"


def test_a_view_of_a_larger_picture_is_sent_without_its_surroundings(types):
    whole = np.arange(200, dtype=np.uint8).reshape(10, 20)
    view = whole[2:6, 3:9]
    message, _ = label_images(Segmentation(0, view, view), types.images)
    assert bytes(memoryview(message.data)) == view.tobytes()


def test_label_info_lists_every_class_by_id(types):
    message = label_info(["sky", "road"], 0.25, STAMP_NS, types.images, types.labels)
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [(0, "sky"), (1, "road")]
    assert message.threshold == 0.25
    assert message.header.stamp.sec == 1_700_000_000


def test_diagnostics_hold_every_figure_as_text(types):
    statistics = StreamStatistics(received=4)
    statistics.drop(Drop.SUPERSEDED)
    for now_s in (1.0, 1.5, 2.0):
        statistics.publish({"total": 20.0}, 2, now_s)
    report = statistics.report("front", {"gap": 2}, 3_000_000, 2.0, keyframes={"motion unknown": 5})
    message = diagnostics(
        [report],
        node="/vss/segmenter",
        state="active",
        hardware_id="lmanet on onnx",
        stamp_ns=STAMP_NS,
        limits=LIMITS,
        engines={},
        images=types.images,
        types=types.diagnostics,
    )
    (status,) = message.status
    assert (status.name, status.message) == ("/vss/segmenter: front", "2.0 labels/s")
    values = {entry.key: entry.value for entry in status.values}
    wanted = {"received": "4", "published": "3", "dropped: superseded": "1", "resets: gap": "2", "total_p50_ms": "20.0"}
    assert wanted.items() <= values.items() and values["keyframes: motion unknown"] == "5"


def test_diagnostics_say_what_runs_and_how_far_engines_are(types):
    statistics = StreamStatistics(received=2)
    for now_s in (1.0, 2.0):
        statistics.publish({"total": 20.0}, 2, now_s)
    building = {"tensorrt 640x360": "in work: engine of fuse (2 of 3), 12 s so far, about 18 s left"}
    (status,) = diagnostics(
        [statistics.report("front", {}, 0, 2.0, "onnx")],
        node="/n",
        state="active",
        hardware_id="lmanet on tensorrt",
        stamp_ns=0,
        limits=LIMITS,
        engines=building,
        images=types.images,
        types=types.diagnostics,
    ).status
    values = {entry.key: entry.value for entry in status.values}
    assert values["backend"] == "onnx" and building.items() <= values.items()
    assert status.message == "1.0 labels/s on onnx" and status.level in (0, b"\0")


def test_before_configure_the_node_reports_its_state(types):
    message = diagnostics(
        [],
        node="/n",
        state="unconfigured",
        hardware_id="",
        stamp_ns=0,
        limits=LIMITS,
        engines={},
        images=types.images,
        types=types.diagnostics,
    )
    assert [status.message for status in message.status] == ["unconfigured"]


@pytest.mark.parametrize(
    ("received", "published_s", "now_s", "state", "level", "says"),
    [
        (0, (), 10.0, "inactive", 0, "inactive"),
        (0, (), 10.0, "active", 1, "no frame has come"),
        (9, (), 10.0, "active", 1, "no labels went out"),
        (9, (1.0, 1.1), 10.0, "active", 1, "no labels went out"),
        (9, (9.0, 10.0), 10.0, "active", 0, "1.0 labels/s"),
    ],
)
def test_the_verdict_is_about_now(received, published_s, now_s, state, level, says):
    statistics = StreamStatistics(received=received)
    for at_s in published_s:
        statistics.publish({}, 0, at_s)
    found, message = judge(statistics.report("c", {}, 0, now_s), state, LIMITS)
    assert (found, says in message) == (level, True), message


@pytest.mark.parametrize(
    ("limits", "level", "says"),
    [
        (DiagnosticSettings(min_fps=0.9, max_latency_ms=41), 0, "1.0 labels/s"),
        (DiagnosticSettings(min_fps=1.1), 1, "diagnostics.min_fps wants 1.1"),
        (DiagnosticSettings(max_latency_ms=39), 1, "labels after 40 ms (p95), diagnostics.max_latency_ms is 39"),
    ],
)
def test_limits_make_a_slow_node_a_warning(limits, level, says):
    statistics = StreamStatistics(received=2)
    for at_s in (9.0, 10.0):
        statistics.publish({"total": 40.0}, 0, at_s)
    found, message = judge(statistics.report("c", {}, 0, 10.0), "active", limits)
    assert (found, says in message) == (level, True), message


def test_pack_is_what_rclpy_takes_fast():
    flat = np.arange(256, dtype=np.uint8)
    packed = pack(flat)
    assert isinstance(packed, array.array) and packed.typecode == "B"
    assert packed.tobytes() == flat.tobytes()


def test_a_720p_message_is_built_in_milliseconds():
    types = _rclpy()
    result = _result(720, 1280)
    label_images(result, types.images)
    spent_s = []
    for _ in range(5):
        started = time.perf_counter()
        label_images(result, types.images)
        spent_s.append(time.perf_counter() - started)
    assert min(spent_s) < 0.03  # two messages; 0.36 s where rclpy is given a numpy array
