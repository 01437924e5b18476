# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Nodes whose QoS does not fit are named in the log at once, over each middleware that is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from test.ros.peer import free_domain, kept_environment
from test.ros.test_live_faces import HAS_ROS, PAIRS, needs_dds, open_peer, start
from vss_ros.data.typestore import IMAGE

pytestmark = pytest.mark.timeout(120)

IMAGE_TOPIC = "/camera/image_raw"


@pytest.fixture
def saved_environment() -> Iterator[None]:
    with kept_environment():
        yield


def ended(process: Any) -> None:
    process.kill()
    process.wait()


def said(peer: Any, log: Path, text: str) -> str:
    """The line of the log with that text, waited for."""
    return str(peer.until(lambda: next((x for x in log.read_text().splitlines() if text in x), ""), text))


@pytest.fixture(params=PAIRS)
def node(
    request: pytest.FixtureRequest, saved_environment: None, single_folder: Path, tmp_path: Path
) -> Iterator[SimpleNamespace]:
    """A node that waits for pictures, and a peer."""
    face, transport = request.param
    domain, log = free_domain(), tmp_path / "node.log"
    process = start(face, domain, log, "--model", single_folder, "--image-topic", IMAGE_TOPIC)
    peer = open_peer(transport, domain)
    try:
        said(peer, log, "waiting for Image")
        yield SimpleNamespace(face=face, transport=transport, peer=peer, log=log)
    finally:
        peer.close()
        ended(process)


def test_a_planner_that_wants_latched_labels_is_named(node):
    node.peer.listen(node.peer.image, "/vss/labels", node.peer.latched)
    began_s = time.monotonic()
    line = said(node.peer, node.log, "'/vss/labels' does not reach")
    assert time.monotonic() - began_s < 2.5, "at once, which is within the names' way over the network"
    assert "does not reach /tester: durability transient_local was wanted, this node offers volatile" in line
    assert ("qos_overrides./vss/labels.publisher.durability" in line) == (node.face == "rclpy")
    node.peer.pause(1.0)
    assert node.log.read_text().count("does not reach") == 1


@needs_dds
def test_a_camera_that_wants_the_topic_for_itself_is_named(node):
    """Over DDS this node asks for so little that reliability and durability always fit; ownership may not."""
    if node.transport != "dds":
        pytest.skip("rclpy cannot ask for exclusive ownership")
    from cyclonedds.qos import Policy, Qos

    from vss_ros.ros.dds_names import RESULT
    from vss_ros.ros.dds_raw import RawWriter, dds_qos

    driver = node.peer.node
    qos = Qos(Policy.Ownership.Exclusive, base=dds_qos(RESULT, b""))
    driver._writers.append(RawWriter(driver.participant, driver._topic(IMAGE_TOPIC, IMAGE), qos))
    driver._announce()
    line = said(node.peer, node.log, "nothing comes from")
    assert f"from /tester on '{IMAGE_TOPIC}': its QoS policy ownership does not fit" in line


@pytest.mark.ros
@pytest.mark.skipif(not HAS_ROS, reason="ROS 2 is not sourced: rclpy does not import")
def test_a_best_effort_camera_is_named_where_reliable_is_wanted(saved_environment, single_folder, tmp_path):
    import importlib

    live = importlib.import_module("test.ros.live")
    qos = importlib.import_module("rclpy.qos")
    domain, log = live.free_domain(), tmp_path / "node.log"
    arguments = ["-p", f"model.name:={single_folder}", "-r", f"image:={IMAGE_TOPIC}"]
    process = live.start_node(
        domain, log, *arguments, "-p", f"qos_overrides.{IMAGE_TOPIC}.subscription.reliability:=reliable"
    )
    tester = live.Driver(domain)
    try:
        tester.bring_to_active()
        best_effort = qos.QoSProfile(depth=1, reliability=qos.ReliabilityPolicy.BEST_EFFORT)
        tester.node.create_publisher(live.Image, IMAGE_TOPIC, best_effort)
        line = said(tester, log, "nothing comes from")
        assert f"from /tester on '{IMAGE_TOPIC}': this node wants reliability reliable" in line
        assert f"set qos_overrides.{IMAGE_TOPIC}.subscription.reliability to best_effort" in line
        assert "Traceback" not in log.read_text()
    finally:
        tester.close()
        ended(process)
