# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Names, QoS and discovery as rmw_cyclonedds has them; a ROS node would not find or match anything else."""

from __future__ import annotations

import importlib
import logging
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vss_ros.core.errors import ConfigError
from vss_ros.data.typestore import IMAGE, LABEL_INFO, ros2_types
from vss_ros.ros import dds_discovery
from vss_ros.ros.cameras import remappings
from vss_ros.ros.dds_discovery import Discovery, discovery_of, warn_of_small_buffer
from vss_ros.ros.dds_names import (
    LATCHED,
    NEWEST,
    RESULT,
    dds_topic,
    dds_type,
    full_name,
    full_namespace,
    padded,
    ros_topic,
    ros_type,
)


@pytest.mark.parametrize(
    ("name", "full"),
    [("/camera/image", "/camera/image"), ("labels", "/a/b/labels"), ("~/reset", "/a/b/segmenter/reset")],
)
def test_names_are_resolved_as_rcl_does(name, full):
    assert full_name(name, "/a/b", "segmenter") == full
    assert full_name("labels", "/", "segmenter") == "/labels"


@pytest.mark.parametrize("name", ["", "a b", "/a//b", "1st", "/a/", "ü", "a-b", "~x"])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="a topic wants letters"):
        full_name(name, "/", "segmenter")


def test_namespaces_have_one_slash():
    assert [full_namespace(text) for text in ("vss", "/vss", "/a/b/", "", "/")] == ["/vss", "/vss", "/a/b", "/", "/"]
    with pytest.raises(ConfigError, match="a namespace wants"):
        full_namespace("my robot")


def test_names_and_types_in_dds_and_back():
    assert dds_topic("/vss/labels") == "rt/vss/labels" and ros_topic("rt/vss/labels") == "/vss/labels"
    assert ros_topic("ros_discovery_info") is None and ros_topic("rq/vss/set_parametersRequest") is None
    assert dds_type(IMAGE) == "sensor_msgs::msg::dds_::Image_" and ros_type(dds_type(IMAGE)) == IMAGE
    assert ros_type("HelloWorld::Msg") == "HelloWorld::Msg"


@given(st.binary(max_size=20))
def test_payloads_are_padded_to_four(cdr):
    for given_as in (cdr, memoryview(cdr)):
        payload = padded(given_as)
        assert len(payload) % 4 == 0 and len(payload) - len(cdr) < 4
        assert bytes(payload) == cdr + b"\0" * (len(payload) - len(cdr))
    if len(cdr) % 4 == 0:
        assert padded(cdr) is cdr


def test_topics_belong_to_cameras():
    assert remappings("", "image", "") == {}
    assert remappings("", "image", "/cam") == {"image": "/cam"}
    assert remappings("front, rear", "image", "/f,/r") == {"front/image": "/f", "rear/image": "/r"}
    with pytest.raises(ConfigError, match="2 topics were wanted for front/image, rear/image, got 1"):
        remappings("front,rear", "image", "/f")


# Discovery


def settings_of(discovery: Discovery) -> dict[str, list[str]]:
    """Texts and attributes by element name."""
    found: dict[str, list[str]] = {}
    for element in ElementTree.fromstring(discovery.xml().split(">,<")[0]).iter():
        found.setdefault(element.tag, []).append(element.get("address") or element.text or "")
    return found


def test_the_environment_says_where_to_look():
    assert discovery_of({}) == Discovery(0, "SUBNET", (), "")
    names = {"ROS_DOMAIN_ID": "7", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "10.0.0.2; robot;"}
    assert discovery_of(names) == Discovery(7, "LOCALHOST", ("10.0.0.2", "robot"), "")
    assert discovery_of({"ROS_LOCALHOST_ONLY": "1"}).range == "LOCALHOST"
    assert discovery_of({"ROS_STATIC_PEERS": "x", "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}).peers == ()


def test_an_unknown_range_is_the_smallest_as_in_rcl(caplog):
    with caplog.at_level(logging.WARNING):
        assert discovery_of({"ROS_AUTOMATIC_DISCOVERY_RANGE": "local"}).range == "LOCALHOST"
    assert "got 'local'" in caplog.text


@pytest.mark.parametrize("text", ["233", "-1", "seven", "1.0", "²"])
def test_a_domain_is_a_small_number(text):
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID wants a number from 0 to 232"):
        discovery_of({"ROS_DOMAIN_ID": text})


def test_localhost_stays_on_the_loopback():
    found = settings_of(Discovery(range="LOCALHOST"))
    assert found["AllowMulticast"] == ["false"] and found["ParticipantIndex"] == ["auto"]
    assert found["NetworkInterface"] == found["Peer"] == ["127.0.0.1"]
    with_peers = settings_of(Discovery(range="LOCALHOST", peers=("10.0.0.2",)))
    assert with_peers["Peer"] == ["127.0.0.1", "10.0.0.2"] and "NetworkInterface" not in with_peers


def test_the_other_ranges():
    subnet = settings_of(Discovery(peers=('a"b&c',)))
    assert "AllowMulticast" not in subnet and subnet["Peer"] == ['a"b&c']
    off = settings_of(Discovery(range="OFF"))
    assert off["ParticipantIndex"] == ["none"] and off["Tag"][0].startswith("ros_discovery_off_")
    assert "Discovery" not in settings_of(Discovery(range="SYSTEM_DEFAULT"))


@pytest.mark.parametrize(
    ("uri", "bound"),
    [
        ("", True),
        ("file:///x.xml", False),
        ("<CycloneDDS><Domain><Tracing/></Domain></CycloneDDS>", True),
        ("<General><Interfaces><NetworkInterface name='lo'/></Interfaces></General>", False),
    ],
)
def test_cyclonedds_uri_has_the_last_word(uri, bound):
    found = discovery_of({"CYCLONEDDS_URI": uri, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"})
    assert found.xml().endswith(f"</CycloneDDS>,{uri}" if uri else "</CycloneDDS>")
    assert ('address="127.0.0.1" multicast' in found.xml()) == bound


def test_a_small_receive_buffer_is_said(caplog, monkeypatch, tmp_path):
    with caplog.at_level(logging.WARNING):
        assert not warn_of_small_buffer(4 << 20) and not warn_of_small_buffer(None)
        assert not caplog.records
        assert warn_of_small_buffer(212_992)
    assert "sysctl -w net.core.rmem_max" in caplog.text and "212992" in caplog.text
    monkeypatch.setattr(dds_discovery, "_RMEM_MAX", tmp_path / "absent")
    assert dds_discovery.granted_buffer() is None


# With the wheel


@pytest.fixture(scope="module")
def dds() -> Any:
    pytest.importorskip("cyclonedds", reason="the wheel cyclonedds is not installed")
    names = ("raw", "types", "transport", "graph")
    return SimpleNamespace(**{name: importlib.import_module(f"vss_ros.ros.dds_{name}") for name in names})


def test_qos_is_that_of_rmw(dds):
    from cyclonedds.qos import Policy

    newest, result, latched = (dds.raw.dds_qos(profile, b"typehash=x;") for profile in (NEWEST, RESULT, LATCHED))
    assert Policy.Reliability.BestEffort in newest and Policy.Durability.Volatile in newest
    assert newest[Policy.History] == Policy.History.KeepLast(1) and result[Policy.History].depth == 5
    assert isinstance(result[Policy.Reliability], Policy.Reliability.Reliable)
    assert Policy.Durability.TransientLocal in latched
    assert latched[Policy.DurabilityService].history == Policy.History.KeepLast(1)
    for qos in (newest, result, latched):
        assert qos[Policy.Userdata].data == b"typehash=x;"
        assert not qos[Policy.WriterDataLifecycle].autodispose
        assert not qos[Policy.DataRepresentation].use_xcdrv2_representation


def test_types_are_those_of_ros(dds):
    kind = dds.types.idl_type(LABEL_INFO)
    assert kind.__idl_typename__.replace(".", "::") == "vision_msgs::msg::dds_::LabelInfo_"
    # as /opt/ros/jazzy/share/vision_msgs/msg/LabelInfo.json has it
    assert ros2_types().hash_rihs01(LABEL_INFO).startswith("RIHS01_3d37df4015cdf660")


def test_a_picture_arrives_as_a_view_and_outlives_its_reader(dds):
    from test.ros.peer import free_domain, picture_of, stamps_of
    from vss_ros.data.typestore import rosbags_image_types

    discovery = Discovery(free_domain(), "OFF")
    one = dds.transport.DdsNode("one", "/a", discovery=discovery)
    heard: list[Any] = []
    one.subscribe("image", IMAGE, NEWEST, heard.append)
    publish = one.publisher("/a/image", IMAGE, RESULT)
    sent = picture_of(rosbags_image_types(), 7, height=481, width=639)
    for _ in range(50):
        publish(sent)
        one.spin(0.1)
        if heard:
            break
    one.close()
    assert stamps_of(heard[:1]) == [7] and not heard[0].data.flags.owndata
    assert np.array_equal(heard[0].data, sent.data)


def test_names_of_nodes_that_are_no_text_are_left_out(dds):
    """Anybody may announce anything; the node that listens goes on."""
    from test.ros.peer import free_domain

    node = dds.transport.DdsNode("one", discovery=Discovery(free_domain(), "OFF"))
    graph = dds.graph.Graph(node.participant)
    try:
        node.publisher("/labels", IMAGE, RESULT)
        kind = dds.graph.GRAPH_TYPE
        types = ros2_types().types
        stranger = types["rmw_dds_common/msg/NodeEntitiesInfo"]("/", "stranger", [], [])
        gid = types["rmw_dds_common/msg/Gid"](np.zeros(16, np.uint8))
        announced = bytes(ros2_types().serialize_cdr(types[kind](gid, [stranger]), kind))
        node._graph.write_cdr(announced.replace(b"stranger", b"\xff\xferanger"))
        ((topic, found),) = graph.publishers()
        assert (topic, found.node, found.type) == ("/labels", "/one", IMAGE)
    finally:
        graph.close()
        node.close()


def test_a_configuration_that_cyclone_refuses_is_one_sentence(dds):
    from test.ros.peer import free_domain
    from vss_ros.core.errors import BackendError

    discovery = Discovery(free_domain(), "OFF", extra="<CycloneDDS><Domain><NoSuchThing/></Domain></CycloneDDS>")
    with pytest.raises(BackendError, match="a DDS participant was wanted in domain"):
        dds.transport.DdsNode("one", discovery=discovery)
