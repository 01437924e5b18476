# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CameraInfo at the size of the labels, because planners project labels with it and do not look at the picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vss_ros.core.frame import Segmentation
from vss_ros.core.prepare import Size
from vss_ros.data.messages import ImageTypes, ns_to_stamp

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraInfoTypes:
    """Message classes of sensor_msgs: CameraInfo and RegionOfInterest."""

    camera_info: Callable[..., Any]
    roi: Callable[..., Any]


class Calibration:
    """The newest CameraInfo of a camera, and whether it tells of another calibration than the one before."""

    def __init__(self) -> None:
        self.newest: Any = None
        self._key: tuple[Any, ...] | None = None
        self._refused = False

    def take(self, info: Any) -> bool:
        """Remember a CameraInfo; True where size or K differ from the former one's."""
        if info.width == 0 or info.height == 0:
            if not self._refused:
                log.warning(
                    "a camera_info with the picture's size was wanted, got %dx%d in frame '%s'; set width and height "
                    "in the camera's calibration file. Until then none is published",
                    info.width,
                    info.height,
                    info.header.frame_id,
                )
                self._refused = True
            return False
        # bytes, because the NaN of a camera that is not calibrated equals no other
        key = int(info.width), int(info.height), np.asarray(info.k, np.float64).tobytes()
        changed = self._key not in (None, key)
        self.newest, self._key = info, key
        return changed


def rescale_camera_info(
    info: Any, picture: Size, result: Segmentation, images: ImageTypes, types: CameraInfoTypes
) -> Any:
    """The CameraInfo that belongs to the labels: their size, their header, K, P and the region of interest to scale.

    Distortion and rectification do not depend on the size. Binning becomes none, since the size contains it. Where the
    picture is the region of interest itself, cut out by the camera, the principal point moves along with the cut.

    Args:
        info: of the camera; its size is not 0.
        picture: `(height, width)` px of the camera's picture.
        result: the labels.
        images: classes of header and time.
        types: classes of the result.
    """
    height, width = result.labels.shape
    roi = info.roi
    binned = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    whole = (0, 0, int(info.width), int(info.height))
    region = int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
    is_cut = region != whole and min(region[2:]) > 0 and picture == (region[3] // binned[1], region[2] // binned[0])
    left, top, seen_width, seen_height = region if is_cut else whole
    sx, sy = width / seen_width, height / seen_height

    k, p = np.array(info.k, np.float64), np.array(info.p, np.float64)
    k[2], p[2] = k[2] - left, p[2] - left
    k[5], p[6] = k[5] - top, p[6] - top
    k[[0, 2]] *= sx  # fx, cx
    p[[0, 2, 3]] *= sx  # fx, cx, Tx = -fx * baseline
    k[[4, 5]] *= sy  # fy, cy
    p[[5, 6]] *= sy
    scaled = (0, 0, 0, 0) if is_cut else tuple(round(v * s) for v, s in zip(region, (sx, sy, sx, sy), strict=True))
    return types.camera_info(
        header=images.header(stamp=ns_to_stamp(result.stamp_ns, images), frame_id=result.frame_id),
        height=height,
        width=width,
        distortion_model=info.distortion_model,
        d=info.d,
        k=k,
        r=info.r,
        p=p,
        binning_x=0,
        binning_y=0,
        roi=types.roi(
            x_offset=scaled[0], y_offset=scaled[1], width=scaled[2], height=scaled[3], do_rectify=roi.do_rectify
        ),
    )
