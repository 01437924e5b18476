# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which pictures are on the live graph, who publishes them, and whether the node can take them.

The answers behind `vss doctor --graph`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vss_ros.core.errors import BackendError, VssError
from vss_ros.data.messages import TRANSPORTS
from vss_ros.doctor import Finding, transports
from vss_ros.ros.dds_names import NEWEST
from vss_ros.ros.silence import Publisher, Qos, disagreement

_NAME = "vss_doctor"
_LISTEN_S = 3.0  # as long as `ros2 topic list --spin-time` takes on a slow network, and a little more
_TRANSPORT_OF = {kind: transport for transport, kind in TRANSPORTS.items()}
_SAME_NETWORK = "ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and RMW_IMPLEMENTATION must be those of the camera's node"


@dataclass(frozen=True)
class Graph:
    """What was heard: over which transport, and every publisher with its topic."""

    transport: str
    publishers: Sequence[tuple[str, Publisher]]


def examine_graph(topic: str | None = None, *, listen_s: float = _LISTEN_S) -> list[Finding]:
    """Findings on the topics of pictures.

    Args:
        topic: the one that the node is to take; what is wrong with it would keep the node from its work.
        listen_s: how long to wait for other nodes.
    """
    try:
        graph = listen(listen_s)
    except VssError as error:
        return [Finding("graph", str(error), False, True, "see the transports above")]
    return judge(graph, topic)


def listen(listen_s: float) -> Graph:
    """The graph over rclpy where it works, else over DDS.

    Raises:
        BackendError: neither is there, or neither starts a node.
        ConfigError: the environment's discovery settings are wrong.
    """
    for name, finding in transports().items():
        if finding.good:
            return Graph(name, _LISTEN[name](listen_s))
    raise BackendError("rclpy or cyclonedds was wanted to look at the graph, neither works; get one of them")


def judge(graph: Graph, topic: str | None = None, wanted: Qos = NEWEST) -> list[Finding]:
    """Findings on what was heard.

    Args:
        graph: what was heard.
        topic: the one that the node is to take.
        wanted: the subscription's QoS; the node's default asks for so little that every ROS publisher fits.
    """
    full_name = None if topic is None else "/" + topic.lstrip("/")
    pictures = sorted({name for name, end in graph.publishers if end.type in _TRANSPORT_OF})
    found = f"over {graph.transport}: {len({name for name, _ in graph.publishers})} topics, {len(pictures)} of pictures"
    findings = [
        Finding("graph", found, bool(pictures), False, "" if pictures else f"start the camera; {_SAME_NETWORK}")
    ]
    names = pictures if full_name is None else [full_name]
    for name in names:
        ends = [end for other, end in graph.publishers if other == name]
        findings += [_judged(name, end, wanted, needed=full_name is not None) for end in ends]
        if not ends:
            elsewhere = f"pictures are on {', '.join(pictures)}" if pictures else _SAME_NETWORK
            findings.append(Finding(name, "nobody publishes there", False, True, f"set image_topic; {elsewhere}"))
        elif len(ends) > 1:
            text = f"{len(ends)} publishers: their pictures mix, and the memory is cleared at each change"
            findings.append(Finding(name, text, False, False, "give each camera a topic of its own"))
    return findings


def _judged(topic: str, end: Publisher, wanted: Qos, *, needed: bool) -> Finding:
    depth = "unknown" if end.depth is None else str(end.depth)
    qos = f"{'reliable' if end.reliable else 'best_effort'}, {'transient_local' if end.latched else 'volatile'}"
    found = f"{end.type}, {qos}, depth {depth}"
    what = f"{topic} from {end.node}"
    if end.type not in _TRANSPORT_OF:
        remedy = f"choose a topic of {' or '.join(_TRANSPORT_OF)}"
        return Finding(what, f"{found}: no pictures", False, needed, remedy)
    if disagreed := disagreement(wanted, end):
        policy, asked, offered = disagreed
        remedy = f"set qos_overrides.{topic}.subscription.{policy} to {offered}"
        return Finding(what, f"{found}: does not fit, {policy} {asked} is wanted", False, needed, remedy)
    transport = _TRANSPORT_OF[end.type]
    return Finding(what, f"{found}: fits" + (f" image_transport:={transport}" * (transport != "raw")), True, needed)


def _over_rclpy(listen_s: float) -> list[tuple[str, Publisher]]:
    import rclpy
    from rclpy.context import Context

    from vss_ros.ros.rclpy_refusals import described

    context = Context()
    try:
        rclpy.init(args=[], context=context)
        node = rclpy.create_node(_NAME, context=context, enable_rosout=False, start_parameter_services=False)
        time.sleep(listen_s)  # the middleware listens in threads of its own
        return [
            (name, described(end))
            for name, _ in node.get_topic_names_and_types()
            for end in node.get_publishers_info_by_topic(name)
            if end.node_name != _NAME
        ]
    except Exception as error:  # rcl has many kinds of them
        raise BackendError(f"rclpy was wanted to look at the graph: {error}; check ROS_DOMAIN_ID") from error
    finally:
        rclpy.try_shutdown(context=context)


def _over_dds(listen_s: float) -> list[tuple[str, Publisher]]:
    from vss_ros.ros.dds_graph import Graph as DdsGraph
    from vss_ros.ros.dds_transport import DdsNode

    node = DdsNode(_NAME)
    try:
        graph = DdsGraph(node.participant)
        time.sleep(listen_s)
        found = graph.publishers()
        graph.close()
        return found
    finally:
        node.close()


_LISTEN = {"rclpy": _over_rclpy, "dds": _over_dds}
