# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The same checks on `vss node` over each middleware that is there, from a peer on each, in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.ros.peer import cloud_of, end_cleanly, free_domain, kept_environment, picture_of, stamps_of
from vss_ros.assemble import load_card
from vss_ros.data.messages import image_to_labels
from vss_ros.data.typestore import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, LABEL_INFO, POINT_CLOUD, ros2_types
from vss_ros.ros.points import LAYOUT

pytestmark = pytest.mark.timeout(120)

HAS_DDS = importlib.util.find_spec("cyclonedds") is not None
HAS_ROS = all(importlib.util.find_spec(name) is not None for name in ("rclpy", "vision_msgs"))
needs_dds = pytest.mark.skipif(not HAS_DDS, reason="the wheel cyclonedds is not installed")
needs_ros = [pytest.mark.ros, pytest.mark.skipif(not HAS_ROS, reason="ROS 2 is not sourced: rclpy does not import")]

ROOT = Path(__file__).parents[2]
STEP_NS = 100_000_000
IMAGE_TOPIC, POINTS_TOPIC = "/camera/image_raw", "/camera/depth/points"
_clock = itertools.count(1_700_000_000_000_000_007, STEP_NS)  # stamps go on from test to test

PAIRS = [  # transport of the node, and of the peer
    pytest.param(("dds", "dds"), id="dds", marks=needs_dds),
    pytest.param(("dds", "rclpy"), id="dds-to-rclpy", marks=[needs_dds, *needs_ros]),
    pytest.param(("rclpy", "rclpy"), id="rclpy", marks=needs_ros),
]


def open_peer(transport: str, domain: int) -> Any:
    if transport == "dds":
        return importlib.import_module("test.ros.live_dds").DdsPeer(domain)
    return importlib.import_module("test.ros.live").Driver(domain)


def environment(domain: int) -> dict[str, str]:
    """Loopback only; with ROS, the RMW that speaks with everybody here."""
    if HAS_ROS:
        chosen: dict[str, str] = importlib.import_module("test.ros.live").environment(domain)
        return chosen
    return os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def start(transport: str, domain: int, log: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """`vss node` in a process of its own; what it logs goes to a file."""
    command = [sys.executable, "-m", "vss_ros.cli", "node", "--transport", transport, "--threads", "1"]
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, *map(str, arguments)], cwd=ROOT, env=environment(domain), stdout=out, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="module")
def saved_environment() -> Iterator[None]:
    with kept_environment():
        yield


@pytest.fixture(scope="module", params=PAIRS)
def started(
    request: pytest.FixtureRequest,
    saved_environment: None,
    lmanet_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SimpleNamespace]:
    """Node and peer, connected; the node must end with code 0 on SIGINT."""
    face, transport = request.param
    domain, log = free_domain(), tmp_path_factory.mktemp(face) / "node.log"
    points = ("--points", "cloud", "--points-topic", POINTS_TOPIC)
    process = start(face, domain, log, "--model", lmanet_folder, "--image-topic", IMAGE_TOPIC, *points)
    peer = open_peer(transport, domain)
    try:
        labels, confidence = (peer.listen(peer.image, f"/vss/{name}") for name in ("labels", "confidence"))
        show = peer.connect(IMAGE_TOPIC, lambda: picture_of(peer.types, next(_clock)), labels, peer.image)
        yield SimpleNamespace(
            face=face, peer=peer, log=log, labels=labels, confidence=confidence, model=lmanet_folder, show=show
        )
        assert process.poll() is None, log.read_text()
        end_cleanly(process, log)
    finally:
        peer.close()
        process.kill()
        process.wait()


@pytest.fixture
def node(started: SimpleNamespace) -> SimpleNamespace:
    """The same node with nothing heard yet."""
    started.labels.clear()
    started.confidence.clear()
    return started


def segment(node: SimpleNamespace, **kind: Any) -> tuple[int, Any, Any]:
    """Show one picture; its stamp, labels and confidence."""
    stamp_ns = next(_clock)
    node.show(picture_of(node.peer.types, stamp_ns, **kind))
    node.peer.until(lambda: stamp_ns in stamps_of(node.labels), "labels")
    node.peer.until(lambda: stamp_ns in stamps_of(node.confidence), "confidence")
    return stamp_ns, node.labels[-1], node.confidence[-1]


@pytest.mark.parametrize("kind", [{}, {"encoding": "bgr8"}, {"padding": 13}, {"height": 48, "width": 63}])
def test_labels_as_planners_read_them(node, kind):
    stamp_ns, labels, confidence = segment(node, **kind)
    classes = len(load_card(node.model).labels)
    for message in (labels, confidence):
        assert message.encoding == "mono8"
        assert (message.height, message.width) == (kind.get("height", 90), kind.get("width", 160))
        assert message.step == message.width
        assert len(message.data) == message.height * message.width
        assert message.header.frame_id == "cam_optical"
    assert labels.header == confidence.header
    assert stamps_of([labels]) == [stamp_ns]
    assert max(labels.data) < classes
    assert max(confidence.data) > 0


def test_every_picture_of_a_slow_stream_has_labels_in_order(node):
    stamps = [segment(node)[0] for _ in range(5)]
    assert stamps_of(node.labels) == stamps_of(node.confidence) == stamps


def test_class_names_reach_whoever_comes_late(node):
    heard = node.peer.listen(node.peer.label_info, "/vss/label_info", node.peer.latched)
    node.peer.until(lambda: heard, "label_info")
    names = {entry.class_id: entry.class_name for entry in heard[0].class_map}
    assert names == dict(enumerate(load_card(node.model).labels))


def test_types_and_profiles_on_the_graph(node):
    (image,) = node.peer.until(lambda: node.peer.subscribers(IMAGE_TOPIC), "the node's subscription")
    assert (image.node, image.type, image.reliable) == ("/vss/segmenter", IMAGE, False)
    for topic, kind, latched in (
        ("/vss/labels", IMAGE, False),
        ("/vss/confidence", IMAGE, False),
        ("/vss/label_info", LABEL_INFO, True),
        ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", False),
        ("/vss/stats", "diagnostic_msgs/msg/DiagnosticArray", False),
        ("/vss/points", POINT_CLOUD, False),
    ):
        (offered,) = node.peer.until(lambda topic=topic: node.peer.publishers(topic), topic)
        assert (offered.node, offered.type) == ("/vss/segmenter", kind)
        assert (offered.reliable, offered.latched) == (True, latched)


def test_memory_is_reset_by_topic_and_by_a_stamp_that_goes_back(node):
    before = node.peer.figures()
    segment(node)
    reset = node.peer.advertise(node.peer.empty, "/vss/segmenter/reset")
    node.peer.until(lambda: node.peer.subscribers("/vss/segmenter/reset"), "a subscriber of ~/reset")
    node.peer.pause(0.5)
    reset(node.peer.new(node.peer.empty))
    node.peer.pause(0.5)
    segment(node)
    old = next(_clock) - 10**12
    node.show(picture_of(node.peer.types, old))
    node.peer.until(lambda: old in stamps_of(node.labels), "labels of the older stamp")
    after = node.peer.figures()
    for reason in ("resets: topic", "resets: stamp went back"):
        assert int(after[reason]) == int(before.get(reason, 0)) + 1


def test_garbage_in_the_stream_leaves_the_good_pictures_unharmed(node):
    before = node.peer.figures()
    stamps = [segment(node)[0]]
    for kind in ("garbage8", "rgb8", "rgb8"):
        garbage = picture_of(node.peer.types, next(_clock), encoding=kind)
        if kind == "rgb8":
            garbage.data = garbage.data[:100]
        node.show(garbage)
        node.peer.pause(0.2)
        stamps.append(segment(node)[0])
    assert stamps_of(node.labels) == stamps
    after = node.peer.figures()
    assert int(after["dropped: bad encoding"]) == int(before["dropped: bad encoding"]) + 3
    assert node.log.read_text().count("garbage8") == 1
    assert float(after["total_p50_ms"]) > 0


def test_overlay_and_png_come_to_who_subscribes(node):
    overlays = node.peer.listen(node.peer.image, "/vss/overlay")
    pngs = node.peer.listen(node.peer.compressed, "/vss/labels/compressed")

    def seen() -> bool:
        segment(node)
        return bool(set(stamps_of(overlays)) & set(stamps_of(pngs)))

    node.peer.until(seen, "overlay and PNG of one picture")
    assert overlays[-1].encoding == "rgb8" and pngs[-1].format == "mono8; png compressed"
    labels = {stamp: message for stamp, message in zip(stamps_of(node.labels), node.labels, strict=True)}
    (stamp_ns,) = stamps_of(pngs[-1:])
    assert np.array_equal(image_to_labels(pngs[-1]), image_to_labels(labels[stamp_ns]))


def test_labelled_points_come_to_who_subscribes(node):
    clouds = node.peer.listen(node.peer.cloud, "/vss/points")
    publish = node.peer.advertise(node.peer.cloud, POINTS_TOPIC)
    stamps: list[int] = []

    def seen() -> bool:
        stamps.append(next(_clock))
        publish(cloud_of(node.peer, stamps[-1] + 20_000_000))
        node.peer.pause(0.1)
        node.show(picture_of(node.peer.types, stamps[-1]))
        node.peer.until(lambda: stamps[-1] in stamps_of(node.labels), "labels")
        return bool(clouds)

    node.peer.until(seen, "labelled points")
    cloud, labels = clouds[-1], next(m for m in node.labels if stamps_of([m]) == stamps_of(clouds[-1:]))
    assert cloud.header.frame_id == "depth_optical" and (cloud.height, cloud.width) == (9, 16)
    points = np.frombuffer(cloud.data, LAYOUT).reshape(9, 16)
    assert points["z"].ravel().tolist() == list(range(1, 145))
    np.testing.assert_array_equal(points["label"], image_to_labels(labels)[5::10, 5::10])


def test_camera_info_comes_at_the_size_of_the_labels(node):
    if node.peer.image != IMAGE:
        pytest.skip("test_live_outputs.py has this with messages of rclpy")
    heard = node.peer.listen(CAMERA_INFO, "/vss/camera_info")
    publish = node.peer.advertise(CAMERA_INFO, "/vss/camera_info_in")
    types = ros2_types().types
    info = types[CAMERA_INFO](
        header=picture_of(node.peer.types, 0).header,
        height=180,
        width=320,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([100.0, 0, 160, 0, 100, 90, 0, 0, 1]),
        r=np.eye(3).reshape(-1),
        p=np.eye(3, 4).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )

    def seen() -> bool:
        publish(info)
        segment(node)
        return bool(heard)

    node.peer.until(seen, "camera_info")
    assert (heard[-1].height, heard[-1].width) == (90, 160)
    assert heard[-1].k[0] == 50 and heard[-1].header.frame_id == "cam_optical"


def test_text_that_is_none_leaves_the_good_pictures_unharmed(node):
    if node.peer.image != IMAGE:
        pytest.skip("rclpy cannot send it")
    write = node.peer.node.publisher(IMAGE_TOPIC, IMAGE, node.peer.reliable).writer.write_cdr
    good = bytes(ros2_types().serialize_cdr(picture_of(node.peer.types, next(_clock)), IMAGE))
    segment(node)
    for _ in range(3):
        write(good.replace(b"cam_optical", b"\xff\xfe\xfdoptical!"[:11]))
        node.peer.pause(0.2)
        segment(node)
    node.peer.until(lambda: "got bytes that are none" in node.log.read_text(), "the node's complaint")
    assert node.log.read_text().count("got bytes that are none") == 1


@needs_dds
@pytest.mark.ros
@pytest.mark.skipif(not HAS_ROS or shutil.which("ros2") is None, reason="ROS 2 is not sourced")
def test_the_tools_of_ros_see_the_node_over_dds(lmanet_folder, saved_environment, tmp_path):
    domain, log = free_domain(), tmp_path / "node.log"
    chosen = environment(domain)
    process = start("dds", domain, log, "-m", lmanet_folder, "--image-transport", "compressed", "--namespace", "/a/b")
    try:

        def ros2(*arguments: str) -> str:
            command = ["ros2", *arguments, "--no-daemon", "--spin-time", "2"]
            done = subprocess.run(command, env=chosen, capture_output=True, text=True, timeout=40)
            assert done.returncode == 0, done.stderr
            return done.stdout

        info = ("--qos-durability", "transient_local", "--qos-reliability", "reliable")
        echo = ros2("topic", "echo", "--once", "--timeout", "20", "/a/b/label_info", LABEL_INFO, *info)
        assert f"class_name: {load_card(lmanet_folder).labels[0]}" in echo
        topics = ros2("topic", "list", "-t").splitlines()
        assert f"/a/b/labels [{IMAGE}]" in topics and f"/a/b/image [{COMPRESSED_IMAGE}]" in topics
        assert "/a/b/segmenter" in ros2("node", "list").splitlines()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
