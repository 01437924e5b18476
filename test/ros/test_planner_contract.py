# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Planners' own rules, replayed on the bytes the node sends: pictures through the app, messages as CDR and back.

Known consumers ignore encoding and step and index data[v * width + u], pair topics by equal stamps, drop labels whose
number differs from the points of the aligned cloud, and drop everything until LabelInfo has come.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.assemble import load_model
from vss_ros.core.config import Settings
from vss_ros.core.frame import UNLABELLED, Frame, Segmentation
from vss_ros.data.messages import array_to_image
from vss_ros.data.typestore import ros2_types, rosbags_image_types
from vss_ros.evaluate.sinks import LabelsBag
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.camera_info import CameraInfoTypes
from vss_ros.ros.outputs import EXTRAS, Legend, outgoing

STAMP_NS = 1_700_000_000_987_654_321
CAMERA, MODEL, FIXED = (54, 90), (64, 96), (27, 41)  # (height, width) px; odd ones, because rows must not be padded
THRESHOLD = 0.107  # in the middle of what random weights reach with 11 classes
SIZES = {"camera": CAMERA, "model": MODEL, f"{FIXED[1]}x{FIXED[0]}": FIXED}
TYPENAMES = {
    "labels": "sensor_msgs/msg/Image",
    "confidence": "sensor_msgs/msg/Image",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "overlay": "sensor_msgs/msg/Image",
    "labels/compressed": "sensor_msgs/msg/CompressedImage",
    "moving_mask": "sensor_msgs/msg/Image",
    "confidence_raw": "sensor_msgs/msg/Image",
}


def camera_info() -> Any:
    types = ros2_types().types
    images = rosbags_image_types()
    k = np.array([100.0, 0, 45, 0, 110, 27, 0, 0, 1])
    return types["sensor_msgs/msg/CameraInfo"](
        header=images.header(stamp=images.time(sec=1, nanosec=1), frame_id="elsewhere"),
        height=CAMERA[0],
        width=CAMERA[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.array([100.0, 0, 45, 0, 0, 110, 27, 0, 0, 0, 1, 0]),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def received(folder: Path, size: str, **settings: Any) -> tuple[Segmentation, dict[str, Any]]:
    """What a planner gets for one picture, and the labels that were meant."""
    model = load_model(
        Settings().with_values(
            {"model.name": str(folder), "model.input_size": "model", "output.size": size, "runtime.threads": 1}
            | settings
        )
    )
    store, images = ros2_types(), rosbags_image_types()
    infos = CameraInfoTypes(store.types["sensor_msgs/msg/CameraInfo"], store.types["sensor_msgs/msg/RegionOfInterest"])
    seen, done = SimpleNamespace(result=None, sent={}), threading.Event()

    def publish(frame: Frame, result: Segmentation) -> None:
        seen.result = result
        for topic, message in outgoing(
            frame, result, images=images, infos=infos, info=camera_info(), legend=Legend.of(model.card), wanted=bool
        ):
            kind = TYPENAMES[topic]
            seen.sent[topic] = store.deserialize_cdr(store.serialize_cdr(message, kind), kind)
        done.set()

    app = SegmentApp(model, publish)
    app.start()
    pixels = np.random.default_rng(0).integers(0, 256, (*CAMERA, 3), np.uint8)
    app.offer("camera", array_to_image(pixels, STAMP_NS, "cam_optical", types=images))
    try:
        assert done.wait(60.0), app.report()
    finally:
        app.stop()
    return seen.result, seen.sent


@pytest.fixture(scope="module", params=SIZES)
def sent(request: pytest.FixtureRequest, single_folder: Path) -> SimpleNamespace:
    result, messages = received(single_folder, request.param, **{"confidence.min": THRESHOLD})
    return SimpleNamespace(result=result, size=SIZES[request.param], **messages, all=messages)


@pytest.mark.parametrize("topic", ["labels", "confidence"])
def test_one_byte_for_each_pixel_and_no_gaps(sent, topic):
    message = sent.all[topic]
    assert message.encoding == "mono8" and message.step == message.width
    assert len(message.data) == message.width * message.height


def test_raw_indexing_finds_the_label_of_each_pixel(sent):
    for message, meant in ((sent.labels, sent.result.labels), (sent.confidence, sent.result.confidence)):
        data = bytes(message.data)
        found = [[data[v * message.width + u] for u in range(message.width)] for v in range(message.height)]
        assert found == meant.tolist()


def test_an_aligned_cloud_has_as_many_points_as_there_are_labels(sent):
    cloud = SimpleNamespace(width=sent.size[1], height=sent.size[0])
    for message in (sent.labels, sent.confidence):
        assert message.width * message.height == cloud.width * cloud.height
        assert (message.height, message.width) == sent.size


def test_all_topics_pair_by_exactly_the_stamp_of_the_picture(sent):
    assert set(sent.all) == set(TYPENAMES) == {"labels", "confidence", "camera_info", *EXTRAS}
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in sent.all.values()}
    assert stamps == {(1_700_000_000, 987_654_321, "cam_optical")}


def test_camera_info_is_at_the_resolution_of_the_labels(sent):
    info = sent.camera_info
    assert (info.height, info.width) == (sent.labels.height, sent.labels.width)
    sy, sx = sent.size[0] / CAMERA[0], sent.size[1] / CAMERA[1]
    np.testing.assert_allclose(info.k, [100 * sx, 0, 45 * sx, 0, 110 * sy, 27 * sy, 0, 0, 1])


def test_what_is_not_sure_is_255_and_no_class_is(sent):
    labels, confidence = bytes(sent.labels.data), bytes(sent.confidence.data)
    assert UNLABELLED in labels and min(labels) < 11
    assert {label for label in labels if label >= 11} == {UNLABELLED}
    for label, sure in zip(labels, confidence, strict=True):
        assert (label == UNLABELLED) == (sure < THRESHOLD * 255)


def test_with_a_threshold_of_1_no_label_is_left(single_folder):
    _, messages = received(single_folder, "camera", **{"confidence.min": 1.0})
    assert set(bytes(messages["labels"].data)) == {UNLABELLED}


def test_label_info_is_latched_and_comes_before_the_first_label(single_folder, tmp_path):
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import QosDurability, QosReliability

    model = load_model(Settings().with_values({"model.name": str(single_folder), "runtime.threads": 1}))
    frame = Frame(STAMP_NS, np.zeros((*CAMERA, 3), np.uint8))
    bag = LabelsBag(tmp_path / "labels", model.card)
    bag.write(frame, model.stream()(frame))
    bag.close()
    with AnyReader([tmp_path / "labels"], default_typestore=ros2_types()) as reader:
        messages = [
            (connection, reader.deserialize(raw, connection.msgtype)) for connection, _, raw in reader.messages()
        ]
    assert [connection.topic for connection, _ in messages] == ["/vss/label_info", "/vss/labels", "/vss/confidence"]
    (profile,) = messages[0][0].ext.offered_qos_profiles
    assert (profile.durability, profile.reliability) == (QosDurability.TRANSIENT_LOCAL, QosReliability.RELIABLE)
    names = {entry.class_id: entry.class_name for entry in messages[0][1].class_map}
    assert names == dict(enumerate(model.card.labels)) and UNLABELLED not in names
