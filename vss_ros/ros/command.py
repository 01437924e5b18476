# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss node`: chooses what carries the topics, and starts the node on it."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import platform
from collections.abc import Mapping

from vss_ros.core.config import Settings
from vss_ros.core.errors import BackendError, ConfigError
from vss_ros.ros.cameras import remappings
from vss_ros.ros.parameter_file import as_yaml
from vss_ros.ros.points import INPUTS

TRANSPORTS = ("auto", "rclpy", "dds")
_NEEDED = {"rclpy": "rclpy", "dds": "cyclonedds.core"}
_REMEDY = {
    "rclpy": "source /opt/ros/<distro>/setup.bash, with a Python of the same version as ROS",
    "dds": "pip install 'cyclonedds==11.0.*', which there is for x86_64 and Python 3.10 to 3.13",
}


def run_node(
    settings: Settings,
    *,
    transport: str = "auto",
    namespace: str = "vss",
    image_topic: str = "",
    camera_info_topic: str = "",
    points_topic: str = "",
) -> int:
    """The node until a signal ends it; the exit code.

    Args:
        settings: all of the node's.
        transport: `rclpy`, `dds`, or `auto`, which takes the first of them that imports.
        namespace: of the node and its topics.
        image_topic: of the pictures; one for each camera, with commas. Empty: `image` in the namespace.
        camera_info_topic: of the cameras' CameraInfo, likewise. Empty: `camera_info_in`.
        points_topic: of depth or clouds, as `output.points` says, likewise. Empty: `depth_in` or `points_in`.

    Raises:
        ConfigError: a topic for points where `output.points` is none.
        VssError: the transport is not there, or settings, model or network cannot be used.
    """
    cameras = settings.node.cameras
    remapped = remappings(cameras, "image", image_topic) | remappings(cameras, "camera_info_in", camera_info_topic)
    source = settings.output.points
    if points_topic and source == "none":
        raise ConfigError(
            f"output.points depth or cloud was wanted with topic {points_topic}, got none; say which it is"
        )
    if source != "none":
        remapped |= remappings(cameras, INPUTS[source], points_topic)
    if choose(transport) == "rclpy":
        from vss_ros.ros.rclpy_face import main

        return main(ros_arguments(settings, namespace, remapped), autostart=True)
    from vss_ros.ros.dds_face import run

    logging.getLogger("vss_ros").setLevel(logging.INFO)
    return run(settings, namespace=namespace, remapped=remapped)


def choose(transport: str) -> str:
    """`rclpy` or `dds`, whichever was asked for and imports.

    Raises:
        ConfigError: there is no such transport.
        BackendError: its library does not import.
    """
    if transport not in TRANSPORTS:
        raise ConfigError(f"transport wants one of {', '.join(TRANSPORTS)}, got '{transport}'")
    asked = ("rclpy", "dds") if transport == "auto" else (transport,)
    missing = {}
    for name in asked:
        try:
            if name == "rclpy":
                _load_middleware()
            importlib.import_module(_NEEDED[name])
        except Exception as error:  # a C library of another version raises far more than ImportError
            missing[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            return name
    here = f"this is {platform.machine()} with Python {platform.python_version()}"
    if transport == "dds":
        hint = f"{_REMEDY['dds']}; {here}. Elsewhere take --transport rclpy: {_REMEDY['rclpy']}"
        raise BackendError(
            f"transport dds wants the wheel cyclonedds, which does not import ({missing['dds']}); {hint}"
        )
    if transport == "rclpy":
        raise BackendError(f"transport rclpy wants ROS 2, which does not load ({missing['rclpy']}); {_REMEDY['rclpy']}")
    raise BackendError(
        f"rclpy or cyclonedds was wanted, neither imports ({'; '.join(missing.values())}; {here}); "
        f"{_REMEDY['rclpy']}; or {_REMEDY['dds']}"
    )


def _load_middleware() -> None:
    """Raise OSError where RMW_IMPLEMENTATION names a library that is not there; importing rclpy would end the process.

    Where nothing is named, ROS takes its default.
    """
    name = os.environ.get("RMW_IMPLEMENTATION")
    if name:
        ctypes.CDLL(f"lib{name}.so")


def ros_arguments(settings: Settings, namespace: str, remapped: Mapping[str, str]) -> list[str]:
    """The same settings as `ros2 run vss_ros segmenter` takes them."""
    arguments = ["--ros-args", "-r", f"__ns:=/{namespace.strip('/')}"]
    for name, topic in remapped.items():
        arguments += ["-r", f"{name}:={topic}"]
    defaults = Settings().flat()
    for key, value in settings.flat().items():
        if value != defaults[key]:
            arguments += ["-p", f"{key}:={as_yaml(value)}"]
    return arguments
