# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What `vss node` starts, and what it says where nothing can be started."""

from __future__ import annotations

import sys

import pytest

from vss_ros.core.config import Settings
from vss_ros.core.errors import BackendError, ConfigError
from vss_ros.ros.command import choose, ros_arguments, run_node


def absent(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails


def present(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, sys)


def test_auto_prefers_rclpy(monkeypatch):
    present(monkeypatch, "rclpy", "cyclonedds", "cyclonedds.core")
    assert choose("auto") == choose("rclpy") == "rclpy"
    assert choose("dds") == "dds"


def test_auto_takes_dds_where_there_is_no_ros(monkeypatch):
    absent(monkeypatch, "rclpy")
    present(monkeypatch, "cyclonedds", "cyclonedds.core")
    assert choose("auto") == "dds"


@pytest.mark.parametrize(
    ("transport", "sentence"),
    [
        ("auto", r"rclpy or cyclonedds was wanted, neither imports .*source /opt/ros.*pip install 'cyclonedds==11\.0"),
        ("rclpy", r"transport rclpy wants ROS 2, which does not load .*source /opt/ros"),
        ("dds", r"transport dds wants the wheel cyclonedds.*x86_64 and Python 3\.10 to 3\.13.*--transport rclpy"),
    ],
)
def test_what_is_missing_is_said_with_the_remedy(monkeypatch, transport, sentence):
    absent(monkeypatch, "rclpy", "cyclonedds", "cyclonedds.core")
    with pytest.raises(BackendError, match=sentence) as raised:
        run_node(Settings(), transport=transport)
    assert "\n" not in str(raised.value)


def test_a_middleware_that_is_not_there_is_said_before_rclpy_ends_the_process(monkeypatch):
    present(monkeypatch, "rclpy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody")
    with pytest.raises(BackendError, match=r"which does not load \(librmw_of_nobody\.so.*source /opt/ros"):
        choose("rclpy")


def test_an_unknown_transport_is_refused():
    with pytest.raises(ConfigError, match="transport wants one of auto, rclpy, dds, got 'tcp'"):
        choose("tcp")


def test_settings_become_ros_arguments():
    changed = {"memory.slots": 2, "model.name": "models/with space", "confidence.min": 0.5}
    settings = Settings().with_values(changed)
    assert ros_arguments(settings, "vss", {"image": "/cam/image"}) == [
        *("--ros-args", "-r", "__ns:=/vss", "-r", "image:=/cam/image"),
        *("-p", "model.name:=models/with space", "-p", "memory.slots:=2", "-p", "confidence.min:=0.5"),
    ]
    assert ros_arguments(Settings(), "/", {}) == ["--ros-args", "-r", "__ns:=/"]
