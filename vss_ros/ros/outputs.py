# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Everything that is published for one frame, under names relative to the camera.

Labels, confidence and camera_info are for planners. The others are for people and tools, cost more than the labels
themselves, and are built only while somebody subscribes. All carry the frame's stamp and frame_id as they came.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import FrameError
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.core.overlay import overlay
from vss_ros.data.messages import ImageTypes, array_to_image, ns_to_stamp
from vss_ros.ros.camera_info import CameraInfoTypes, rescale_camera_info
from vss_ros.ros.conversions import label_images
from vss_ros.ros.planner import is_moving
from vss_ros.ros.points import LabelledPoints

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Legend:
    """What labels mean, as tables by label.

    Attributes:
        colours: `(256, 3)` uint8 RGB.
        moving: `(256,)` uint8, 255 for classes that move by themselves.
    """

    colours: UInt8Array
    moving: UInt8Array

    @classmethod
    def of(cls, card: ModelCard) -> Legend:
        """The tables of a model's classes; by their names."""
        moving = np.zeros(256, np.uint8)
        moving[[label for label, name in enumerate(card.labels) if is_moving(name)]] = 255
        return cls(card.colours, moving)


@dataclass(frozen=True, slots=True)
class Extra:
    """A topic beside labels and confidence: its message class, and how the message is built."""

    kind: Callable[[ImageTypes], Any]
    build: Callable[[Frame, Segmentation, Legend, ImageTypes], Any]


def outgoing(
    frame: Frame,
    result: Segmentation,
    *,
    images: ImageTypes,
    infos: CameraInfoTypes,
    info: Any = None,
    legend: Legend,
    wanted: Callable[[str], bool],
    points: LabelledPoints | None = None,
) -> Iterator[tuple[str, Any]]:
    """Topic and message of each output, one built after the other, so that planners need not wait for pictures.

    Args:
        frame: the picture.
        result: its labels.
        images: classes of pictures.
        infos: classes of CameraInfo.
        info: the camera's newest CameraInfo, or None where none has come.
        legend: of the labels.
        wanted: whether somebody subscribes to one of EXTRAS, or to POINTS.
        points: where depth or clouds of the camera are collected, if they are.
    """
    labels, confidence = label_images(result, images)
    yield "labels", labels
    yield "confidence", confidence
    if info is not None:
        yield "camera_info", rescale_camera_info(info, frame.size, result, images, infos)
    builders = {topic: partial(extra.build, frame, result, legend, images) for topic, extra in EXTRAS.items()}
    if points is not None:
        builders[POINTS] = partial(points.build, frame, result, info)
    for topic, build in builders.items():
        if not wanted(topic):
            continue
        try:
            message = build()
        except Exception as error:  # the labels are out: a picture for people must not make their frame a failed one
            _complain_once(topic, f"{type(error).__name__}: {error}")
        else:
            if message is not None:
                yield topic, message


@lru_cache(maxsize=64)
def _complain_once(topic: str, error: str) -> None:
    log.error(
        "'%s' could not be built, labels go on without it: %s. Further ones are left out in silence", topic, error
    )


def _overlay(frame: Frame, result: Segmentation, legend: Legend, types: ImageTypes) -> Any:
    """The picture at the labels' size with the labels in colour."""
    picture, size = frame.image, result.labels.shape
    if frame.size != size:
        picture = np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    painted = overlay(picture, result.labels, legend.colours)
    return array_to_image(painted, result.stamp_ns, result.frame_id, types=types)


def _compressed_labels(frame: Frame, result: Segmentation, legend: Legend, types: ImageTypes) -> Any:
    """The labels as PNG; JPEG would invent classes along every edge."""
    # OpenCV's default, run lengths at the fastest level, suits labels; a level set here takes longer
    done, data = cv2.imencode(".png", np.ascontiguousarray(result.labels))
    if not done:
        raise FrameError(f"labels (H, W) uint8 were wanted for a PNG, got {result.labels.shape} {result.labels.dtype}")
    flat = np.asarray(data, np.uint8).reshape(-1)
    return types.compressed(header=_header(result, types), format="mono8; png compressed", data=types.pack(flat))


def _raw_confidence(frame: Frame, result: Segmentation, legend: Legend, types: ImageTypes) -> Any:
    """The confidence as 32FC1 in 0..1."""
    height, width = result.confidence.shape
    values = np.divide(result.confidence, 255, dtype=np.float32).astype("<f4", copy=False)
    return types.image(
        header=_header(result, types),
        height=height,
        width=width,
        encoding="32FC1",
        is_bigendian=0,
        step=4 * width,
        data=types.pack(values.reshape(-1).view(np.uint8)),
    )


def _moving_mask(frame: Frame, result: Segmentation, legend: Legend, types: ImageTypes) -> Any:
    """255 where something is that moves by itself, else 0: the mask of people that nvblox takes."""
    return array_to_image(legend.moving[result.labels], result.stamp_ns, result.frame_id, types=types)


def _header(result: Segmentation, types: ImageTypes) -> Any:
    return types.header(stamp=ns_to_stamp(result.stamp_ns, types), frame_id=result.frame_id)


POINTS = "points"
EXTRAS = {
    "overlay": Extra(lambda types: types.image, _overlay),
    "labels/compressed": Extra(lambda types: types.compressed, _compressed_labels),
    "moving_mask": Extra(lambda types: types.image, _moving_mask),
    "confidence_raw": Extra(lambda types: types.image, _raw_confidence),
}
