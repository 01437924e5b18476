# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 message types without ROS: the rosbags type store with vision_msgs and the packets of videos added."""

from __future__ import annotations

from functools import lru_cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vss_ros.data.messages import TRANSPORTS, ImageTypes

IMAGE, COMPRESSED_IMAGE = TRANSPORTS["raw"], TRANSPORTS["compressed"]
FFMPEG_PACKET, COMPRESSED_VIDEO = TRANSPORTS["ffmpeg"], TRANSPORTS["foxglove"]
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
VISION_CLASS = "vision_msgs/msg/VisionClass"

_VISION_CLASS_FIELDS = "uint16 class_id\nstring class_name\n"
_LABEL_INFO_FIELDS = "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
_FFMPEG_PACKET_FIELDS = (
    "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian\n"
    "uint8[] data\n"
)
_COMPRESSED_VIDEO_FIELDS = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"


@lru_cache(maxsize=1)
def ros2_types() -> Typestore:
    """The types of ROS 2 with those of other packages named above; what is used here is the same from Humble on."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(_VISION_CLASS_FIELDS, VISION_CLASS))
    store.register(get_types_from_msg(_LABEL_INFO_FIELDS, LABEL_INFO))
    store.register(get_types_from_msg(_FFMPEG_PACKET_FIELDS, FFMPEG_PACKET))
    store.register(get_types_from_msg(_COMPRESSED_VIDEO_FIELDS, COMPRESSED_VIDEO))
    return store


@lru_cache(maxsize=1)
def rosbags_image_types() -> ImageTypes:
    """The image messages as rosbags' classes; their data is a numpy array."""
    types = ros2_types().types
    header, time = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    return ImageTypes(types[IMAGE], types[COMPRESSED_IMAGE], header, time, pack=lambda flat: flat)
