# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other side of the live tests: a ROS node in the test's process, in a domain of its own, on the loopback."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python import get_packages_with_prefixes
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty, Header
from std_srvs.srv import Trigger
from vision_msgs.msg import LabelInfo

from vss_ros.ros.conversions import pack

__all__ = [  # with the message classes, so that the tests need not import ROS, which may be absent
    "LATCHED",
    "CompressedImage",
    "DescribeParameters",
    "Driver",
    "DurabilityPolicy",
    "Empty",
    "Image",
    "LabelInfo",
    "Parameter",
    "ReliabilityPolicy",
    "SetParameters",
    "SetParametersAtomically",
    "Trigger",
]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
RELIABLE = QoSProfile(depth=20)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def environment(domain: int) -> dict[str, str]:
    """Loopback only, and the middleware that the tests were made on, where it is installed."""
    # setup.bash sets the range to SUBNET, so it is replaced, not defaulted
    chosen = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if os.environ.get("ROS_DISTRO") == "humble":
        chosen["ROS_LOCALHOST_ONLY"] = "1"
    if "rmw_cyclonedds_cpp" in get_packages_with_prefixes():
        chosen.setdefault("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    return chosen


def free_domain() -> int:
    """A domain that another run on this machine hardly has; up to 101 its ports lie below the ephemeral ones."""
    return random.SystemRandom().randint(2, 101)


def start_node(domain: int, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The node's own process; what it logs goes to a file."""
    command = [sys.executable, "-m", "vss_ros.ros.rclpy_face", "--ros-args", "-r", "__ns:=/vss", *arguments]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment(domain), stdout=out, stderr=subprocess.STDOUT)


def install(prefix: Path) -> None:
    """What colcon would install, with links into the checkout: enough for `ros2 launch` and `ros2 run`."""
    share, executables = prefix / "share" / "vss_ros", prefix / "lib" / "vss_ros"
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "vss_ros"
    for folder in (share / "launch", executables, marker.parent):
        folder.mkdir(parents=True)
    marker.touch()
    # `ros2 launch` does not look into linked folders
    for path in (ROOT / "package.xml", *(ROOT / "launch").glob("*.py")):
        (share / path.relative_to(ROOT)).symlink_to(path)
    script = executables / "segmenter"
    script.write_text("#!/usr/bin/env python3\nimport sys\nfrom vss_ros.ros.rclpy_face import main\nsys.exit(main())\n")
    script.chmod(0o755)


def ros2(domain: int, prefix: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The `ros2` command with the package installed in `prefix`; stop it with SIGINT to its whole group."""
    chosen = environment(domain)
    chosen["AMENT_PREFIX_PATH"] = f"{prefix}{os.pathsep}{chosen['AMENT_PREFIX_PATH']}"
    chosen["PYTHONPATH"] = f"{ROOT}{os.pathsep}{chosen.get('PYTHONPATH', '')}"
    # the node's script says `env python3`, which is the test's own one in an activated virtual environment
    chosen["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{chosen['PATH']}"
    chosen["ROS_LOG_DIR"] = str(log.parent / "ros_log")
    with log.open("wb") as out:
        return subprocess.Popen(
            ["ros2", *arguments],
            env=chosen,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
        )


class Driver:
    """Publishes pictures and collects what comes back; spins only while it waits."""

    def __init__(self, domain: int, node: str = "/vss/segmenter") -> None:
        os.environ.update(environment(domain))
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("tester", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._segmenter, self.heard = node, dict[str, list[Any]]()
        self.listen(DiagnosticArray, "/diagnostics")

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def listen(self, kind: Any, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """All messages that come on a topic from now on, in a list that grows."""
        heard: list[Any] = []
        self.heard[topic] = heard
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """The condition's first true value."""
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def pause(self, seconds: float) -> None:
        """Listen for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """A service's answer."""
        client = self.node.create_client(kind, name)
        try:
            self.until(client.service_is_ready, f"service {name}")
            future = client.call_async(request or kind.Request())
            self.until(future.done, f"answer of {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    @property
    def state(self) -> str:
        return str(self.call(GetState, f"{self._segmenter}/get_state").current_state.label)

    def change(self, transition: str) -> bool:
        """A lifecycle transition by name."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return bool(self.call(ChangeState, f"{self._segmenter}/change_state", request).success)

    def bring_to_active(self) -> None:
        if self.state == "unconfigured":
            assert self.change("configure")
        if self.state == "inactive":
            assert self.change("activate")

    def connect(self, topic: str, make: Callable[[], Any], heard: list[Any]) -> Callable[[Any], None]:
        """A publisher of pictures, once the node answers to it.

        Both ends of a best-effort topic must have found each other, and only the own end can be asked: so pictures
        are sent until labels come back.
        """
        message = make()
        publisher = self.node.create_publisher(type(message), topic, RELIABLE)
        deadline = time.monotonic() + PATIENCE_S
        while not heard:
            assert time.monotonic() < deadline, f"no labels for pictures on {topic} within {PATIENCE_S:g} s"
            publisher.publish(make())
            self.pause(0.3)
        self.pause(0.5)  # for the last ones
        heard.clear()
        return publisher.publish  # type: ignore[no-any-return]

    def figures(self) -> dict[str, str]:
        """The node's newest diagnostics, waited for."""
        heard = self.heard["/diagnostics"]
        heard.clear()
        # the first one may have been counted before what the test has just done
        self.until(lambda: len(heard) >= 2, "diagnostics")
        return {entry.key: entry.value for status in heard[-1].status for entry in status.values}


def picture(stamp_ns: int, *, encoding: str = "rgb8", height: int = 90, width: int = 160, padding: int = 0) -> Image:
    """Noise, always the same for one stamp."""
    step = width * 3 + padding
    pixels = np.random.default_rng(stamp_ns).integers(0, 256, height * step, np.uint8)
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return Image(
        header=Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id="cam_optical"),
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        data=pack(pixels),
    )


def stamps_of(messages: Sequence[Any]) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]
