# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How ROS names, types and QoS are written in DDS; knows the rules of rmw_cyclonedds, but no library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vss_ros.core.errors import ConfigError

_NAME = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Profile:
    """The part of a ROS QoS profile that this package needs; history is always keep last."""

    depth: int
    reliable: bool = True
    latched: bool = False  # transient local, else volatile


NEWEST = Profile(1, reliable=False)
PACKETS = Profile(30, reliable=False)  # of a video: each one that is not taken costs the pictures up to a keyframe
RESULT = Profile(5)
LATCHED = Profile(1, latched=True)
EVENTS = Profile(10)

POLICIES = {  # by the numbers that DDS gives them; those by which endpoints can be kept apart
    2: "durability",
    3: "presentation",
    4: "deadline",
    5: "latency_budget",
    6: "ownership",
    8: "liveliness",
    10: "partition",
    11: "reliability",
    12: "destination_order",
    23: "data_representation",
    24: "type_consistency",
}


def full_namespace(text: str) -> str:
    """A namespace beginning with `/`; that of the root is `/`.

    Raises:
        ConfigError: not a ROS name.
    """
    inner = text.strip("/")
    if inner and _NAME.fullmatch(inner) is None:
        raise ConfigError(f"a namespace wants letters, digits and _ between slashes, such as vss; got '{text}'")
    return f"/{inner}"


def full_name(name: str, namespace: str, node: str) -> str:
    """A topic's name from the root on: `/x` stays, `x` is below the namespace, `~/x` below the node.

    Raises:
        ConfigError: not a ROS name.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"a topic wants letters, digits and _ between slashes, such as /camera/image; got '{name}'")
    above = namespace.rstrip("/")
    if name.startswith("~/"):
        return f"{above}/{node}/{name[2:]}"
    return name if name.startswith("/") else f"{above}/{name}"


def dds_topic(name: str) -> str:
    """`rt/vss/labels` of `/vss/labels`."""
    return f"rt{name}"


def dds_type(name: str) -> str:
    """`sensor_msgs::msg::dds_::Image_` of `sensor_msgs/msg/Image`."""
    package, kind, short = name.split("/")
    return f"{package}::{kind}::dds_::{short}_"


def ros_topic(name: str) -> str | None:
    """The inverse of `dds_topic`; None for what is no ROS topic."""
    return name[2:] if name.startswith("rt/") else None


def ros_type(name: str) -> str:
    """The inverse of `dds_type`; other names stay as they are."""
    match = re.fullmatch(r"(\w+)::(\w+)::dds_::(\w+)_", name)
    return "/".join(match.groups()) if match else name


def type_hash_data(rihs01: str) -> bytes:
    """What an endpoint's USER_DATA says of its type."""
    return f"typehash={rihs01};".encode()


def padded(cdr: Any) -> Any:
    """CDR bytes with zeros up to a multiple of 4, as Cyclone DDS takes them; the same object where none are missing."""
    missing = -len(cdr) % 4
    return cdr if not missing else bytes(cdr) + b"\0" * missing
