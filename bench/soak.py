# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node for a long while on a stream as cameras really send it, or on one that is too fast for it.

    python bench/soak.py [--json FILE] [--minutes 20] [--rate 30] [--transport dds]
    python bench/soak.py --overload [--json FILE] [--minutes 2]

Every cycle, a tenth of the time but a minute at most, has a stall and a time with pictures of another size; every 20th
message is no picture. Memory that grows shows in the slope of a line through the resident memory after the first tenth;
queues that grow show in the age of the labels, from the camera's stamp to their arrival in the camera's process,
in the first and the last tenth. With --overload the stream is steady, and three times as fast as the node can serve.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from node import NodeProcess, Rig, picture
from rich.console import Console
from rich.table import Table

from vss_ros.cli.options import write_json
from vss_ros.evaluate.machine import cpu_name
from vss_ros.evaluate.metrics import percentiles
from vss_ros.ros.dds_face import DIAGNOSTIC_ARRAY
from vss_ros.ros.dds_names import EVENTS

SIZES = ((720, 1280), (480, 640))
GARBAGE_EVERY = 20
OVERLOAD = 3.0
PROBE_S = 6.0
QUIET_S = 3.0  # for the frame in work, and for diagnostics that count it; they come once a second
Send = Callable[[int, float], None]


class Traffic:
    """What the camera sends at which time.

    Args:
        rig: sends it.
        cycle_s: after which all is repeated: 60 % large pictures, 5 % nothing, 35 % small pictures.
    """

    def __init__(self, rig: Rig, cycle_s: float) -> None:
        self._rig, self._cycle_s = rig, cycle_s
        self.large, self._small = (picture(size) for size in SIZES)
        self._garbage = [_said_larger(self._small), _of_odd_encoding(self._small)]

    def send(self, index: int, at_s: float) -> None:
        """The message of that number at that time, or none in a stall."""
        phase = at_s % self._cycle_s / self._cycle_s
        if 0.60 <= phase < 0.65:
            return
        if index % GARBAGE_EVERY == 0:
            self._rig.send(0, self._garbage[index // GARBAGE_EVERY % 2], None)
        elif phase < 0.60:
            self.send_large(index, at_s)
        else:
            self._rig.send(0, self._small, SIZES[1])

    def send_large(self, index: int, at_s: float) -> None:
        """The same picture always."""
        self._rig.send(0, self.large, SIZES[0])


def _said_larger(cdr: bytearray) -> bytearray:
    """The picture with more rows than its data has."""
    height, width = (number.to_bytes(4, "little") for number in SIZES[1])
    assert cdr.count(height + width) == 1
    return cdr.replace(height + width, (10 * SIZES[1][0]).to_bytes(4, "little") + width)


def _of_odd_encoding(cdr: bytearray) -> bytearray:
    return cdr.replace(b"rgb8\0", b"odd8\0", 1)


class Watch:
    """What is written down meanwhile: resident memory once a second, and the node's newest diagnostics.

    Attributes:
        resident: seconds since the start and MB.
        cpu: seconds since the start and processor time in seconds.
        figures: of the node by name, such as `dropped: superseded`.
    """

    def __init__(self, node: NodeProcess, rig: Rig) -> None:
        self._node, self._began_s, self._next_s = node, time.monotonic(), 0.0
        self.resident: list[tuple[float, float]] = []
        self.cpu: list[tuple[float, float]] = []
        self.figures: dict[str, str] = {}
        self._before: dict[str, str] = {}
        rig.node.subscribe("/diagnostics", DIAGNOSTIC_ARRAY, EVENTS, self._on_diagnostics)

    def look(self) -> None:
        """Take a sample if it is time."""
        now_s = time.monotonic() - self._began_s
        if now_s >= self._next_s:
            self._node.check()
            self.resident.append((now_s, self._node.resident_mb()))
            self.cpu.append((now_s, self._node.cpu_s()))
            self._next_s = math.floor(now_s) + 1.0

    def _on_diagnostics(self, message: Any) -> None:
        self.figures |= {entry.key: entry.value for status in message.status for entry in status.values}

    def restart(self) -> None:
        """Forget samples, and count from now on."""
        self.resident.clear()
        self.cpu.clear()
        self._before = dict(self.figures)

    def count(self, key: str) -> int:
        """How far a counter of the node has come since the restart."""
        return int(self.figures[key]) - int(self._before.get(key, 0))

    def counts(self, prefix: str) -> dict[str, int]:
        """Counters such as `dropped: ...`, those that have moved."""
        found = {key[len(prefix) :]: self.count(key) for key in self.figures if key.startswith(prefix)}
        return {name: count for name, count in found.items() if count}


def run(rig: Rig, watch: Watch, send: Send, seconds: float, rate: float) -> None:
    """So many messages a second for so long."""
    began_s = time.monotonic()
    for index in range(int(seconds * rate)):
        rig.listen(began_s + index / rate - time.monotonic())
        send(index, index / rate)
        watch.look()


def line(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of resident memory in MB per hour, and its standard error as if samples were independent."""
    hours, mb = np.array(samples).T / np.array([[3600.0], [1.0]])
    hours = hours - hours.mean()
    slope = float((hours * (mb - mb.mean())).sum() / (hours**2).sum())
    rest = mb - mb.mean() - slope * hours
    return slope, float(np.sqrt((rest**2).sum() / max(len(mb) - 2, 1) / (hours**2).sum()))


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    domain, seconds = random.SystemRandom().randint(2, 101), 60 * options.minutes
    network = ["--work-ms", options.work_ms] if options.work_ms is not None else ["--model", options.model]
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(domain, [""])
        traffic = Traffic(rig, min(60.0, seconds / 10))
        arguments = ("--image-topic", rig.topics[0], *network)
        with NodeProcess(options.transport, domain, Path(folder), *arguments) as node:
            watch, rate, sustainable = Watch(node, rig), options.rate, None
            rig.connect(node, traffic.large, SIZES[0])
            if options.overload:
                sustainable = sustainable_rate(rig, traffic.send_large)
                rate = OVERLOAD * sustainable
            rig.listen(QUIET_S)
            before = len(rig.sent)
            rig.labels.clear()
            watch.restart()
            began_ns, cpu_s = time.time_ns(), node.cpu_s()
            run(rig, watch, traffic.send_large if options.overload else traffic.send, seconds, rate)
            cpu_s = node.cpu_s() - cpu_s
            rig.listen(QUIET_S)
        rig.node.close()
    found = {"rate_hz": rate, "sustainable_hz": sustainable, "sent": len(rig.sent) - before}
    return found | of_node(watch) | of_labels(rig, began_ns, seconds) | {"cpu_cores": cpu_s / seconds}


def sustainable_rate(rig: Rig, send: Send) -> float:
    """Labels per second where each picture waits for the labels of the one before: a flood would cost by itself."""
    rig.labels.clear()
    end_s = time.monotonic() + PROBE_S
    while time.monotonic() < end_s:
        answered, give_up_s = len(rig.labels), time.monotonic() + PROBE_S / 3  # best effort: a picture may be lost
        send(answered, 0.0)
        while len(rig.labels) == answered and time.monotonic() < give_up_s:
            rig.node.spin(0.1)
    return len(rig.labels) / PROBE_S


def of_node(watch: Watch) -> dict[str, Any]:
    """Counters of the run, and the node's memory."""
    received, published = watch.count("received"), watch.count("published")
    dropped = watch.counts("dropped: ")
    warm = watch.resident[len(watch.resident) // 10 :]
    slope, error = line(warm)
    return {
        "received": received,
        "published": published,
        "dropped": dropped,
        "unaccounted": received - published - sum(dropped.values()),
        "resets": watch.counts("resets: "),
        "resident_start_mb": warm[0][1],
        "resident_end_mb": warm[-1][1],
        "resident_slope_mb_per_hour": slope,
        "resident_slope_error_mb_per_hour": error,
        "first_cpu_cores": cores(watch.cpu[: max(len(watch.cpu) // 10, 2)]),
        "last_cpu_cores": cores(watch.cpu[-max(len(watch.cpu) // 10, 2) :]),
    }


def cores(samples: Sequence[tuple[float, float]]) -> float:
    """Processor time per second. If an overloaded node gets less of it, labels age because the machine is busy."""
    return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])


def of_labels(rig: Rig, began_ns: int, seconds: float) -> dict[str, Any]:
    """Whether labels are of a picture that was sent, and how old they were when they came."""
    wrong = sum(rig.sent.get(stamp_ns) != size for stamp_ns, size, _ in rig.labels)
    tenth_ns = int(seconds * 1e8)
    first = [age_ms for stamp_ns, _, age_ms in rig.labels if stamp_ns < began_ns + tenth_ns]
    last = [age_ms for stamp_ns, _, age_ms in rig.labels if stamp_ns >= began_ns + 9 * tenth_ns]
    return {
        "labels": len(rig.labels),
        "wrong_stamps": wrong,
        **percentiles(first, "first_age"),
        **percentiles(last, "last_age"),
        "age_max_ms": max(age_ms for _, _, age_ms in rig.labels),
    }


def show(result: dict[str, Any]) -> None:
    table = Table("", "", title=result["title"])
    for key, value in result.items():
        if isinstance(value, float):
            table.add_row(key, f"{value:.2f}")
        elif isinstance(value, dict):
            table.add_row(key, ", ".join(f"{name} {count}" for name, count in value.items()) or "none")
        elif key != "title":
            table.add_row(key, str(value))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=30, help="messages per second; --overload finds its own")
    parser.add_argument("--transport", choices=("dds", "rclpy"), default="dds")
    parser.add_argument("--model", default="lmanet_erfnet_camvid")
    parser.add_argument("--work-ms", type=float, help="no network; wait so long instead")
    parser.add_argument("--overload", action="store_true", help="three times the rate that the node can serve")
    chosen = parser.parse_args()
    what = "overloaded" if chosen.overload else "with garbage, stalls and changes of size"
    result = {"title": f"{chosen.minutes:g} minutes over {chosen.transport}, {what}", **soak(chosen)}
    result |= {
        "transport": chosen.transport,
        "minutes": chosen.minutes,
        "network": chosen.model if chosen.work_ms is None else f"waits {chosen.work_ms:g} ms",
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "machine": cpu_name(),
    }
    show(result)
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
