# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A camera that sends a video: packets of H.264 in each message that there is for them, through `vss node`."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.data.moving import LIVE, encoded, moving
from test.ros.peer import end_cleanly, free_domain, kept_environment, stamps_of
from test.ros.test_live_faces import needs_dds, needs_ros, open_peer, start
from vss_ros.data.messages import TRANSPORTS, ns_to_stamp
from vss_ros.data.typestore import ros2_types

pytestmark = pytest.mark.timeout(120)

TOPIC = "/camera/video"


def needs_package_of(kind: str) -> Any:
    """Few who have ROS also have the packages of these messages."""
    package = TRANSPORTS[kind].partition("/")[0]
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not sourced")


CASES = [  # transport of the node and of the peer, and of the pictures
    *(pytest.param(("dds", kind), id=f"dds-{kind}", marks=needs_dds) for kind in ("ffmpeg", "foxglove")),
    pytest.param(("rclpy", "compressed"), id="rclpy-compressed", marks=needs_ros),
    *(
        pytest.param(("rclpy", kind), id=f"rclpy-{kind}", marks=[*needs_ros, needs_package_of(kind)])
        for kind in ("ffmpeg", "foxglove")
    ),
]
KEY, *REST = encoded(moving(6, 4, size=(96, 160)), **LIVE)
_numbers = itertools.count()


@pytest.fixture(params=CASES)
def camera(request: pytest.FixtureRequest, single_folder: Path, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A node on a video topic, and a peer with a function that sends a packet and gives its stamp."""
    face, kind = request.param
    with kept_environment():
        domain, log = free_domain(), tmp_path / "node.log"
        process = start(face, domain, log, "-m", single_folder, "--image-topic", TOPIC, "--image-transport", kind)
        peer = open_peer(face, domain)
        try:
            named, made = messages_of(face, kind)
            publish = peer.advertise(named, TOPIC)

            def send(packet: bytes) -> int:
                number = next(_numbers)
                publish(packet_message(peer, kind, made, packet, number))
                return stamp_of(number)

            labels = peer.listen(peer.image, "/vss/labels")
            yield SimpleNamespace(peer=peer, log=log, labels=labels, send=send)
            end_cleanly(process, log)
        finally:
            peer.close()
            process.kill()
            process.wait()


def stamp_of(number: int) -> int:
    return 1_700_000_000_000_000_000 + number * 66_666_667


def messages_of(face: str, kind: str) -> tuple[Any, Any]:
    """What the peer advertises, and what makes such a message."""
    name = TRANSPORTS[kind]
    if face == "dds":
        return name, ros2_types().types[name]
    package, _, message = name.split("/")
    made = getattr(importlib.import_module(f"{package}.msg"), message)
    return made, made


def packet_message(peer: Any, kind: str, made: Any, packet: bytes, number: int) -> Any:
    types = peer.types
    stamp, data = ns_to_stamp(stamp_of(number), types), types.pack(np.frombuffer(packet, np.uint8))
    if kind == "foxglove":
        return made(timestamp=stamp, frame_id="cam_optical", data=data, format="h264")
    header = types.header(stamp=stamp, frame_id="cam_optical")
    if kind == "compressed":
        return made(header=header, format="h264", data=data)
    encoding = "h264;yuv420p;bgr8;bgr8"
    return made(
        header=header, width=160, height=96, encoding=encoding, pts=number, flags=0, is_bigendian=False, data=data
    )


def test_labels_from_the_first_keyframe_on_whatever_comes_between(camera):
    def before_the_keyframe() -> int:
        camera.send(REST[0])
        return int(camera.peer.figures()["dropped: no keyframe"])

    camera.peer.until(before_the_keyframe, "packets that are dropped for want of a keyframe")
    assert not camera.labels
    stamps = []
    for packet in (KEY, *REST[:2], b"garbage", *REST[3:]):
        sent = camera.send(packet)
        if packet != b"garbage":
            stamps.append(sent)
            camera.peer.until(lambda: stamps[-1] in stamps_of(camera.labels), "labels")
    assert stamps_of(camera.labels) == stamps
    assert {(m.height, m.width, m.header.frame_id) for m in camera.labels} == {(96, 160, "cam_optical")}
    assert camera.log.read_text().count("a keyframe was wanted") == 1
    assert int(camera.peer.figures()["dropped: bad encoding"]) == 1
