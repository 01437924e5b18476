# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The settings as parameters of an rclpy node, all made from their one declaration."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from vss_ros.core.config import Declaration, Settings, checked, declarations
from vss_ros.core.errors import ConfigError
from vss_ros.ros.parameter_file import allowed

# parameters that every ROS node has, or that QoS overrides bring
_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def declare_settings(node: Node) -> None:
    """Declare every setting on the node.

    Raises:
        ConfigError: a value from the command line or a parameters file has the wrong type or is out of range.
    """
    for declared in declarations():
        given = _overrides(node).get(declared.key)
        value = declared.default if given is None else checked(declared.key, given)
        try:
            # the override is passed on as the value, because rclpy would refuse `confidence.min:=0` for not being 0.0
            node.declare_parameter(declared.key, value, descriptor(declared), ignore_override=True)
        except ParameterException as error:
            raise ConfigError(f"{declared.key} wants {', '.join(allowed(declared))}, got {value!r}: {error}") from error


def descriptor(declared: Declaration) -> ParameterDescriptor:
    """Description, range, and whether it may change while the node runs."""
    described = ParameterDescriptor(
        description=declared.says,
        read_only=not declared.live,
        additional_constraints="; ".join(allowed(declared)),
    )
    if declared.low is not None and declared.high is not None:
        if declared.type is float:
            span = FloatingPointRange(from_value=declared.low, to_value=declared.high, step=0.0)
            described.floating_point_range = [span]
        else:
            whole = IntegerRange(from_value=int(declared.low), to_value=int(declared.high), step=1)
            described.integer_range = [whole]
    return described


def settings_of(node: Node, changes: dict[str, Any] | None = None) -> Settings:
    """The node's settings, with some changed.

    Raises:
        ConfigError: a value that no setting takes, or a parameter given to the node that does not exist.
    """
    for key, value in _overrides(node).items():
        if not key.startswith(_ROS_OWN):
            checked(key, value)
    values = {declared.key: node.get_parameter(declared.key).value for declared in declarations()}
    return Settings().with_values(values | (changes or {}))


def _overrides(node: Node) -> dict[str, Any]:
    """What command line and parameters files set; rclpy ignores names that nobody declares, and cannot be asked."""
    return {name: parameter.value for name, parameter in getattr(node, "_parameter_overrides", {}).items()}
