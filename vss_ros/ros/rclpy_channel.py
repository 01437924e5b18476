# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The topics of one camera on rclpy: publishers from configure to cleanup, subscriptions while the node is active."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2

from vss_ros.core.errors import ConfigError
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.camera_channel import CameraChannel
from vss_ros.ros.outputs import EXTRAS, POINTS, Legend
from vss_ros.ros.points import INPUTS
from vss_ros.ros.rclpy_refusals import Refusals
from vss_ros.ros.rclpy_types import (
    CLOUDS,
    IMAGES,
    INFOS,
    LABELS,
    LATCHED,
    NEWEST,
    PACKETS,
    POLICIES,
    RESULT,
    explain_silence,
    fresh,
)
from vss_ros.ros.silence import SilenceWatch

log = logging.getLogger(__name__)


class Channel(CameraChannel):
    """One camera on rclpy.

    Args:
        node: owner of publishers and subscriptions.
        camera, prefix, legend, points: as CameraChannel has them.
    """

    def __init__(self, node: LifecycleNode, camera: str, prefix: str, legend: Legend, points: str) -> None:
        super().__init__(camera, prefix, legend, points, images=IMAGES, infos=INFOS, clouds=CLOUDS)
        self._node = node
        self._subscriptions: list[Any] = []
        self._silence: SilenceWatch | None = None
        self._refusals = Refusals(node)
        self._publishers = {name: self._publisher(IMAGES.image, name) for name in ("labels", "confidence")}
        self._publishers["camera_info"] = self._publisher(INFOS.camera_info, "camera_info")
        for name, extra in EXTRAS.items():
            self._publishers[name] = self._publisher(extra.kind(IMAGES), name)
        if self._points is not None:
            self._publishers[POINTS] = self._publisher(PointCloud2, POINTS)
        self.label_info: Any = None if LABELS is None else self._publisher(LABELS.label_info, "label_info", LATCHED)

    def subscribe(self, app: SegmentApp, kind: Any) -> None:
        """Take pictures of that message class, and the camera's calibration.

        Raises:
            ConfigError: the calibration would come from the topic that this node publishes.
        """
        self._silence = SilenceWatch(time.monotonic())
        profile = NEWEST if kind is Image else PACKETS
        image = self._subscription(kind, "image", partial(app.offer, self._camera), profile)
        # camera_info_in, since camera_info is the name of the rescaled one, beside the labels
        info = self._subscription(INFOS.camera_info, "camera_info_in", partial(self._on_camera_info, app))
        if info.topic_name == self._publishers["camera_info"].topic_name:
            raise ConfigError(
                f"camera_info_in wants the camera's own topic, got {info.topic_name}, on which this node publishes; "
                "remap it to another"
            )
        if self._points is not None:
            points_kind = {"depth": Image, "cloud": PointCloud2}[self._points_source]
            self._subscription(points_kind, INPUTS[self._points_source], self._points.offer)
        log.info("waiting for %s on %s, CameraInfo on %s", kind.__name__, image.topic_name, info.topic_name)

    def unsubscribe(self) -> None:
        """Take nothing more."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def watch(self, received: int) -> None:
        """Say why no pictures come, once, if they do not."""
        if self._subscriptions and self._silence is not None and self._silence.is_news(received, time.monotonic()):
            log.warning("%s", explain_silence(self._node, self._subscriptions[0]))

    def destroy(self) -> None:
        """Take everything off the graph."""
        self.unsubscribe()
        self._refusals.close()
        for publisher in (*self._publishers.values(), self.label_info):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def _is_wanted(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count() > 0)

    def _send(self, name: str, message: Any) -> None:
        self._publishers[name].publish(message)

    def _publisher(self, kind: Any, name: str, qos: QoSProfile = RESULT) -> Any:
        overriding = QoSOverridingOptions(POLICIES)
        topic = self._prefix + name
        events = self._refusals.of_publisher(topic)
        return self._node.create_lifecycle_publisher(
            kind, topic, fresh(qos), event_callbacks=events, qos_overriding_options=overriding
        )

    def _subscription(self, kind: Any, name: str, callback: Any, profile: QoSProfile = NEWEST) -> Any:
        overriding = QoSOverridingOptions(POLICIES)
        topic = self._prefix + name
        created = self._node.create_subscription(
            kind,
            topic,
            callback,
            fresh(profile),
            event_callbacks=self._refusals.of_subscription(topic),
            qos_overriding_options=overriding,
        )
        self._subscriptions.append(created)
        return created
