# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other side of the live tests over DDS alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from test.ros.peer import Peer
from vss_ros.data.typestore import COMPRESSED_IMAGE, IMAGE, LABEL_INFO, POINT_CLOUD, ros2_types, rosbags_image_types
from vss_ros.ros.dds_channel import cloud_types
from vss_ros.ros.dds_discovery import discovery_of
from vss_ros.ros.dds_face import DIAGNOSTIC_ARRAY, EMPTY
from vss_ros.ros.dds_graph import Graph
from vss_ros.ros.dds_names import LATCHED, Profile
from vss_ros.ros.dds_transport import DdsNode
from vss_ros.ros.silence import Publisher


def environment(domain: int) -> dict[str, str]:
    """Loopback only."""
    return os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class DdsPeer(Peer):
    """A node over DDS, with rosbags' messages."""

    types = rosbags_image_types()
    image, compressed = IMAGE, COMPRESSED_IMAGE
    label_info, empty, diagnostics = LABEL_INFO, EMPTY, DIAGNOSTIC_ARRAY
    cloud, clouds = POINT_CLOUD, cloud_types()
    reliable, latched = Profile(20), LATCHED

    def __init__(self, domain: int) -> None:
        self.node = DdsNode("tester", discovery=discovery_of(environment(domain)))
        self._graph = Graph(self.node.participant)
        self.heard = {}
        self.listen(self.diagnostics, "/diagnostics")

    def close(self) -> None:
        self._graph.close()
        self.node.close()

    def spin(self, timeout_s: float) -> None:
        self.node.spin(timeout_s)

    def subscribe(self, kind: Any, topic: str, qos: Any, heard: Callable[[Any], Any]) -> None:
        self.node.subscribe(topic, kind, qos, heard)

    def advertise(self, kind: Any, topic: str) -> Callable[[Any], None]:
        return self.node.publisher(topic, kind, self.reliable)

    def new(self, kind: Any) -> Any:
        return ros2_types().types[kind](structure_needs_at_least_one_member=0)

    def publishers(self, topic: str) -> list[Publisher]:
        return [found for name, found in self._graph.publishers() if name == topic]

    def subscribers(self, topic: str) -> list[Publisher]:
        return [found for name, found in self._graph.subscribers() if name == topic]
