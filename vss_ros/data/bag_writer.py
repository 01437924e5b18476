# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes rosbag2 bags without ROS: images, labels, confidence, label names, camera info."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UInt8Array
from vss_ros.data.messages import array_to_image, array_to_jpeg, ns_to_stamp
from vss_ros.data.typestore import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_INFO,
    VISION_CLASS,
    ros2_types,
    rosbags_image_types,
)

log = logging.getLogger(__name__)

# Version 8 is the newest that Humble reads as well: 9 writes QoS as a list, at which Humble's reader stops.
_VERSION: Final = 8
_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(9223372036, 854775807)
_REFUSALS = (WriterError, OSError, sqlite3.Error)  # of the library, the disk and the second storage


def _qos(durability: QosDurability, depth: int) -> Qos:
    """Reliable, which serves reliable and best-effort subscribers when the bag is played."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


_STREAM_QOS = _qos(QosDurability.VOLATILE, 10)
_LATCHED_QOS = _qos(QosDurability.TRANSIENT_LOCAL, 1)


class BagWriter:
    """A new rosbag2 folder, readable from Humble on: `with BagWriter("out") as bag: bag.write_labels(...)`.

    Topics come into being with their first message. Stamps go into the header and are the receive time too. Leaving the
    block by an exception still closes the bag properly, with what was written until then.

    Args:
        path: folder to create; must not exist.
        storage: `mcap` or `sqlite3`.

    Raises:
        DataError: the path exists or cannot be created, or the storage is unknown; on leaving the block, the bag cannot
            be finished.
    """

    def __init__(self, path: str | Path, *, storage: str = "mcap") -> None:
        if storage not in _STORAGES:
            raise DataError(f"a bag wants storage {' or '.join(_STORAGES)}, got {storage!r}")
        self.path = Path(path)
        if self.path.exists():
            raise DataError(f"a new bag was wanted at {self.path}, but something is there; choose another path")
        self._writer = Writer(self.path, version=_VERSION, storage_plugin=_STORAGES[storage])
        self._topics: dict[str, Connection] = {}
        self._types = rosbags_image_types()

    def __enter__(self) -> BagWriter:
        try:
            self._writer.open()
        except _REFUSALS as error:
            raise DataError(f"no bag can be created at {self.path}: {error}; choose another path") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.__exit__(None, None, None)  # unlike close() it lets go of the file where that fails
        except _REFUSALS as refusal:
            unfinished = f"{self.path} cannot be finished: {refusal}; check the space left on the disk"
            if kind is None:
                raise DataError(unfinished) from refusal
            log.warning("%s", unfinished)  # what ended the block is told by the caller

    def write_image(self, topic: str, image: UInt8Array, stamp_ns: int, *, frame_id: str = "camera") -> None:
        """A raw Image: rgb8 of `(H, W, 3)` uint8 RGB, mono8 of `(H, W)` uint8."""
        self.write(topic, IMAGE, array_to_image(image, stamp_ns, frame_id, types=self._types), stamp_ns)

    def write_jpeg(
        self, topic: str, image: UInt8Array, stamp_ns: int, *, frame_id: str = "camera", quality: int = 95
    ) -> None:
        """A CompressedImage of `(H, W, 3)` uint8 RGB; by custom its topic ends in `/compressed`."""
        message = array_to_jpeg(image, stamp_ns, frame_id, types=self._types, quality=quality)
        self.write(topic, COMPRESSED_IMAGE, message, stamp_ns)

    def write_labels(self, topic: str, labels: UInt8Array, stamp_ns: int, *, frame_id: str = "camera") -> None:
        """Labels or confidence `(H, W)` uint8 as a mono8 Image with `step == width`."""
        if labels.ndim != 2:
            raise DataError(f"{topic} wants labels or confidence (H, W) uint8, got {labels.shape} {labels.dtype}")
        self.write_image(topic, labels, stamp_ns, frame_id=frame_id)

    def write_label_info(
        self, topic: str, names: Sequence[str], stamp_ns: int, *, threshold: float = 0.0, frame_id: str = "camera"
    ) -> None:
        """The names of the labels 0..K-1, latched: late subscribers get it too when the bag is played."""
        types = ros2_types().types
        classes = [types[VISION_CLASS](class_id=i, class_name=name) for i, name in enumerate(names)]
        message = types[LABEL_INFO](header=self._header(stamp_ns, frame_id), class_map=classes, threshold=threshold)
        self.write(topic, LABEL_INFO, message, stamp_ns, latched=True)

    def write_camera_info(
        self,
        topic: str,
        camera_matrix: npt.NDArray[np.float64],
        size: tuple[int, int],
        stamp_ns: int,
        *,
        frame_id: str = "camera",
    ) -> None:
        """A camera without distortion: matrix `(3, 3)` px, size `(height, width)` px."""
        types = ros2_types().types
        matrix = np.asarray(camera_matrix, np.float64)
        region = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        message = types[CAMERA_INFO](
            header=self._header(stamp_ns, frame_id),
            height=size[0],
            width=size[1],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=matrix.reshape(9),
            r=np.eye(3).reshape(9),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(12),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
        self.write(topic, CAMERA_INFO, message, stamp_ns)

    def write(self, topic: str, type_name: str, message: Any, stamp_ns: int, *, latched: bool = False) -> None:
        """Any message of a type in `ros2_types()`."""
        store = ros2_types()
        try:
            if topic not in self._topics:
                qos = _LATCHED_QOS if latched else _STREAM_QOS
                self._topics[topic] = self._writer.add_connection(
                    topic, type_name, typestore=store, offered_qos_profiles=[qos]
                )
            self._writer.write(self._topics[topic], stamp_ns, store.serialize_cdr(message, type_name))
        except _REFUSALS as error:
            raise DataError(f"{self.path} cannot be written on: {error}; check the space left on the disk") from error

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        return self._types.header(stamp=ns_to_stamp(stamp_ns, self._types), frame_id=frame_id)
