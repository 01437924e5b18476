# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other side of the live tests: a ROS node in the test's process, in a domain of its own, on the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import rclpy
from ament_index_python import get_packages_with_prefixes
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Empty
from std_srvs.srv import Trigger
from vision_msgs.msg import LabelInfo

from test.ros.peer import PATIENCE_S, Peer, end_cleanly, free_domain, kept_environment, picture_of, stamps_of
from vss_ros.ros.rclpy_types import CLOUDS, IMAGES
from vss_ros.ros.silence import Publisher

__all__ = [  # with the message classes, so that the tests need not import ROS, which may be absent
    "LATCHED",
    "PATIENCE_S",
    "CompressedImage",
    "DescribeParameters",
    "Driver",
    "Empty",
    "Image",
    "LabelInfo",
    "Parameter",
    "SetParameters",
    "SetParametersAtomically",
    "Trigger",
    "free_domain",
    "picture",
    "stamps_of",
]

ROOT = Path(__file__).parents[2]
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


def start_node(domain: int, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The node's own process; what it logs goes to a file."""
    command = [sys.executable, "-m", "vss_ros.ros.rclpy_face", "--ros-args", "-r", "__ns:=/vss", *arguments]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment(domain), stdout=out, stderr=subprocess.STDOUT)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[SimpleNamespace]:
    """The node with these arguments, not yet configured, and a tester; it must end cleanly."""
    with kept_environment():
        domain, log = free_domain(), folder / "node.log"
        process = start_node(domain, log, *arguments)
        tester = Driver(domain)
        try:
            yield SimpleNamespace(process=process, tester=tester, log=log)
            end_cleanly(process, log)
        finally:
            tester.close()
            process.kill()
            process.wait()


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


class Driver(Peer):
    """A node on rclpy, with services and lifecycle too."""

    types = IMAGES
    image, compressed = Image, CompressedImage
    label_info, empty, diagnostics = LabelInfo, Empty, DiagnosticArray
    cloud, clouds = PointCloud2, CLOUDS
    reliable, latched = RELIABLE, LATCHED

    def __init__(self, domain: int, node: str = "/vss/segmenter") -> None:
        os.environ.update(environment(domain))
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("tester", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._segmenter, self.heard = node, {}
        self.listen(DiagnosticArray, "/diagnostics")

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def spin(self, timeout_s: float) -> None:
        self._executor.spin_once(timeout_sec=timeout_s)

    def subscribe(self, kind: Any, topic: str, qos: Any, heard: Callable[[Any], Any]) -> None:
        self.node.create_subscription(kind, topic, heard, qos)

    def advertise(self, kind: Any, topic: str) -> Callable[[Any], None]:
        return self.node.create_publisher(kind, topic, RELIABLE).publish  # type: ignore[no-any-return]

    def new(self, kind: Any) -> Any:
        return kind()

    def publishers(self, topic: str) -> list[Publisher]:
        return [_described(found) for found in self.node.get_publishers_info_by_topic(topic)]

    def subscribers(self, topic: str) -> list[Publisher]:
        return [_described(found) for found in self.node.get_subscriptions_info_by_topic(topic)]

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


def _described(endpoint: Any) -> Publisher:
    return Publisher(
        node=f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}",
        type=endpoint.topic_type,
        reliable=endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=endpoint.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


picture = partial(picture_of, IMAGES)
