# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What one camera's topics have in common, whatever carries them; a face adds its publishers and subscriptions."""

from __future__ import annotations

from typing import Any

from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.messages import ImageTypes
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.camera_info import Calibration, CameraInfoTypes
from vss_ros.ros.outputs import Legend, outgoing
from vss_ros.ros.points import CloudTypes, LabelledPoints


class CameraChannel:
    """One camera: its calibration, its depth or clouds, and what goes out for a frame.

    Args:
        camera: its name in the app.
        prefix: of its topics, empty or ending in `/`.
        legend: of the labels.
        points: the setting `output.points`.
        images: classes of pictures.
        infos: classes of CameraInfo.
        clouds: how clouds are made.
    """

    def __init__(
        self,
        camera: str,
        prefix: str,
        legend: Legend,
        points: str,
        *,
        images: ImageTypes,
        infos: CameraInfoTypes,
        clouds: CloudTypes,
    ) -> None:
        self._camera, self._prefix, self._legend = camera, prefix, legend
        self._images, self._infos = images, infos
        self._calibration = Calibration()
        self._points_source = points
        self._points = None if points == "none" else LabelledPoints(images, infos, clouds)

    def publish(self, frame: Frame, result: Segmentation) -> None:
        """Labels and all that goes with them; called in the worker's thread."""
        messages = outgoing(
            frame,
            result,
            images=self._images,
            infos=self._infos,
            info=self._calibration.newest,
            legend=self._legend,
            wanted=self._is_wanted,
            points=self._points,
        )
        for name, message in messages:
            self._send(name, message)

    def _is_wanted(self, name: str) -> bool:
        """Whether somebody subscribes to a topic."""
        raise NotImplementedError

    def _send(self, name: str, message: Any) -> None:
        """Publish on a topic."""
        raise NotImplementedError

    def _on_camera_info(self, app: SegmentApp, info: Any) -> None:
        if self._calibration.take(info):
            app.reset("camera_info changed", only=self._camera)
