# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The endpoints of the graph as rclpy shows them, and with which of them QoS does not fit."""

from __future__ import annotations

import logging
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, ReliabilityPolicy

from vss_ros.ros.silence import NAMELESS, Publisher, Refusal, RefusalWatch

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # its name in Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.1


def described(endpoint: Any) -> Publisher:
    """One of `get_publishers_info_by_topic` or `get_subscriptions_info_by_topic` in our words."""
    qos, name = endpoint.qos_profile, endpoint.node_name
    unknown = not name or name == "_NODE_NAME_UNKNOWN_"  # what rmw calls a node whose name has not come yet
    return Publisher(
        node=NAMELESS if unknown else f"{endpoint.node_namespace.rstrip('/')}/{name}",
        type=endpoint.topic_type,
        reliable=qos.reliability == ReliabilityPolicy.RELIABLE,
        latched=qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        depth=qos.depth or None,
    )


class Refusals:
    """Logs, as soon as their names are known, the nodes with which an endpoint of this node cannot speak."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._timer: Any = None
        self._watch = RefusalWatch(node.get_fully_qualified_name(), overridable=True)

    def of_publisher(self, topic: str) -> PublisherEventCallbacks:
        """What to give a publisher as `event_callbacks`."""
        return PublisherEventCallbacks(incompatible_qos=lambda event: self._add(topic, event, publishes=True))

    def of_subscription(self, topic: str) -> SubscriptionEventCallbacks:
        """What to give a subscription as `event_callbacks`."""
        return SubscriptionEventCallbacks(incompatible_qos=lambda event: self._add(topic, event, publishes=False))

    def close(self) -> None:
        """Wait for no more names."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _add(self, topic: str, event: Any, *, publishes: bool) -> None:
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()
        full_name = self._node.resolve_topic_name(topic)
        self._watch.add(Refusal(full_name, policy, publishes), time.monotonic())
        if self._timer is None:
            # the event comes before the name of the node that caused it; a clock that simulated time does not stop
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = self._node.create_timer(_LOOK_AGAIN_S, self._look, clock=steady)

    def _look(self) -> None:
        for sentence in self._watch.news(self._publishers, self._subscribers, time.monotonic()):
            log.warning("%s", sentence)
        if not self._watch.waits:
            self.close()

    def _publishers(self, topic: str) -> list[Publisher]:
        return [described(endpoint) for endpoint in self._node.get_publishers_info_by_topic(topic)]

    def _subscribers(self, topic: str) -> list[Publisher]:
        return [described(endpoint) for endpoint in self._node.get_subscriptions_info_by_topic(topic)]
