# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""ROS message types as Cyclone DDS wants them described; the bytes themselves are written and read by rosbags."""

from __future__ import annotations

from functools import cache
from typing import Any

import cyclonedds.idl.types
from cyclonedds.idl import make_idl_struct
from rosbags.interfaces import Nodetype

from vss_ros.data.typestore import ros2_types
from vss_ros.ros.dds_names import dds_type

idl: Any = cyclonedds.idl.types  # its annotations do not know that `sequence[...]` is meant to be written
_PRIMITIVES: dict[str, Any] = {
    "bool": bool,
    "byte": idl.uint8,
    "char": idl.uint8,
    **{name: getattr(idl, name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")},
    **{name: getattr(idl, name) for name in ("float32", "float64")},
}


@cache
def idl_type(name: str) -> Any:
    """The IDL structure of a ROS type such as `sensor_msgs/msg/Image`: final, and XCDR1 only, as ROS writes it."""
    members = {field: _member(described) for field, described in ros2_types().fielddefs[name][1]}
    struct = make_idl_struct(f"{name.rsplit('/', 1)[-1]}_", dds_type(name), members)
    annotations: Any = struct
    annotations.__idl_annotations__.update(extensibility="final", xcdrv2=False)
    return struct


def _member(described: Any) -> Any:
    """A field's type from how rosbags describes it."""
    kind, what = described
    if kind == Nodetype.BASE:
        name, limit = what
        if name in ("string", "wstring"):
            return idl.bounded_str[limit] if limit else str
        return _PRIMITIVES[name]
    if kind == Nodetype.NAME:
        return idl_type(what)
    inner, size = what
    member = _member(inner)
    if kind == Nodetype.ARRAY:
        return idl.array[member, size]
    return idl.sequence[member, size] if size else idl.sequence[member]
