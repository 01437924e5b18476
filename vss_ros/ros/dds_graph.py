# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who publishes what, as DDS itself announces it."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription
from cyclonedds.core import InstanceState
from cyclonedds.qos import Policy
from cyclonedds.topic import Topic

from vss_ros.data.typestore import ros2_types
from vss_ros.ros.dds_names import Profile, ros_topic, ros_type, type_hash_data
from vss_ros.ros.dds_raw import RawReader, dds_qos
from vss_ros.ros.dds_types import idl_type
from vss_ros.ros.silence import NAMELESS, Publisher

log = logging.getLogger(__name__)

GRAPH_TOPIC, GRAPH_TYPE = "ros_discovery_info", "rmw_dds_common/msg/ParticipantEntitiesInfo"
_MANY = 10_000


class Graph:
    """The endpoints of all participants in the domain, the own one included."""

    def __init__(self, participant: Any) -> None:
        self._publications = BuiltinDataReader(participant, BuiltinTopicDcpsPublication)
        self._subscriptions = BuiltinDataReader(participant, BuiltinTopicDcpsSubscription)
        many = Profile(1000, latched=True)  # every participant's last word, all in one instance
        topic = Topic(participant, GRAPH_TOPIC, idl_type(GRAPH_TYPE))
        self._names_reader = RawReader(
            participant, topic, dds_qos(many, type_hash_data(ros2_types().hash_rihs01(GRAPH_TYPE)))
        )
        self._names: dict[uuid.UUID, str] = {}

    def publishers(self) -> list[tuple[str, Publisher]]:
        """All publishers of ROS topics, each with its topic."""
        return self._endpoints(self._publications)

    def subscribers(self) -> list[tuple[str, Publisher]]:
        """All subscribers of ROS topics, described in the same way."""
        return self._endpoints(self._subscriptions)

    def close(self) -> None:
        """Let go of the readers, before their participant goes."""
        del self._publications, self._subscriptions, self._names_reader

    def _endpoints(self, reader: BuiltinDataReader) -> list[tuple[str, Publisher]]:
        self._learn_names()
        found = []
        for endpoint in reader.read(_MANY):
            alive = endpoint.sample_info.instance_state == InstanceState.Alive
            topic = ros_topic(endpoint.topic_name) if alive else None
            if topic is not None:
                found.append((topic, self._described(endpoint)))
        return found

    def _described(self, endpoint: Any) -> Publisher:
        policies = {type(policy) for policy in endpoint.qos} | set(endpoint.qos)
        return Publisher(
            node=self._names.get(endpoint.key, NAMELESS),
            type=ros_type(endpoint.type_name),
            reliable=Policy.Reliability.Reliable in policies,
            latched=Policy.Durability.TransientLocal in policies,
            depth=next((policy.depth for policy in endpoint.qos if isinstance(policy, Policy.History.KeepLast)), None),
        )

    def _learn_names(self) -> None:
        while (cdr := self._names_reader.take_cdr()) is not None:
            try:
                message: Any = ros2_types().deserialize_cdr(cdr, GRAPH_TYPE)
            except Exception as error:  # whatever a stranger announces must not end the node
                log.debug("bytes on %s that name no nodes: %r", GRAPH_TOPIC, error)
                continue
            for node in message.node_entities_info_seq:
                name = f"{node.node_namespace.rstrip('/')}/{node.node_name}"
                for gid in (*node.reader_gid_seq, *node.writer_gid_seq):
                    self._names[uuid.UUID(bytes=bytes(gid.data))] = name
