# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why no picture comes: the most frequent question about any camera node, answered in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Publisher:
    """One publisher on the image topic: full name of its node, message type, whether reliable and transient local."""

    node: str
    type: str
    reliable: bool
    latched: bool


class SilenceWatch:
    """Says once that a topic has fallen silent, and is ready again when frames have come."""

    def __init__(self, now_s: float) -> None:
        self._received, self._since_s, self._said = 0, now_s, False

    def is_news(self, received: int, now_s: float) -> bool:
        """Whether no frame has come for two seconds and nobody was told yet."""
        if received != self._received:
            self._received, self._since_s, self._said = received, now_s, False
        if self._said or now_s - self._since_s < _AFTER_S:
            return False
        self._said = True
        return True


def why_silent(
    topic: str,
    wanted_type: str,
    publishers: Sequence[Publisher],
    *,
    reliable: bool,
    latched: bool,
    elsewhere: Sequence[str] = (),
) -> str:
    """One sentence on why a subscription gets nothing.

    Args:
        topic: full name.
        wanted_type: such as `sensor_msgs/msg/Image`.
        publishers: all that are on the topic.
        reliable: the subscription wants reliable publishers.
        latched: the subscription wants transient local publishers.
        elsewhere: other topics of the wanted type.
    """
    begin = f"no frame on '{topic}' for {_AFTER_S:g} s: "
    if not publishers:
        there = f"; {wanted_type} is on {', '.join(elsewhere)}" if elsewhere else ""
        return f"{begin}nobody publishes there. Set image_topic (or remap image) to the camera's topic{there}"
    of_type = [p for p in publishers if p.type == wanted_type]
    if not of_type:
        other = publishers[0]
        transport = "compressed" if other.type.endswith("CompressedImage") else "raw"
        return (
            f"{begin}{wanted_type} was wanted, {other.node} publishes {other.type}; "
            f"set image_transport to {transport} or choose another image_topic"
        )
    for p in of_type:
        if (reliable and not p.reliable) or (latched and not p.latched):
            policy, value = (
                ("reliability", "best_effort") if reliable and not p.reliable else ("durability", "volatile")
            )
            return (
                f"{begin}{p.node} offers {policy} {value}, which this node's overridden QoS does not take; "
                f"set qos_overrides.{topic}.subscription.{policy} to {value}"
            )
    return (
        f"{begin}{of_type[0].node} publishes there and fits, but nothing arrives. It may be paused; or pictures are "
        "lost on the way because the receive buffer of the kernel is small: see 'sysctl net.core.rmem_max'"
    )
