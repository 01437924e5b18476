# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What goes out for one frame, by topic: headers, encodings, and that extras are built only where they are wanted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from vss_ros.assemble import load_card
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.overlay import overlay
from vss_ros.data.messages import ImageTypes, image_to_labels, image_to_rgb
from vss_ros.ros.camera_info import CameraInfoTypes
from vss_ros.ros.outputs import EXTRAS, Legend, outgoing

STAMP_NS = 1_700_000_000_987_654_321
HEIGHT, WIDTH = 6, 10
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
MOVING = np.where(np.isin(np.arange(256), (3, 8)), 255, 0).astype(np.uint8)
LEGEND = Legend(COLOURS, MOVING)
IMAGES = ImageTypes(*[SimpleNamespace] * 4, pack=lambda flat: flat.tobytes())
INFOS = CameraInfoTypes(SimpleNamespace, SimpleNamespace)


def pair(height: int = HEIGHT, width: int = WIDTH) -> tuple[Frame, Segmentation]:
    """A picture of 6x10 and labels of another size, if that is wanted."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    labels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    labels[0, 0] = 255
    return Frame(STAMP_NS, image, "front", "cam"), Segmentation(STAMP_NS, labels, 255 - labels, "front", "cam")


def sent(*wanted: str, size: tuple[int, int] = (HEIGHT, WIDTH), info: Any = None) -> dict[str, Any]:
    frame, result = pair(*size)
    topics = wanted.__contains__
    return dict(outgoing(frame, result, images=IMAGES, infos=INFOS, info=info, legend=LEGEND, wanted=topics))


def test_only_labels_and_confidence_where_nobody_wants_more():
    assert list(sent()) == ["labels", "confidence"]


@pytest.mark.parametrize("topic", EXTRAS)
def test_each_extra_alone_after_what_planners_wait_for(topic):
    assert list(sent(topic)) == ["labels", "confidence", topic]


def test_labels_are_out_before_an_extra_is_built(monkeypatch):
    built: list[str] = []
    frame, result = pair()
    messages = outgoing(
        frame, result, images=IMAGES, infos=INFOS, legend=LEGEND, wanted=lambda topic: bool(built.append(topic))
    )
    assert [next(messages)[0], next(messages)[0]] == ["labels", "confidence"]
    assert built == [] and list(messages) == [] and built == list(EXTRAS)


def test_every_message_has_the_stamp_and_frame_id_of_the_picture():
    for message in sent(*EXTRAS).values():
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1_700_000_000, 987_654_321)
        assert message.header.frame_id == "cam"


def test_the_overlay_is_rgb8():
    message = sent("overlay")["overlay"]
    assert (message.encoding, message.height, message.width, message.step) == ("rgb8", HEIGHT, WIDTH, 3 * WIDTH)
    frame, result = pair()
    assert (image_to_rgb(message) == overlay(frame.image, result.labels, COLOURS)).all()


def test_the_overlay_has_the_size_of_the_labels():
    message = sent("overlay", size=(3, 5))["overlay"]
    assert (message.height, message.width) == (3, 5)
    frame, result = pair(3, 5)
    smaller = np.asarray(cv2.resize(frame.image, (5, 3), interpolation=cv2.INTER_AREA))
    assert (image_to_rgb(message) == overlay(smaller, result.labels, COLOURS)).all()


def test_compressed_labels_are_png_without_loss():
    message = sent("labels/compressed")["labels/compressed"]
    assert message.format == "mono8; png compressed" and message.data[:4] == b"\x89PNG"
    assert (image_to_labels(message) == pair()[1].labels).all()
    assert cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED).ndim == 2, "one channel"


def test_labels_that_are_a_view_are_compressed_alone():
    frame, _ = pair()
    view = np.arange(200, dtype=np.uint8).reshape(10, 20)[2:8, 3:13]
    result = Segmentation(0, view, view)
    wanted = {"labels/compressed"}.__contains__
    messages = dict(outgoing(frame, result, images=IMAGES, infos=INFOS, legend=LEGEND, wanted=wanted))
    assert (image_to_labels(messages["labels/compressed"]) == view).all()


def test_raw_confidence_is_a_float_from_0_to_1():
    message = sent("confidence_raw")["confidence_raw"]
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 4 * WIDTH, 0)
    values = np.frombuffer(message.data, "<f4").reshape(message.height, message.width)
    assert values.dtype == np.float32 and values.min() >= 0 and values.max() <= 1
    np.testing.assert_allclose(values, pair()[1].confidence / 255.0, atol=1e-7)


def test_an_extra_that_cannot_be_built_costs_nothing_else_and_is_said_once(monkeypatch, caplog):
    def broken(*_: Any) -> Any:
        raise ValueError("no paint")

    monkeypatch.setitem(EXTRAS, "overlay", replace(EXTRAS["overlay"], build=broken))
    for _ in range(2):
        assert list(sent("overlay", "confidence_raw")) == ["labels", "confidence", "confidence_raw"]
    (record,) = caplog.records
    assert "'overlay' could not be built" in record.getMessage() and "ValueError: no paint" in record.getMessage()


def test_the_moving_mask_is_nonzero_exactly_where_something_moves():
    message = sent("moving_mask")["moving_mask"]
    labels = pair()[1].labels
    assert message.encoding == "mono8" and message.header.frame_id == "cam"
    assert image_to_labels(message).tolist() == np.where((labels == 3) | (labels == 8), 255, 0).tolist()


def test_a_legend_knows_what_moves_by_the_names_of_the_classes(single_folder):
    card = load_card(single_folder)
    moving = Legend.of(card).moving
    assert [card.labels[label] for label in np.flatnonzero(moving)] == ["car", "pedestrian", "bicyclist"]
    assert moving[255] == 0, "what is not known is not taken for a person"
