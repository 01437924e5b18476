# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why no picture comes: the most frequent question about any camera node, answered in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vss_ros.data.messages import TRANSPORTS

NAMELESS = "a node without a name"
_AFTER_S = 2.0
_NAMES_AFTER_S = 2.0  # DDS sends the names of nodes a moment after their endpoints
_SENTENCES_KEPT = 100


class Qos(Protocol):
    """The two policies that keep publishers and subscriptions apart in practice."""

    @property
    def reliable(self) -> bool: ...

    @property
    def latched(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Publisher:
    """One publisher on a topic: full name of its node, message type, whether reliable and transient local.

    A subscriber is described by the same words: what it wants instead of what is offered. `depth` is None where the
    middleware does not tell it: Cyclone DDS announces it, DDS need not.
    """

    node: str
    type: str
    reliable: bool
    latched: bool
    depth: int | None = None


def disagreement(wanted: Qos, offered: Qos) -> tuple[str, str, str] | None:
    """Policy, value that a subscription wants, value that a publisher offers; None where they fit."""
    if wanted.reliable and not offered.reliable:
        return "reliability", "reliable", "best_effort"
    if wanted.latched and not offered.latched:
        return "durability", "transient_local", "volatile"
    return None


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the middleware says where QoS keeps two endpoints apart.

    Attributes:
        topic: full name.
        policy: such as `durability`.
        publishes: this node is the publisher of the two.
    """

    topic: str
    policy: str
    publishes: bool


class RefusalWatch:
    """Turns refusals into sentences that name the other nodes, each said once.

    Args:
        node: full name of this node.
        overridable: its profiles can be changed with the parameters `qos_overrides`.
    """

    def __init__(self, node: str, *, overridable: bool) -> None:
        self._node, self._overridable = node, overridable
        self._waiting: dict[Refusal, float] = {}  # until when names are waited for
        self._said: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether `news` has something to look at."""
        return bool(self._waiting)

    def add(self, refusal: Refusal, now_s: float) -> None:
        """What the middleware has said just now."""
        self._waiting.setdefault(refusal, now_s + _NAMES_AFTER_S)

    def news(
        self,
        publishers: Callable[[str], Sequence[Publisher]],
        subscribers: Callable[[str], Sequence[Publisher]],
        now_s: float,
    ) -> list[str]:
        """Sentences on the refusals whose nodes are known by now, or have had their time.

        Args:
            publishers: gives those of a topic, the own ones included.
            subscribers: likewise.
            now_s: of the clock that `add` was given.
        """
        sentences = []
        for refusal, deadline_s in list(self._waiting.items()):
            ours, theirs = (publishers, subscribers) if refusal.publishes else (subscribers, publishers)
            own = next((end for end in ours(refusal.topic) if end.node == self._node), None)
            others = [end for end in theirs(refusal.topic) if end.node != self._node]
            at_fault = [] if own is None else _at_fault(refusal, own, others)
            if now_s < deadline_s and (not at_fault or any(end.node == NAMELESS for end in at_fault)):
                continue
            del self._waiting[refusal]
            sentence = _why_refused(refusal, own, at_fault, self._overridable)
            if sentence not in self._said and len(self._said) < _SENTENCES_KEPT:
                self._said.add(sentence)
                sentences.append(sentence)
        return sentences


def _at_fault(refusal: Refusal, own: Publisher, others: Sequence[Publisher]) -> list[Publisher]:
    """The endpoints that do not fit; where it is another policy than our two, all that may be meant."""
    of_type = [end for end in others if end.type == own.type]
    if refusal.policy not in ("reliability", "durability"):
        return of_type
    return [end for end in of_type if _disagreement(refusal, own, end)]


def _disagreement(refusal: Refusal, own: Publisher, other: Publisher) -> tuple[str, str, str] | None:
    return disagreement(other, own) if refusal.publishes else disagreement(own, other)


def _why_refused(refusal: Refusal, own: Publisher | None, others: Sequence[Publisher], overridable: bool) -> str:
    names = sorted({end.node for end in others}) or [NAMELESS]
    topic, who = refusal.topic, ", ".join(names)
    found = _disagreement(refusal, own, others[0]) if own is not None and others else None
    if found is None:
        among = who if len(names) == 1 else f"one of {who}"
        link = f"'{topic}' does not reach {among}" if refusal.publishes else f"nothing comes from {among} on '{topic}'"
        return f"{link}: its QoS policy {refusal.policy} does not fit this node's; change it there"
    policy, wanted, offered = found
    side = "publisher" if refusal.publishes else "subscription"
    override = f"set qos_overrides.{topic}.{side}.{policy} to {wanted if refusal.publishes else offered}"
    if refusal.publishes:
        remedy = f"let the subscription ask for {offered}" + (f", or {override}" if overridable else "")
        return f"'{topic}' does not reach {who}: {policy} {wanted} was wanted, this node offers {offered}; {remedy}"
    remedy = override if overridable else f"let the publisher offer {wanted}"
    return f"nothing comes from {who} on '{topic}': this node wants {policy} {wanted}, {offered} is offered; {remedy}"


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
        transport = next((name for name, kind in TRANSPORTS.items() if kind == other.type), None)
        remedy = "choose another image_topic"
        if transport is not None:
            remedy = f"set image_transport to {transport} or {remedy}"
        return f"{begin}{wanted_type} was wanted, {other.node} publishes {other.type}; {remedy}"
    own = Publisher("", wanted_type, reliable, latched)
    for p in of_type:
        if found := disagreement(own, p):
            policy, _, value = found
            return (
                f"{begin}{p.node} offers {policy} {value}, which this node's overridden QoS does not take; "
                f"set qos_overrides.{topic}.subscription.{policy} to {value}"
            )
    return (
        f"{begin}{of_type[0].node} publishes there and fits, but nothing arrives. It may be paused; or pictures are "
        "lost on the way because the receive buffer of the kernel is small: see 'sysctl net.core.rmem_max'"
    )
