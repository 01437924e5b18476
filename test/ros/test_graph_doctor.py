# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss doctor --graph`: what it says of a graph, and that it hears one over each middleware that is there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from test.ros.peer import free_domain, kept_environment
from test.ros.test_live_faces import ROOT, environment, needs_dds, needs_ros, open_peer
from vss_ros import doctor
from vss_ros.core.errors import ConfigError
from vss_ros.data.typestore import COMPRESSED_IMAGE, IMAGE, LABEL_INFO
from vss_ros.ros import graph_doctor
from vss_ros.ros.dds_names import LATCHED
from vss_ros.ros.graph_doctor import Graph, examine_graph, judge
from vss_ros.ros.silence import Publisher

CAMERA = ("/camera/image_raw", Publisher("/camera/driver", IMAGE, True, False, depth=5))
JPEG = ("/rear/compressed", Publisher("/rear/driver", COMPRESSED_IMAGE, False, False))
NAMES = ("/vss/label_info", Publisher("/vss/segmenter", LABEL_INFO, True, True))


def test_topics_of_pictures_with_who_publishes_them():
    graph, front, rear = judge(Graph("rclpy", [CAMERA, JPEG, NAMES]))
    assert graph.good and graph.found == "over rclpy: 3 topics, 2 of pictures"
    assert front.what == "/camera/image_raw from /camera/driver"
    assert front.found == f"{IMAGE}, reliable, volatile, depth 5: fits"
    assert rear.found == f"{COMPRESSED_IMAGE}, best_effort, volatile, depth unknown: fits image_transport:=compressed"
    assert all(finding.good and not finding.needed for finding in (front, rear))


def test_a_graph_without_pictures_has_a_remedy_but_keeps_nobody_from_starting():
    (graph,) = judge(Graph("dds", [NAMES]))
    assert not graph.good and not graph.needed and "ROS_DOMAIN_ID" in graph.remedy


def test_the_topic_that_was_asked_for_must_have_pictures():
    *_, nobody = judge(Graph("dds", [CAMERA]), "/camera/image")
    assert nobody.needed and not nobody.good and "pictures are on /camera/image_raw" in nobody.remedy
    *_, wrong = judge(Graph("dds", [CAMERA, NAMES]), "vss/label_info")
    assert wrong.needed and not wrong.good and f"choose a topic of {IMAGE} or " in wrong.remedy
    *_, good = judge(Graph("dds", [CAMERA, JPEG]), "/camera/image_raw")
    assert good.needed and good.good and good.what.startswith("/camera/image_raw")


def test_a_publisher_that_does_not_fit_has_a_remedy():
    *_, rear = judge(Graph("dds", [JPEG]), "/rear/compressed", wanted=LATCHED)
    assert not rear.good and "does not fit, reliability reliable is wanted" in rear.found
    assert rear.remedy == "set qos_overrides./rear/compressed.subscription.reliability to best_effort"


def test_two_cameras_on_one_topic_are_a_fault():
    second = (CAMERA[0], Publisher("/simulator", IMAGE, True, False))
    *_, mixed = judge(Graph("dds", [CAMERA, second]))
    assert mixed.what == "/camera/image_raw" and not mixed.good and "2 publishers" in mixed.found


def test_without_a_transport_or_with_a_wrong_domain_it_is_one_finding(monkeypatch):
    bad = doctor.Finding("transport", "no", False, False)
    monkeypatch.setattr(graph_doctor, "transports", lambda: {"rclpy": bad, "dds": bad})
    (finding,) = examine_graph()
    assert finding.needed and not finding.good and "neither works" in finding.found

    def refuse(listen_s: float) -> Any:
        raise ConfigError("ROS_DOMAIN_ID wants a number from 0 to 232, got 'x'")

    monkeypatch.setattr(graph_doctor, "listen", refuse)
    (finding,) = examine_graph("/camera/image_raw")
    assert finding.needed and finding.found.startswith("ROS_DOMAIN_ID wants")


# Live


@pytest.fixture
def saved_environment() -> Iterator[None]:
    with kept_environment():
        yield


HEARD_BY = [  # what the doctor listens with, and what the camera speaks
    pytest.param(("dds", "dds"), id="dds", marks=needs_dds),
    pytest.param(("dds", "rclpy"), id="dds-to-rclpy", marks=[needs_dds, *needs_ros]),
    pytest.param(("rclpy", "rclpy"), id="rclpy", marks=needs_ros),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pair", HEARD_BY)
def test_a_camera_is_heard_with_its_node_and_qos(pair, saved_environment, tmp_path, monkeypatch):
    ears, transport = pair
    domain, file = free_domain(), tmp_path / "doctor.json"
    chosen = environment(domain)
    if ears == "dds":  # a Python that does not see ROS
        chosen = {key: value for key, value in chosen.items() if key not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    peer = open_peer(transport, domain)
    try:
        peer.advertise(peer.image, "/camera/image_raw")
        shown = vss_doctor(chosen, "--topic", "/camera/image_raw", "--json", str(file))
        found = {f["what"]: f for f in json.loads(file.read_text())["findings"]}
        assert found["graph"]["found"].startswith(f"over {ears}:"), shown.stdout
        camera = found["/camera/image_raw from /tester"]
        assert camera["good"] and camera["found"] == f"{IMAGE}, reliable, volatile, depth 20: fits"
        faults = [f for f in found.values() if f["needed"] and not f["good"]]
        assert shown.returncode == (1 if faults else 0) and "/camera/image_raw from /tester" not in str(faults)
        missed = vss_doctor(chosen, "--topic", "/camera/other", "--json", str(file))
        (other,) = (f for f in json.loads(file.read_text())["findings"] if f["what"] == "/camera/other")
        assert missed.returncode == 1 and "/camera/image_raw" in other["remedy"]
    finally:
        peer.close()


def vss_doctor(chosen: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from vss_ros.cli import main_doctor; main_doctor()", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=chosen, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done
