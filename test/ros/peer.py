# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other side of the live tests, whatever carries the topics: publishes pictures, collects what comes back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vss_ros.data.messages import ImageTypes
from vss_ros.ros.points import LAYOUT, CloudTypes
from vss_ros.ros.silence import Publisher

PATIENCE_S = 40.0


@contextmanager
def kept_environment() -> Iterator[None]:
    """Whatever is set in the environment meanwhile is gone afterwards."""
    saved = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def end_cleanly(process: subprocess.Popen[bytes], log: Path) -> None:
    """The node must end with code 0 on SIGINT, and must have logged no traceback."""
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def free_domain() -> int:
    """A domain that another run on this machine hardly has; up to 101 its ports lie below the ephemeral ones."""
    return random.SystemRandom().randint(2, 101)


class Peer:
    """A peer of the node; spins only while it waits.

    Attributes:
        types: message classes that `picture` is built from.
        image, compressed, label_info, empty, diagnostics, cloud: what `listen` and `advertise` take for these messages.
        clouds: makes a PointCloud2.
        reliable, latched: QoS profiles.
    """

    types: ImageTypes
    image: Any
    compressed: Any
    label_info: Any
    empty: Any
    diagnostics: Any
    cloud: Any
    clouds: CloudTypes
    reliable: Any
    latched: Any
    heard: dict[str, list[Any]]

    def close(self) -> None:
        raise NotImplementedError

    def spin(self, timeout_s: float) -> None:
        """Wait so long for a message, and hand it over."""
        raise NotImplementedError

    def subscribe(self, kind: Any, topic: str, qos: Any, heard: Callable[[Any], Any]) -> None:
        raise NotImplementedError

    def advertise(self, kind: Any, topic: str) -> Callable[[Any], None]:
        """A function that publishes reliably."""
        raise NotImplementedError

    def new(self, kind: Any) -> Any:
        """An empty message."""
        raise NotImplementedError

    def publishers(self, topic: str) -> list[Publisher]:
        raise NotImplementedError

    def subscribers(self, topic: str) -> list[Publisher]:
        raise NotImplementedError

    def listen(self, kind: Any, topic: str, qos: Any = None) -> list[Any]:
        """All messages that come on a topic from now on, in a list that grows."""
        heard: list[Any] = []
        self.heard[topic] = heard
        self.subscribe(kind, topic, self.reliable if qos is None else qos, heard.append)
        return heard

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """The condition's first true value."""
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
            self.spin(0.05)
        return value

    def pause(self, seconds: float) -> None:
        """Listen for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin(0.02)

    def connect(self, topic: str, make: Callable[[], Any], heard: list[Any], kind: Any = None) -> Callable[[Any], None]:
        """A publisher of pictures, once the node answers to it.

        Both ends of a best-effort topic must have found each other, and only the own end can be asked: so pictures
        are sent until labels come back.
        """
        publish = self.advertise(kind or type(make()), topic)
        deadline = time.monotonic() + PATIENCE_S
        while not heard:
            assert time.monotonic() < deadline, f"no labels for pictures on {topic} within {PATIENCE_S:g} s"
            publish(make())
            self.pause(0.3)
        self.pause(0.5)  # for the last ones
        heard.clear()
        return publish

    def figures(self) -> dict[str, str]:
        """The node's newest diagnostics, waited for."""
        heard = self.heard["/diagnostics"]
        heard.clear()
        # the first one may have been counted before what the test has just done
        self.until(lambda: len(heard) >= 2, "diagnostics")
        return {entry.key: entry.value for status in heard[-1].status for entry in status.values}


def picture_of(
    types: ImageTypes, stamp_ns: int, *, encoding: str = "rgb8", height: int = 90, width: int = 160, padding: int = 0
) -> Any:
    """Noise, always the same for one stamp."""
    step = width * 3 + padding
    pixels = np.random.default_rng(stamp_ns).integers(0, 256, height * step, np.uint8)
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return types.image(
        header=types.header(stamp=types.time(sec=sec, nanosec=nanosec), frame_id="cam_optical"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=step,
        data=types.pack(pixels),
    )


def stamps_of(messages: Sequence[Any]) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


def cloud_of(peer: Peer, stamp_ns: int, height: int = 9, width: int = 16) -> Any:
    """An organised cloud whose points are 1, 2, 3... metres away."""
    points = np.zeros((height, width), LAYOUT)
    points["z"] = 1 + np.arange(height * width).reshape(height, width)
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    header = peer.types.header(stamp=peer.types.time(sec=sec, nanosec=nanosec), frame_id="depth_optical")
    return peer.clouds.create(header, peer.clouds.fields(), points)
