# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A node on the ROS graph without ROS: Cyclone DDS carries the bytes, rosbags writes and reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from cyclonedds.core import DDSException, InstanceState, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.qos import Policy, Qos
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from rosbags.typesys.store import Typestore

from vss_ros.core.errors import BackendError
from vss_ros.data.typestore import ros2_types
from vss_ros.ros.dds_discovery import Discovery, discovery_of
from vss_ros.ros.dds_graph import GRAPH_TOPIC, GRAPH_TYPE
from vss_ros.ros.dds_names import (
    LATCHED,
    POLICIES,
    Profile,
    dds_topic,
    full_name,
    full_namespace,
    ros_topic,
    type_hash_data,
)
from vss_ros.ros.dds_raw import RawReader, RawWriter, dds_qos
from vss_ros.ros.dds_types import idl_type
from vss_ros.ros.silence import Refusal

log = logging.getLogger(__name__)

_NEW = SampleState.NotRead | ViewState.Any | InstanceState.Any


class Publication:
    """Called with a message, publishes it; from any thread."""

    def __init__(self, writer: RawWriter, kind: str) -> None:
        self.writer, self._kind = writer, kind

    def __call__(self, message: Any) -> None:
        self.writer.write_cdr(ros2_types().serialize_cdr(message, self._kind))

    @property
    def readers(self) -> int:
        """How many subscribe at the moment."""
        return int(self.writer.get_publication_matched_status().current_count)


class DdsNode:
    """A participant with the endpoints of one node, which `ros2 node list` and `ros2 topic list` show.

    Publishing is safe from any thread; all else belongs to the thread that made the node.

    Args:
        name: of the node.
        namespace: with or without the slash that it begins with.
        discovery: where to look for others; from the environment if not given.

    Raises:
        ConfigError: a name or an environment variable that ROS does not take.
        BackendError: Cyclone DDS refuses to start.
    """

    def __init__(self, name: str, namespace: str = "/", *, discovery: Discovery | None = None) -> None:
        self.name, self.namespace = name, full_namespace(namespace)
        self._types: Typestore = ros2_types()
        self._writers: list[RawWriter] = []
        self._subscriptions: list[tuple[RawReader, ReadCondition, Callable[[memoryview], None]]] = []
        discovery = discovery_of(os.environ) if discovery is None else discovery
        try:
            self._domain: Domain | None = Domain(discovery.domain, discovery.xml())
            self.participant = DomainParticipant(discovery.domain, qos=Qos(Policy.Userdata(b"enclave=/;")))
        except (DDSException, UnicodeEncodeError) as error:
            raise BackendError(
                f"a DDS participant was wanted in domain {discovery.domain}: {error}; check the network, "
                "CYCLONEDDS_URI and ROS_STATIC_PEERS, and that no more than 33 nodes run on this machine"
            ) from error
        self._news = WaitSet(self.participant)
        graph = Topic(self.participant, GRAPH_TOPIC, idl_type(GRAPH_TYPE))
        self._graph = RawWriter(self.participant, graph, self._qos(GRAPH_TYPE, LATCHED))
        self._announce()

    @property
    def full_name(self) -> str:
        """Such as `/vss/segmenter`."""
        return f"{self.namespace.rstrip('/')}/{self.name}"

    def resolved(self, topic: str) -> str:
        """A topic's name from the root on."""
        return full_name(topic, self.namespace, self.name)

    def publisher(self, topic: str, kind: str, profile: Profile) -> Publication:
        """Publish messages of a type such as `sensor_msgs/msg/Image`."""
        writer = RawWriter(self.participant, self._topic(topic, kind), self._qos(kind, profile))
        self._writers.append(writer)
        self._announce()
        return Publication(writer, kind)

    def subscribe(self, topic: str, kind: str, profile: Profile, heard: Callable[[Any], None]) -> None:
        """Call `heard` with each message of a topic, during `spin`. Image data is a view of what DDS received."""
        reader = RawReader(self.participant, self._topic(topic, kind), self._qos(kind, profile))
        condition = ReadCondition(reader, _NEW)
        self._news.attach(condition)
        complained = False

        def take(cdr: memoryview) -> None:
            nonlocal complained
            try:
                message = self._types.deserialize_cdr(cdr, kind)
            except Exception as error:  # whatever a stranger sends, the next message deserves its chance
                if not complained:
                    log.error("%s was wanted on %s, got bytes that are none: %r. Said once", kind, topic, error)
                complained = True
            else:
                heard(message)

        self._subscriptions.append((reader, condition, take))
        self._announce()

    def spin(self, timeout_s: float) -> None:
        """Wait for messages, at most so long, and hand over all that came."""
        self._news.wait(duration(seconds=timeout_s))
        for reader, _, take in self._subscriptions:
            while (cdr := reader.take_cdr()) is not None:
                take(cdr)

    def refusals(self) -> list[Refusal]:
        """What DDS has kept apart for its QoS since the last call."""
        ends: list[tuple[Any, Any, bool]] = [
            *((reader, reader.get_requested_incompatible_qos_status(), False) for reader, _, _ in self._subscriptions),
            *((writer, writer.get_offered_incompatible_qos_status(), True) for writer in self._writers),
        ]
        return [
            Refusal(str(ros_topic(end.topic.name)), POLICIES.get(status.last_policy_id, "unknown"), publishes)
            for end, status, publishes in ends
            if status.total_count_change > 0
        ]

    def close(self) -> None:
        """Leave the graph."""
        # the wheel deletes an entity with its last reference, and wants children gone before their parents
        for _, condition, _ in self._subscriptions:
            self._news.detach(condition)
        self._subscriptions.clear()
        self._writers.clear()
        del self._news, self._graph, self.participant
        self._domain = None

    def _topic(self, name: str, kind: str) -> Any:
        return Topic(self.participant, dds_topic(self.resolved(name)), idl_type(kind))

    def _qos(self, kind: str, profile: Profile) -> Qos:
        return dds_qos(profile, type_hash_data(self._types.hash_rihs01(kind)))

    def _announce(self) -> None:
        """Say anew which endpoints are this node's; DDS itself knows participants only."""
        types = self._types.types
        readers = [_gid(types, reader) for reader, _, _ in self._subscriptions]
        node = types["rmw_dds_common/msg/NodeEntitiesInfo"](
            node_namespace=self.namespace,
            node_name=self.name,
            reader_gid_seq=readers,
            writer_gid_seq=[_gid(types, writer) for writer in self._writers],
        )
        message = types[GRAPH_TYPE](gid=_gid(types, self.participant), node_entities_info_seq=[node])
        self._graph.write_cdr(self._types.serialize_cdr(message, GRAPH_TYPE))


def _gid(types: Any, entity: Any) -> Any:
    return types["rmw_dds_common/msg/Gid"](data=np.frombuffer(entity.get_guid().bytes, np.uint8))
