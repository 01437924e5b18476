# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Results to ROS messages, whatever middleware the message classes come from."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vss_ros.core.config import DiagnosticSettings
from vss_ros.core.frame import Segmentation, UInt8Array
from vss_ros.data.messages import ImageTypes, array_to_image, ns_to_stamp
from vss_ros.ros.statistics import Drop, StreamReport

OK, WARN, ERROR, STALE = 0, 1, 2, 3  # levels of diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True, slots=True)
class LabelTypes:
    """Message classes of vision_msgs: LabelInfo and VisionClass."""

    label_info: Callable[..., Any]
    vision_class: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class DiagnosticTypes:
    """Message classes of diagnostic_msgs; `level` turns a number into what the status' field takes."""

    array: Callable[..., Any]
    status: Callable[..., Any]
    key_value: Callable[..., Any]
    level: Callable[[int], Any]


def pack(flat: UInt8Array) -> array.array[int]:
    """Bytes as rclpy takes them whole; of a numpy array it checks every element in Python."""
    packed = array.array("B")
    packed.frombytes(flat.data)
    return packed


def label_images(result: Segmentation, types: ImageTypes) -> tuple[Any, Any]:
    """The labels and the confidence as mono8 Images; both carry the frame's stamp and frame_id."""
    labels, confidence = (
        array_to_image(pixels, result.stamp_ns, result.frame_id, types=types)
        for pixels in (result.labels, result.confidence)
    )
    return labels, confidence


def label_info(names: Sequence[str], threshold: float, stamp_ns: int, images: ImageTypes, labels: LabelTypes) -> Any:
    """The LabelInfo that goes with the labels; 255 is vision_msgs' own word for unlabelled and is not listed."""
    return labels.label_info(
        header=images.header(stamp=ns_to_stamp(stamp_ns, images), frame_id=""),
        class_map=[labels.vision_class(class_id=index, class_name=name) for index, name in enumerate(names)],
        threshold=float(threshold),
    )


def diagnostics(
    reports: Sequence[StreamReport],
    *,
    node: str,
    state: str,
    hardware_id: str,
    stamp_ns: int,
    limits: DiagnosticSettings,
    engines: Mapping[str, str],
    images: ImageTypes,
    types: DiagnosticTypes,
) -> Any:
    """A DiagnosticArray with one status for each camera, or for the node alone where it has none yet.

    Args:
        reports: figures of each camera.
        node: full name of the node.
        state: its lifecycle state.
        hardware_id: model and backend, or what else tells two nodes apart.
        stamp_ns: now.
        limits: what is worth a warning.
        engines: how far engines are that take over from the backend later, by name and size; empty without such.
        images: classes of header and time.
        types: classes of the diagnostics.
    """
    status = [_status(report, node, state, hardware_id, limits, engines, types) for report in reports]
    if not status:
        values = [types.key_value(key="state", value=state)]
        idle = {"level": types.level(OK), "name": node, "message": state, "hardware_id": hardware_id, "values": values}
        status = [types.status(**idle)]
    return types.array(header=images.header(stamp=ns_to_stamp(stamp_ns, images), frame_id=""), status=status)


def _status(
    report: StreamReport,
    node: str,
    state: str,
    hardware_id: str,
    limits: DiagnosticSettings,
    engines: Mapping[str, str],
    types: DiagnosticTypes,
) -> Any:
    level, message = judge(report, state, limits)
    values = {**figures(report, state), **engines}
    return types.status(
        level=types.level(level),
        name=f"{node}: {report.camera}",
        message=f"{message} on {report.backend}" if engines and report.fps > 0 else message,
        hardware_id=hardware_id,
        values=[types.key_value(key=key, value=value) for key, value in values.items()],
    )


def judge(report: StreamReport, state: str, limits: DiagnosticSettings) -> tuple[int, str]:
    """Level and sentence of a camera: how it is doing now, not what once went wrong."""
    if state != "active":
        return OK, state
    latency_ms = report.parts_ms.get("total_p95_ms", 0.0)
    if report.fps > 0:
        if report.fps < limits.min_fps:
            return WARN, f"{report.fps:.1f} labels/s, diagnostics.min_fps wants {limits.min_fps:g}"
        if 0 < limits.max_latency_ms < latency_ms:
            return (
                WARN,
                f"labels after {latency_ms:.0f} ms (p95), diagnostics.max_latency_ms is {limits.max_latency_ms}",
            )
        lost = sum(report.dropped[cause.value] for cause in (Drop.BAD_ENCODING, Drop.FAILED))
        return OK, f"{report.fps:.1f} labels/s" + (f", {lost} frames could not be used so far" if lost else "")
    if report.received == 0:
        return WARN, "active, but no frame has come yet"
    return WARN, "active, but no labels went out in the last 5 s"


def figures(report: StreamReport, state: str) -> dict[str, str]:
    """A camera's figures as text, with units in the keys."""
    return {
        "state": state,
        "backend": report.backend,
        "received": str(report.received),
        "published": str(report.published),
        "fps": f"{report.fps:.2f}",
        **{f"dropped: {cause}": str(count) for cause, count in report.dropped.items()},
        "memory_frames": str(report.remembered),
        "memory_mb": f"{report.memory_bytes / 1e6:.1f}",
        "label_churn": f"{report.churn:.4f}",
        **{f"resets: {reason}": str(count) for reason, count in report.resets.items()},
        **{f"keyframes: {reason}": str(count) for reason, count in report.keyframes.items()},
        **{key: f"{value:.1f}" for key, value in report.parts_ms.items()},
    }
