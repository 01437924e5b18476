# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What goes out beside the labels, on a real ROS 2. Skipped where rclpy is absent."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.data.messages import image_to_labels

pytest.importorskip("rclpy", reason="ROS 2 is not sourced: rclpy does not import")
pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
live = importlib.import_module("test.ros.live")
CameraInfo = importlib.import_module("sensor_msgs.msg").CameraInfo

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]

STEP_NS = 100_000_000
HEIGHT, WIDTH = 90, 160  # of live.picture
LABELS = (45, 80)


@pytest.fixture(scope="module")
def node(lmanet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The active node with labels of half the camera's size, and the tester."""
    size = f"output.size:={LABELS[1]}x{LABELS[0]}"
    with live.running(tmp_path_factory.mktemp("live"), "-p", f"model.name:={lmanet_folder}", "-p", size) as node:
        tester = node.tester
        names = tester.listen(live.LabelInfo, "/vss/label_info", live.LATCHED)
        labels = tester.listen(live.Image, "/vss/labels")
        tester.bring_to_active()
        tester.until(lambda: names, "label_info before the first picture")
        assert labels == []
        clock = itertools.count(1_700_000_000_000_000_007, STEP_NS)
        show = tester.connect("/vss/image", lambda: live.picture(next(clock)), labels)
        yield SimpleNamespace(labels=labels, clock=clock, show=show, **vars(node))


def show_until(node: SimpleNamespace, *heard: list[Any], beside: Callable[[], None] = lambda: None) -> None:
    """Pictures, one every 0.3 s, until each list has something; before each, what else the camera sends.

    All is sent again and again, because what comes before both ends of a topic have found each other is lost.
    """
    for messages in heard:
        messages.clear()
    for _ in range(60):
        beside()
        node.tester.pause(0.1)
        node.show(live.picture(next(node.clock)))
        node.tester.pause(0.2)
        if all(heard):
            node.tester.pause(0.3)  # for the rest of the same picture
            return
    pytest.fail(f"nothing came on a topic: {[len(messages) for messages in heard]}\n{node.log.read_text()}")


def same_stamp(*heard: list[Any]) -> list[Any]:
    """One message of each topic, all of the newest stamp that is in all of them."""
    common = set.intersection(*(set(live.stamps_of(messages)) for messages in heard))
    assert common, "no stamp is on all topics"
    newest = max(common)
    return [next(m for m in messages if live.stamps_of([m]) == [newest]) for messages in heard]


def test_extras_come_to_who_subscribes(node):
    listen = node.tester.listen
    overlays, floats = listen(live.Image, "/vss/overlay"), listen(live.Image, "/vss/confidence_raw")
    pngs = listen(live.CompressedImage, "/vss/labels/compressed")
    confidences = listen(live.Image, "/vss/confidence")
    show_until(node, node.labels, confidences, overlays, pngs, floats)
    label, confidence, overlay, png, raw = same_stamp(node.labels, confidences, overlays, pngs, floats)
    assert {m.header.frame_id for m in (label, confidence, overlay, png, raw)} == {"cam_optical"}
    assert (overlay.encoding, overlay.height, overlay.width) == ("rgb8", *LABELS)
    assert png.format == "mono8; png compressed"
    assert (image_to_labels(png) == image_to_labels(label)).all()
    values = np.frombuffer(raw.data, "<f4").reshape(raw.height, raw.width)
    assert raw.encoding == "32FC1"
    np.testing.assert_allclose(values, image_to_labels(confidence) / 255.0, atol=1e-6)


def calibration(fx: float) -> Any:
    p = [fx, 0.0, 80.0, -20.0, 0.0, 120.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    k = [fx, 0.0, 80.0, 0.0, 120.0, 45.0, 0.0, 0.0, 1.0]
    return CameraInfo(height=HEIGHT, width=WIDTH, k=k, p=p, d=[0.1, 0.0, 0.0, 0.0, 0.0], distortion_model="plumb_bob")


def test_camera_info_comes_with_the_labels_at_their_size(node):
    infos = node.tester.listen(CameraInfo, "/vss/camera_info")
    camera = node.tester.node.create_publisher(CameraInfo, "/vss/camera_info_in", live.RELIABLE)
    show_until(node, node.labels, infos, beside=lambda: camera.publish(calibration(100.0)))
    label, info = same_stamp(node.labels, infos)
    assert info.header == label.header
    assert (info.height, info.width) == (label.height, label.width) == LABELS
    assert [info.k[i] for i in (0, 2, 4, 5)] == [50.0, 40.0, 60.0, 22.5]
    assert [info.p[i] for i in (0, 2, 3, 5, 6)] == [50.0, 40.0, -10.0, 60.0, 22.5]
    assert (info.distortion_model, list(info.d)) == ("plumb_bob", [0.1, 0.0, 0.0, 0.0, 0.0])
    assert "resets: camera_info changed" not in node.tester.figures()

    scaled: list[Any] = []
    while 50.5 not in scaled:
        show_until(node, infos, beside=lambda: camera.publish(calibration(101.0)))
        scaled += [info.k[0] for info in infos]
    figures = node.tester.figures()
    assert figures["resets: camera_info changed"] == "1"
    assert 0.0 <= float(figures["label_churn"]) <= 1.0


def test_a_camera_info_that_the_node_publishes_itself_is_refused(lmanet_folder, tmp_path, monkeypatch):
    for key, value in os.environ.items():
        monkeypatch.setenv(key, value)  # the tester sets the domain
    domain, log = live.free_domain(), tmp_path / "node.log"
    process = live.start_node(
        domain, log, "-p", f"model.name:={lmanet_folder}", "-r", "camera_info_in:=/vss/camera_info"
    )
    tester = live.Driver(domain)
    try:
        assert tester.change("configure")
        assert not tester.change("activate")
        assert tester.state == "inactive" and tester.node.count_subscribers("/vss/image") == 0
        assert "camera_info_in wants the camera's own topic, got /vss/camera_info" in log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        tester.close()
        process.kill()
        process.wait()
