# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the node costs beside inference: time and processor for each picture, over each face, for one camera and two.

    python bench/node.py [--json FILE] [--seconds 30] [--rate 30] [--size 1280x720]

Overhead is arrival to publication less the time in the segmenter, whose network does nothing, so that inference cannot
hide it; rows with a network, at a rate that it keeps up with, check the same by subtraction. Arrival is the callback.
What a face and DDS do before it (rclpy copies the picture) shows in the CPU time, and in the age: from the camera's
stamp to the arrival of the labels, in the camera's process, which sends over the loopback. Two cameras are half a
period apart. The overhead has two parts: `publish`, beside it its processor time, and `waiting`, the rest, which
is the wait of the picture for the worker and of the worker for the interpreter. Needs the wheel cyclonedds; the row of
rclpy wants ROS 2 sourced, with rmw_cyclonedds_cpp.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.cli.options import write_json
from vss_ros.core.errors import VssError
from vss_ros.data.messages import array_to_image
from vss_ros.data.typestore import IMAGE, ros2_types, rosbags_image_types
from vss_ros.evaluate.machine import cpu_name
from vss_ros.evaluate.metrics import percentiles
from vss_ros.ros.command import choose
from vss_ros.ros.dds_discovery import discovery_of
from vss_ros.ros.dds_names import RESULT, Profile, padded
from vss_ros.ros.dds_transport import DdsNode

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
WARM_UP_S = 2.0
CAMERA = Profile(1, reliable=False)  # as camera drivers publish
# rmw_cyclonedds leaves the receive buffer at 1 MB, less than a raw 720p picture; the dds face asks for this by itself
LARGE_BUFFER = '<CycloneDDS><Domain><Internal><SocketReceiveBufferSize max="8MB"/></Internal></Domain></CycloneDDS>'


def environment(domain: int, transport: str = "dds") -> dict[str, str]:
    """Loopback only, in a domain of its own."""
    chosen = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if os.environ.get("ROS_DISTRO") == "humble":  # which knows no range
        chosen["ROS_LOCALHOST_ONLY"] = "1"
    if transport == "rclpy":
        chosen = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "CYCLONEDDS_URI": LARGE_BUFFER} | chosen
    return chosen


class NodeProcess:
    """The node in a process of its own, until the block ends; what it logs goes to `log`."""

    def __init__(self, transport: str, domain: int, folder: Path, *arguments: object) -> None:
        self.log = folder / "node.log"
        command = [sys.executable, str(ROOT / "bench" / "clocked_node.py"), "--transport", transport]
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                cwd=ROOT,
                env=environment(domain, transport),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """End the bench if the node has ended."""
        if self._process.poll() is not None:
            raise SystemExit(f"the node has ended with code {self._process.returncode}:\n{self.log.read_text()}")

    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Memory that it occupies now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Rig:
    """Cameras and a planner in this process: pictures go out, labels and confidence come back.

    Attributes:
        topics: of the cameras' pictures.
        sent: stamp in ns of every picture, with its `(height, width)`, or None where it is none.
        labels: stamp in ns, `(height, width)` and age in ms of all labels, in the order they came.
    """

    def __init__(self, domain: int, cameras: Sequence[str]) -> None:
        self.node = DdsNode("rig", discovery=discovery_of(environment(domain)))
        self.topics = [f"/{camera or 'camera'}/image_raw" for camera in cameras]
        self.sent: dict[int, tuple[int, int] | None] = {}
        self.labels: list[tuple[int, tuple[int, int], float]] = []
        self._writers = [self.node.publisher(topic, IMAGE, CAMERA).writer for topic in self.topics]
        for camera in cameras:
            prefix = f"/vss/{camera}/" if camera else "/vss/"
            self.node.subscribe(f"{prefix}labels", IMAGE, RESULT, self._on_labels)
            self.node.subscribe(f"{prefix}confidence", IMAGE, RESULT, lambda message: None)

    def send(self, camera: int, cdr: bytearray, size: tuple[int, int] | None) -> None:
        """Publish a picture, or what shall be none, with the present as its stamp."""
        stamp_ns = time.time_ns()
        struct.pack_into("<iI", cdr, 4, *divmod(stamp_ns, 10**9))  # behind the 4 bytes of CDR's own header
        self.sent[stamp_ns] = size
        self._writers[camera].write_cdr(cdr)

    def connect(self, node: NodeProcess, cdr: bytearray, size: tuple[int, int]) -> None:
        """Send pictures of each camera until labels come back, because only then both ends have found each other."""
        deadline = time.monotonic() + PATIENCE_S
        for camera in range(len(self.topics)):
            self.labels.clear()
            while not self.labels:
                node.check()
                if time.monotonic() > deadline:
                    raise SystemExit(f"no labels within {PATIENCE_S:g} s; the node says:\n{node.log.read_text()}")
                self.send(camera, cdr, size)
                self.listen(0.3)
        self.listen(1.0)

    def listen(self, seconds: float) -> None:
        """Take labels for a while."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.node.spin(left_s)

    def stream(self, cdr: bytearray, size: tuple[int, int], seconds: float, rate: float) -> None:
        """Pictures of all cameras in turn, each at `rate` Hz."""
        cameras, began_s = len(self.topics), time.monotonic()
        for index in range(int(seconds * rate * cameras)):
            self.listen(began_s + index / (rate * cameras) - time.monotonic())
            self.send(index % cameras, cdr, size)
        self.listen(began_s + seconds - time.monotonic())

    def _on_labels(self, message: Any) -> None:
        now_ns, stamp = time.time_ns(), message.header.stamp
        stamp_ns = stamp.sec * 10**9 + stamp.nanosec
        self.labels.append((stamp_ns, (message.height, message.width), (now_ns - stamp_ns) / 1e6))


def picture(size: tuple[int, int]) -> bytearray:
    """CDR bytes of an rgb8 Image of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    message = array_to_image(pixels, 0, "cam_optical", types=rosbags_image_types())
    return bytearray(padded(ros2_types().serialize_cdr(message, IMAGE)))


def measure(transport: str, cameras: int, options: argparse.Namespace, network: str | None = None) -> dict[str, Any]:
    """One row: the node over that transport with so many cameras, with a network or without."""
    size, domain, cdr = (options.height, options.width), random.SystemRandom().randint(2, 101), picture(options.size)
    names = [""] if cameras == 1 else [f"camera{index}" for index in range(cameras)]
    rate = options.network_rate if network else options.rate
    inside = ["--model", network] if network else ["--work-ms", 0, "--size", f"{size[1]}x{size[0]}"]
    with tempfile.TemporaryDirectory() as folder:
        spans, rig = Path(folder) / "spans.json", Rig(domain, names)
        topics = ["--image-topic", ",".join(rig.topics), "--cameras", ",".join(names), "--spans", spans]
        with NodeProcess(transport, domain, Path(folder), *topics, *inside) as node:
            rig.connect(node, cdr, size)
            rig.stream(cdr, size, WARM_UP_S, rate)
            rig.sent.clear()
            rig.labels.clear()
            cpu_s = node.cpu_s()
            rig.stream(cdr, size, options.seconds, rate)
            cpu_s, resident_mb = node.cpu_s() - cpu_s, node.resident_mb()
            node.check()
            rig.listen(0.5)
        served = [tuple(span) for span in json.loads(spans.read_text()) if span[0] in rig.sent]
        rig.node.close()
    _, total_ms, segmenter_ms, publish_ms, publish_cpu_ms = np.array(served, float).T
    overhead = total_ms - segmenter_ms
    return {
        "name": f"{transport}, {cameras} camera{'s' if cameras > 1 else ''}{f', {network}' if network else ''}",
        "transport": transport,
        "cameras": cameras,
        "network": network,
        "rate_hz": rate,
        "sent": len(rig.sent),
        "published": len(served),
        "labels_received": len(rig.labels),
        **percentiles(overhead.tolist(), "overhead"),
        **percentiles((overhead - publish_ms).tolist(), "waiting"),
        **percentiles(publish_ms.tolist(), "publish"),
        **percentiles(publish_cpu_ms.tolist(), "publish_cpu"),
        "segmenter_p50_ms": float(np.median(segmenter_ms)),
        **percentiles([age_ms for _, _, age_ms in rig.labels], "age"),
        "cpu_ms_per_frame": 1e3 * cpu_s / max(len(served), 1),
        "cpu_cores": cpu_s / options.seconds,
        "resident_mb": resident_mb,
    }


def faces() -> list[str]:
    """Transports that import here."""
    found = []
    for transport in ("dds", "rclpy"):
        try:
            found.append(choose(transport))
        except VssError:
            continue
    return found


def second_cameras(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the second camera adds, of each pair of rows that differ in nothing else."""
    return [
        {
            "transport": one["transport"],
            "network": one["network"],
            "second_camera_cpu_cores": two["cpu_cores"] - one["cpu_cores"],
            "second_camera_cpu_ms_per_frame": 1e3 * (two["cpu_cores"] - one["cpu_cores"]) / one["rate_hz"],
            "second_camera_resident_mb": two["resident_mb"] - one["resident_mb"],
        }
        for one, two in zip(rows[::2], rows[1::2], strict=True)
    ]


def show(result: dict[str, Any]) -> None:
    """The rows, and below them what the second camera costs."""
    headings = (
        "",
        "Hz",
        "sent",
        "published",
        "overhead p50",
        "p99 ms",
        "publish p99",
        "of it CPU",
        "CPU ms/frame",
        "cores",
        "age p50",
        "p99 ms",
        "MB",
    )
    table = Table(*headings, title=result["title"])
    for row in result["rows"]:
        counts = (f"{row['rate_hz']:g}", str(row["sent"]), str(row["published"]))
        shown = ("overhead_p50_ms", "overhead_p99_ms", "publish_p99_ms", "publish_cpu_p99_ms", "cpu_ms_per_frame")
        times = [f"{row[key]:.2f}" for key in shown]
        ages = (f"{row['age_p50_ms']:.1f}", f"{row['age_p99_ms']:.1f}", f"{row['resident_mb']:.0f}")
        table.add_row(row["name"], *counts, *times, f"{row['cpu_cores']:.2f}", *ages)
    table.caption = "\n".join(
        f"second camera, {pair['transport']}, {pair['network'] or 'no network'}: {pair['second_camera_cpu_cores']:.2f} "
        f"cores, {pair['second_camera_cpu_ms_per_frame']:.2f} ms/frame, {pair['second_camera_resident_mb']:.1f} MB"
        for pair in result["second_cameras"]
    )
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=30, help="of each row")
    parser.add_argument("--rate", type=float, default=30, help="of each camera in Hz, without a network")
    parser.add_argument("--size", default="1280x720", help="of the cameras' pictures")
    parser.add_argument("--model", default="lmanet_erfnet_camvid")
    parser.add_argument("--network-rate", type=float, default=2, help="of each camera in Hz, with the model's network")
    parser.add_argument("--no-network", action="store_true", help="leave out the rows with the model's network")
    chosen = parser.parse_args()
    chosen.width, chosen.height = (int(x) for x in chosen.size.split("x"))
    chosen.size = (chosen.height, chosen.width)
    rows = [measure(transport, cameras, chosen) for transport in faces() for cameras in (1, 2)]
    if not chosen.no_network:
        rows += [measure("dds", cameras, chosen, chosen.model) for cameras in (1, 2)]
    worst = max((row for row in rows if not row["network"]), key=lambda row: row["overhead_p99_ms"])
    result = {
        "title": f"the node beside inference, {chosen.width}x{chosen.height} at {chosen.rate:g} Hz",
        "rows": rows,
        "second_cameras": second_cameras(rows),
        "worst": worst["name"],
        **{key: worst[key] for key in ("overhead_p50_ms", "overhead_p99_ms", "cpu_ms_per_frame")},
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "machine": cpu_name(),
    }
    show(result)
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
