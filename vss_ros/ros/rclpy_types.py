# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What rclpy lends to the parts that know no middleware: message classes, QoS profiles, the graph."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointField, RegionOfInterest
from sensor_msgs_py.point_cloud2 import create_cloud
from std_msgs.msg import Header

from vss_ros.core.errors import BackendError
from vss_ros.data.messages import TRANSPORTS, ImageTypes
from vss_ros.ros.camera_info import CameraInfoTypes
from vss_ros.ros.conversions import DiagnosticTypes, LabelTypes, pack
from vss_ros.ros.points import CloudTypes, Points
from vss_ros.ros.rclpy_refusals import described
from vss_ros.ros.silence import why_silent

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # not part of ros_base; all but the class names work without it
    LABELS: LabelTypes | None = None
else:
    LABELS = LabelTypes(LabelInfo, VisionClass)

IMAGES = ImageTypes(image=Image, compressed=CompressedImage, header=Header, time=Time, pack=pack)
INFOS = CameraInfoTypes(CameraInfo, RegionOfInterest)


def _organised_cloud(header: Any, fields: Sequence[Any], points: Points) -> Any:
    """A PointCloud2 of `(H, W)` points; sensor_msgs_py would take the first dimension for the width."""
    cloud = create_cloud(header, fields, points.reshape(-1))
    cloud.height, cloud.width = points.shape
    cloud.row_step = cloud.point_step * cloud.width
    return cloud


CLOUDS = CloudTypes(PointField, _organised_cloud)
DIAGNOSTICS = DiagnosticTypes(DiagnosticArray, DiagnosticStatus, KeyValue, level=lambda number: bytes([number]))

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
RESULT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
PACKETS = QoSProfile(  # of a video: each one that is not taken costs the pictures up to a keyframe
    history=HistoryPolicy.KEEP_LAST,
    depth=30,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
POLICIES = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


def picture_class(transport: str) -> Any:
    """The message class of a `node.image_transport`.

    Raises:
        BackendError: its package is not installed.
    """
    package, _, name = TRANSPORTS[transport].split("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise BackendError(
            f"node.image_transport {transport} wants the package {package}: {error}; install "
            f"ros-<distro>-{package.replace('_', '-')}"
        ) from error


def fresh(qos: QoSProfile) -> QoSProfile:
    """A profile of its own, because overrides are written into the one they are given."""
    return QoSProfile(history=qos.history, depth=qos.depth, reliability=qos.reliability, durability=qos.durability)


def explain_silence(node: Node, subscription: Any) -> str:
    """Why a subscription gets nothing, from what the graph shows of its topic."""
    topic, wanted = subscription.topic_name, type_name(subscription.msg_type)
    publishers = [described(info) for info in node.get_publishers_info_by_topic(topic)]
    ours = {topic, *(publisher.topic_name for publisher in node.publishers)}
    return why_silent(
        topic,
        wanted,
        publishers,
        reliable=subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=subscription.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        elsewhere=[name for name, types in node.get_topic_names_and_types() if wanted in types and name not in ours],
    )


def type_name(kind: Any) -> str:
    """`sensor_msgs/msg/Image` of a message class."""
    package, middle, _ = kind.__module__.split(".", 2)
    return f"{package}/{middle}/{kind.__name__}"
