# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Labels in space: an organised cloud with a label and a confidence for every point.

Where the points lie is told by a depth camera whose pictures are registered to the colour camera's (REP 118: 16UC1 in
millimetres, 32FC1 in metres), or by an organised cloud. They come with stamps of their own, so the newest ones are
kept, and a picture takes those nearest to it in time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.prepare import nearest
from vss_ros.data.messages import ImageTypes, ns_to_stamp, stamp_to_ns
from vss_ros.ros.camera_info import CameraInfoTypes, rescale_camera_info

log = logging.getLogger(__name__)

INPUTS = {"depth": "depth_in", "cloud": "points_in"}  # topic by the setting output.points
_KEPT = 8  # messages; a picture is segmented long before as many more have come
_FARTHEST_S = 0.05  # between the stamps of a picture and of the points that it labels
_UINT8, _UINT32, _FLOAT32, _FLOAT64 = 2, 6, 7, 8  # sensor_msgs/PointField datatypes
_NUMPY = {1: "i1", _UINT8: "u1", 3: "i2", 4: "u2", 5: "i4", _UINT32: "u4", _FLOAT32: "f4", _FLOAT64: "f8"}

# `label` is uint32, as pcl::PointXYZL has it
LAYOUT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("label", "<u4"), ("confidence", "<f4")])

Points = npt.NDArray[Any]  # (H, W) of LAYOUT; x, y, z in metres, NaN where unknown; confidence 0..1


@dataclass(frozen=True, slots=True)
class CloudTypes:
    """How a middleware makes clouds.

    Attributes:
        field: message class PointField.
        create: a PointCloud2 of a header, fields and `(H, W)` of LAYOUT.
    """

    field: Callable[..., Any]
    create: Callable[[Any, Sequence[Any], Points], Any]

    def fields(self) -> list[Any]:
        """The PointFields of LAYOUT."""
        kinds = {"<f4": _FLOAT32, "<u4": _UINT32}
        named = (LAYOUT.fields or {}).items()
        return [self.field(name=n, offset=at, datatype=kinds[kind.str], count=1) for n, (kind, at, *_) in named]


class LabelledPoints:
    """The newest depth pictures or clouds of one camera, and the labelled cloud of a picture.

    Args:
        images: classes of header and time.
        infos: classes of CameraInfo.
        clouds: how the result is made.
    """

    def __init__(self, images: ImageTypes, infos: CameraInfoTypes, clouds: CloudTypes) -> None:
        self._images, self._infos, self._clouds = images, infos, clouds
        self._newest: deque[Any] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()  # messages come in one thread, pictures are published in another
        self._complaints: set[str] = set()

    def offer(self, message: Any) -> None:
        """Keep a depth Image or an organised PointCloud2."""
        with self._lock:
            self._newest.append(message)

    def build(self, frame: Frame, result: Segmentation, info: Any) -> Any:
        """The PointCloud2 of a picture, at the size of the depth or cloud; None where there is nothing to build it of.

        Why there is nothing is logged, once for each reason.

        Args:
            frame: the picture.
            result: its labels.
            info: the camera's newest CameraInfo, or None; a cloud does without.
        """
        try:
            message = self._nearest(result.stamp_ns)
            size = _size(message)
            labels, confidence = nearest(result.labels, size), nearest(result.confidence, size)
            labelled = replace(result, labels=labels, confidence=confidence)
            if hasattr(message, "point_step"):
                xyz = cloud_xyz(message)
            elif info is None:
                raise FrameError("depth wants the camera's CameraInfo, got none; remap camera_info_in to its topic")
            else:
                scaled = rescale_camera_info(info, frame.size, labelled, self._images, self._infos)
                xyz = depth_xyz(message, scaled)
        except FrameError as error:
            self._complain(str(error))
            return None
        # what lies where is said in the frame of the points; the stamp is the picture's, as on all its outputs
        stamp = ns_to_stamp(result.stamp_ns, self._images)
        header = self._images.header(stamp=stamp, frame_id=str(message.header.frame_id))
        return self._clouds.create(header, self._clouds.fields(), labelled_points(xyz, labelled))

    def _nearest(self, stamp_ns: int) -> Any:
        with self._lock:
            kept = list(self._newest)
        if not kept:
            raise FrameError("labelled points want depth or a cloud, none has come; remap depth_in or points_in")
        away_s, _, message = min((abs(stamp_to_ns(m.header.stamp) - stamp_ns) / 1e9, i, m) for i, m in enumerate(kept))
        if away_s > _FARTHEST_S:
            raise FrameError(
                f"labelled points want depth or a cloud within {_FARTHEST_S:g} s of the picture, the nearest of "
                f"{len(kept)} is {away_s:.3f} s away; synchronise the cameras, or publish it more often"
            )
        return message

    def _complain(self, text: str) -> None:
        kind = text.split(",")[0]
        if kind not in self._complaints:
            self._complaints.add(kind)
            log.warning("%s. Labels go on without points; further ones are left out in silence", text)


def labelled_points(xyz: npt.NDArray[np.float32], result: Segmentation) -> Points:
    """`(H, W)` of LAYOUT from `(H, W, 3)` metres and a segmentation of the same size."""
    points = np.empty(result.labels.shape, LAYOUT)
    points["x"], points["y"], points["z"] = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    points["label"] = result.labels
    points["confidence"] = result.confidence / np.float32(255)
    return points


def depth_xyz(message: Any, info: Any) -> npt.NDArray[np.float32]:
    """`(H, W, 3)` float32 metres in the optical frame (x right, y down, z forward); NaN where depth is not known.

    Args:
        message: Image of encoding 16UC1 or 32FC1.
        info: CameraInfo of the same size; P counts, as for rectified pictures, or K where P is empty.

    Raises:
        FrameError: another encoding, less data than the message says, or a CameraInfo without a focal length.
    """
    order = ">" if message.is_bigendian else "<"
    kinds = {"16UC1": (f"{order}u2", 1e-3), "mono16": (f"{order}u2", 1e-3), "32FC1": (f"{order}f4", 1.0)}
    if message.encoding not in kinds:
        raise FrameError(f"depth wants encoding 16UC1 (mm) or 32FC1 (m), got '{message.encoding}'; set its driver")
    kind, metres = kinds[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data, item = _bytes(message.data), np.dtype(kind).itemsize
    if step < width * item or data.size < step * (height - 1) + width * item:
        raise FrameError(
            f"depth {width}x{height} wants rows of {width * item} bytes, got step {step}, {data.size} bytes"
        )
    raw = np.ndarray((height, width), kind, data.data, strides=(step, item))
    z = raw.astype(np.float32) * np.float32(metres)
    z[~(z > 0)] = np.nan  # 0 means that nothing was measured
    p, k = info.p, info.k
    fx, fy, cx, cy = (p[0], p[5], p[2], p[6]) if p[0] else (k[0], k[4], k[2], k[5])
    if not (fx and fy):
        raise FrameError("depth wants a CameraInfo with a focal length, got 0; calibrate the camera")
    x = (np.arange(width, dtype=np.float32) - np.float32(cx)) / np.float32(fx)
    y = (np.arange(height, dtype=np.float32) - np.float32(cy)) / np.float32(fy)
    return np.stack([x * z, y[:, None] * z, z], axis=-1)


def cloud_xyz(message: Any) -> npt.NDArray[np.float32]:
    """`(H, W, 3)` float32 metres of an organised PointCloud2.

    Raises:
        FrameError: not organised, without x, y or z, or less data than the message says.
    """
    height, width = int(message.height), int(message.width)
    fields = {str(f.name): f for f in message.fields}
    if height < 2 or not {"x", "y", "z"} <= fields.keys():
        raise FrameError(
            f"labels want an organised cloud with x, y and z, got {width}x{height} with {', '.join(fields) or 'none'}; "
            "take the depth camera's own cloud, not a filtered one"
        )
    order, data = ">" if message.is_bigendian else "<", _bytes(message.data)
    step, row = int(message.point_step), int(message.row_step)
    formats = [order + _NUMPY.get(int(fields[axis].datatype), "f4") for axis in "xyz"]
    ends = [int(fields[axis].offset) + np.dtype(f).itemsize for axis, f in zip("xyz", formats, strict=True)]
    if step < max(ends) or row < step * width or data.size < row * (height - 1) + step * width:
        raise FrameError(
            f"a cloud of {width}x{height} points of {step} bytes wants rows of {step * width} bytes, "
            f"got row_step {row} and {data.size} bytes; its driver fills it wrongly"
        )
    axes = [
        np.ndarray((height, width), kind, data.data, offset=int(fields[axis].offset), strides=(row, step))
        for axis, kind in zip("xyz", formats, strict=True)
    ]
    return np.stack([axis.astype(np.float32) for axis in axes], axis=-1)


def _size(message: Any) -> tuple[int, int]:
    size = int(message.height), int(message.width)
    if min(size) < 1:
        raise FrameError(
            f"labelled points want depth or a cloud of some size, got {size[1]}x{size[0]}; look at its driver"
        )
    return size


def _bytes(data: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
