# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs Image and CompressedImage to RGB arrays and back.

Works on anything that has the ROS fields: messages of rclpy, of rosbags, or of a test. Of all encodings only `rgb8` is
handed on as a view of the message's memory; every other needs its channels moved anyway, and one pass of OpenCV into a
contiguous array is cheaper than what a flipped (`bgr8`) or gapped (`rgba8`) view costs in the next step.
YUV follows BT.601 with video range, as OpenCV and cv_bridge do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import UInt8Array

# What the setting `node.image_transport` calls the messages that bring pictures.
TRANSPORTS: dict[str, str] = {
    "raw": "sensor_msgs/msg/Image",
    "compressed": "sensor_msgs/msg/CompressedImage",
    "ffmpeg": "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "foxglove": "foxglove_msgs/msg/CompressedVideo",
}
# Encoding -> (bytes per pixel in a row, OpenCV conversion to RGB or None for a view). OpenCV names a Bayer pattern by
# the second row's second and third pixel, ROS by the first row's first two: hence RGGB = BayerBG.
# 8UC3 and 8UC1 say nothing about colour; cv_bridge and OpenCV programs mean bgr8 and mono8 by them.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "mono16": (2, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": (1, cv2.COLOR_YUV2RGB_NV12),
    "nv21": (1, cv2.COLOR_YUV2RGB_NV21),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
}
ENCODINGS: tuple[str, ...] = tuple(_ENCODINGS)
_TWO_COLUMNS = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "bayer_")
_TWO_ROWS = ("nv12", "nv21", "bayer_")
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
# Cameras pad JPEG data, so its end mark is looked for in this many last bytes.
_TAIL = 1024
# Cameras have fewer pixels, and one byte of JPEG holds fewer: a block of 8x8 costs at least one bit. A few flipped bits
# in the header of a small file would else have OpenCV fill gigabytes with grey, for seconds.
_MOST_PIXELS, _MOST_PIXELS_PER_BYTE = 2**26, 512


@dataclass(frozen=True, slots=True)
class ImageTypes:
    """The message classes of one middleware, so that one function builds messages for all of them.

    Attributes:
        image: sensor_msgs/Image.
        compressed: sensor_msgs/CompressedImage.
        header: std_msgs/Header.
        time: builtin_interfaces/Time.
        pack: turns a flat uint8 array into what the `data` field takes; rclpy is fast only with `array.array("B")`.
    """

    image: Callable[..., Any]
    compressed: Callable[..., Any]
    header: Callable[..., Any]
    time: Callable[..., Any]
    pack: Callable[[UInt8Array], Any]


def image_to_rgb(msg: Any) -> UInt8Array:
    """`(H, W, 3)` uint8 RGB of an Image or CompressedImage.

    A read-only view of the message for `rgb8`, which stays valid as long as it is kept; a contiguous array otherwise.

    Raises:
        FrameError: an encoding or format that is not known, or less data than the message says.
    """
    if hasattr(msg, "format"):
        return _decompress(msg, cv2.IMREAD_COLOR)
    encoding = str(msg.encoding)
    if encoding not in _ENCODINGS:
        raise FrameError(
            f"an image wants one of the encodings {', '.join(ENCODINGS)}, got {_described(msg)}; "
            "set the camera driver to one of them, or convert with image_proc"
        )
    bytes_per_pixel, conversion = _ENCODINGS[encoding]
    height, width = int(msg.height), int(msg.width)
    if (encoding.startswith(_TWO_COLUMNS) and width % 2) or (encoding.startswith(_TWO_ROWS) and height % 2):
        raise FrameError(f"{encoding} wants an even size, got {_described(msg)}; crop the picture in the driver")
    rows = height * 3 // 2 if encoding in ("nv12", "nv21") else height
    pixels = _pixels(msg, rows, bytes_per_pixel)
    if conversion is None:
        return pixels
    if encoding == "mono16":  # the high byte is the picture
        pixels = np.ascontiguousarray(pixels[:, :, 0 if msg.is_bigendian else 1])
    try:
        return np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)
    except cv2.error as error:
        raise FrameError(f"{_described(msg)} does not convert to RGB: {error.err}; check the camera driver") from error


def image_to_labels(msg: Any) -> UInt8Array:
    """`(H, W)` uint8 of a mono8 Image (read-only view) or a PNG CompressedImage: labels or confidence.

    Raises:
        FrameError: any other encoding (JPEG alters labels), or less data than the message says.
    """
    if hasattr(msg, "format"):
        if not bytes(_flat(msg.data)[:4]).startswith(_PNG):
            raise FrameError(f"labels want PNG, which is lossless, got {_described(msg)}; publish them as mono8 or PNG")
        return _decompress(msg, cv2.IMREAD_GRAYSCALE)
    if str(msg.encoding) not in ("mono8", "8UC1"):
        raise FrameError(f"labels want encoding mono8, got {_described(msg)}; publish class ids, 1 byte per pixel")
    return _pixels(msg, int(msg.height), 1)[:, :, 0]


def array_to_image(pixels: UInt8Array, stamp_ns: int, frame_id: str, *, types: ImageTypes) -> Any:
    """An Image: `mono8` from `(H, W)` uint8, `rgb8` from `(H, W, 3)` uint8 RGB.

    Rows follow each other without gaps (`step == width` for mono8), because known consumers ignore `step`.

    Raises:
        FrameError: any other shape or dtype.
    """
    channels = {2: 1, 3: pixels.shape[-1]}.get(pixels.ndim)
    if channels not in (1, 3) or pixels.dtype != np.uint8:
        raise FrameError(f"an image message wants (H, W) or (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    return types.image(
        header=_header(stamp_ns, frame_id, types),
        height=height,
        width=width,
        encoding="mono8" if channels == 1 else "rgb8",
        is_bigendian=0,
        step=width * channels,
        data=types.pack(np.ascontiguousarray(pixels).reshape(-1)),
    )


def array_to_jpeg(pixels: UInt8Array, stamp_ns: int, frame_id: str, *, types: ImageTypes, quality: int = 95) -> Any:
    """A CompressedImage with a JPEG of `(H, W, 3)` uint8 RGB, in the format string image_transport writes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise FrameError(f"an image {pixels.shape} {pixels.dtype} cannot be written as JPEG; use (H, W, 3) uint8")
    header = _header(stamp_ns, frame_id, types)
    flat = np.asarray(data, np.uint8).reshape(-1)
    return types.compressed(header=header, format="rgb8; jpeg compressed bgr8", data=types.pack(flat))


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int, types: ImageTypes) -> Any:
    """The builtin_interfaces/Time of that many nanoseconds."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return types.time(sec=sec, nanosec=nanosec)


def _header(stamp_ns: int, frame_id: str, types: ImageTypes) -> Any:
    return types.header(stamp=ns_to_stamp(stamp_ns, types), frame_id=frame_id)


def _flat(data: Any) -> UInt8Array:
    """The bytes of a `data` field without a copy: numpy array, bytes, memoryview, array.array; a list is copied."""
    if isinstance(data, (list, tuple)):
        return np.array(data, np.uint8)
    return np.frombuffer(data, np.uint8)


def _pixels(msg: Any, rows: int, bytes_per_pixel: int) -> UInt8Array:
    """Read-only `(rows, W, bytes_per_pixel)` uint8 view of an Image's data, `step` bytes from row to row."""
    width, step, data = int(msg.width), int(msg.step), _flat(msg.data)
    row_bytes = width * bytes_per_pixel
    # The last row's padding is not needed, and some drivers do not send it.
    wanted = step * (rows - 1) + row_bytes
    if rows <= 0 or width <= 0 or step < row_bytes or data.size < wanted:
        raise FrameError(
            f"{msg.encoding} of this size wants step >= {max(row_bytes, 1)} and at least {max(wanted, 1)} bytes, "
            f"got {_described(msg)}; the message is cut off or its driver fills it wrongly"
        )
    view: UInt8Array = np.ndarray((rows, width, bytes_per_pixel), np.uint8, data, 0, (step, bytes_per_pixel, 1))
    view.setflags(write=False)
    return view


def _decompress(msg: Any, flags: int) -> UInt8Array:
    """Decodes by what the data is, because format strings differ from driver to driver."""
    data = _flat(msg.data)
    head, tail = bytes(data[:4]), bytes(data[-_TAIL:])
    if not head.startswith((_JPEG, _PNG)):
        raise FrameError(
            f"a compressed image wants jpeg or png, got {_described(msg)} beginning with {head.hex() or 'nothing'}; "
            "set the publisher's format to jpeg or png"
        )
    # OpenCV fills what is missing of a JPEG with grey and says nothing.
    is_jpeg = head.startswith(_JPEG)
    whole = (b"\xff\xd9" if is_jpeg else b"IEND") in tail
    most = min(_MOST_PIXELS, _MOST_PIXELS_PER_BYTE * data.size) if is_jpeg else _MOST_PIXELS
    whole = whole and 0 < _pixels_said(data.data, is_jpeg) <= most
    try:
        picture = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION) if whole else None
    except cv2.error:  # such as a size in the header beyond OpenCV's limit
        picture = None
    if picture is None:
        raise FrameError(f"a whole jpeg or png was wanted, got {_described(msg)}, cut off or damaged; send it again")
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return np.asarray(picture, np.uint8)


def _pixels_said(data: memoryview, is_jpeg: bool) -> int:
    """Number of pixels that the header of a JPEG or PNG announces; 0 where there is no header."""
    at, found = (_start_of_frame(data) + 5, ">HH") if is_jpeg else (16, ">II")
    if at + 8 > len(data):
        return 0
    height, width = struct.unpack_from(found, data, at)
    return int(height * width)


def _start_of_frame(data: memoryview) -> int:
    """Where a JPEG's segment with its size begins; the end of the data if there is none before the pixels."""
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, 0xFF):  # decoders skip what stands between two segments
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        elif marker in (0xD9, 0xDA):  # end of the picture, start of its pixels
            break
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these have no length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def _described(msg: Any) -> str:
    size = len(msg.data)
    if hasattr(msg, "format"):
        return f"format {msg.format!r} with {size} bytes"
    return f"encoding {msg.encoding!r}, {msg.width}x{msg.height}, step {msg.step}, {size} bytes of data"
