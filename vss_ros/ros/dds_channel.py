# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The topics of one camera over DDS."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from vss_ros.core.errors import ConfigError
from vss_ros.data.typestore import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_INFO,
    POINT_CLOUD,
    VISION_CLASS,
    ros2_types,
    rosbags_image_types,
)
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.camera_channel import CameraChannel
from vss_ros.ros.camera_info import CameraInfoTypes
from vss_ros.ros.conversions import LabelTypes, label_info
from vss_ros.ros.dds_names import LATCHED, NEWEST, PACKETS, RESULT
from vss_ros.ros.dds_transport import DdsNode
from vss_ros.ros.outputs import EXTRAS, POINTS, Legend
from vss_ros.ros.points import INPUTS, CloudTypes, Points
from vss_ros.ros.silence import Publisher, SilenceWatch, why_silent

log = logging.getLogger(__name__)


class Channel(CameraChannel):
    """One camera over DDS.

    Args:
        node: owner of publishers and subscriptions.
        camera, prefix, legend, points: as CameraChannel has them.
    """

    def __init__(self, node: DdsNode, camera: str, prefix: str, legend: Legend, points: str) -> None:
        images, types = rosbags_image_types(), ros2_types().types
        infos = CameraInfoTypes(types[CAMERA_INFO], types["sensor_msgs/msg/RegionOfInterest"])
        super().__init__(camera, prefix, legend, points, images=images, infos=infos, clouds=cloud_types())
        self._node = node
        self._labels = LabelTypes(types[LABEL_INFO], types[VISION_CLASS])
        kinds = {"labels": IMAGE, "confidence": IMAGE, "camera_info": CAMERA_INFO}
        for name, extra in EXTRAS.items():
            kinds[name] = COMPRESSED_IMAGE if extra.kind(self._images) is self._images.compressed else IMAGE
        if self._points is not None:
            kinds[POINTS] = POINT_CLOUD
        self._publishers = {name: node.publisher(prefix + name, kind, RESULT) for name, kind in kinds.items()}
        self._label_info = node.publisher(f"{prefix}label_info", LABEL_INFO, LATCHED)
        self._silence = SilenceWatch(time.monotonic())
        self._image = self._kind = ""

    def name_labels(self, names: tuple[str, ...], threshold: float) -> None:
        """Publish the names of the classes, for those who are there and those who come later."""
        self._label_info(label_info(names, threshold, time.time_ns(), self._images, self._labels))

    def subscribe(self, app: SegmentApp, kind: str, remapped: Mapping[str, str]) -> None:
        """Take pictures of that type, and the camera's calibration.

        Raises:
            ConfigError: the calibration would come from the topic that this node publishes.
        """
        image, info = (
            self._node.resolved(remapped.get(name, name))
            for name in (f"{self._prefix}image", f"{self._prefix}camera_info_in")
        )
        if info == self._node.resolved(f"{self._prefix}camera_info"):
            raise ConfigError(
                f"camera_info_in wants the camera's own topic, got {info}, on which this node publishes; choose another"
            )
        self._image, self._kind, self._silence = image, kind, SilenceWatch(time.monotonic())
        self._node.subscribe(info, CAMERA_INFO, NEWEST, partial(self._on_camera_info, app))
        self._node.subscribe(image, kind, NEWEST if kind == IMAGE else PACKETS, partial(app.offer, self._camera))
        if self._points is not None:
            name = self._prefix + INPUTS[self._points_source]
            points_kind = {"depth": IMAGE, "cloud": POINT_CLOUD}[self._points_source]
            topic = self._node.resolved(remapped.get(name, name))
            self._node.subscribe(topic, points_kind, NEWEST, self._points.offer)
        log.info("waiting for %s on %s, CameraInfo on %s", kind.rsplit("/", 1)[-1], image, info)

    def watch(self, received: int, offered: Callable[[], list[tuple[str, Publisher]]]) -> None:
        """Say why no pictures come, once, if they do not.

        Args:
            received: pictures so far.
            offered: gives every publisher with its topic.
        """
        if not self._silence.is_news(received, time.monotonic()):
            return
        found = offered()
        others = {name for name, p in found if p.type == self._kind and p.node != self._node.full_name}
        log.warning(
            "%s",
            why_silent(
                self._image,
                self._kind,
                [publisher for name, publisher in found if name == self._image],
                reliable=NEWEST.reliable,
                latched=NEWEST.latched,
                elsewhere=sorted(others),
            ),
        )

    def _is_wanted(self, name: str) -> bool:
        return self._publishers[name].readers > 0

    def _send(self, name: str, message: Any) -> None:
        self._publishers[name](message)


def cloud_types() -> CloudTypes:
    """Clouds in rosbags' classes."""
    types = ros2_types().types
    return CloudTypes(types["sensor_msgs/msg/PointField"], partial(_cloud, types[POINT_CLOUD]))


def _cloud(kind: Callable[..., Any], header: Any, fields: Sequence[Any], points: Points) -> Any:
    """What sensor_msgs_py's create_cloud makes, in rosbags' classes."""
    return kind(
        header=header,
        height=points.shape[0],
        width=points.shape[1],
        fields=list(fields),
        is_bigendian=False,
        point_step=points.itemsize,
        row_step=points.itemsize * points.shape[1],
        data=points.view(np.uint8).reshape(-1),
        is_dense=False,
    )
