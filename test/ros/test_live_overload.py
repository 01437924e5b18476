# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A camera three times too fast: labels stay as young as on a slow one, and every picture is accounted for.

The node is the one that the benches start, whose network waits 100 ms as one on a GPU would, so that the rate which it
can serve is the same on every machine. Longer, and with the real network: bench/soak.py --overload.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.ros.peer import free_domain, picture_of
from test.ros.test_live_faces import PAIRS, ROOT, environment, open_peer
from vss_ros.data.messages import stamp_to_ns

pytestmark = pytest.mark.timeout(120)

IMAGE_TOPIC = "/camera/image_raw"
WORK_MS, RATE_HZ, SECONDS = 100, 30, 4


@pytest.fixture(params=PAIRS)
def slow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A node that serves ten pictures a second, and a peer that has connected to it."""
    face, transport = request.param
    domain, log, saved = free_domain(), tmp_path / "node.log", dict(os.environ)
    command = [sys.executable, ROOT / "bench" / "clocked_node.py", "--transport", face]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*map(str, command), "--image-topic", IMAGE_TOPIC, "--work-ms", str(WORK_MS)],
            cwd=ROOT,
            env=environment(domain) | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    peer = open_peer(transport, domain)
    try:
        labels = peer.listen(peer.image, "/vss/labels")
        show = peer.connect(IMAGE_TOPIC, lambda: picture_of(peer.types, time.time_ns()), labels, peer.image)
        yield SimpleNamespace(peer=peer, show=show, log=log)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, log.read_text()
    finally:
        peer.close()
        process.kill()
        process.wait()
        os.environ.clear()
        os.environ.update(saved)


def flood(peer: Any, show: Any) -> list[int]:
    """Pictures at a steady rate; the stamps that they were sent with."""
    stamps, began_s = [], time.monotonic()
    while (now_s := time.monotonic()) < began_s + SECONDS:
        if now_s >= began_s + len(stamps) / RATE_HZ:
            stamps.append(time.time_ns())
            show(picture_of(peer.types, stamps[-1]))
        peer.spin(max(began_s + len(stamps) / RATE_HZ - time.monotonic(), 0.0))
    return stamps


def counted(figures: dict[str, str]) -> tuple[int, int, int]:
    """Pictures received, published and dropped."""
    dropped = sum(int(value) for key, value in figures.items() if key.startswith("dropped: "))
    return int(figures["received"]), int(figures["published"]), dropped


def test_labels_stay_young_where_pictures_come_three_times_too_fast(slow):
    peer, ages_ms = slow.peer, dict[int, float]()

    def on_labels(message: Any) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        ages_ms[stamp_ns] = (time.time_ns() - stamp_ns) / 1e6

    before = counted(peer.figures())
    peer.subscribe(peer.image, "/vss/labels", peer.reliable, on_labels)
    peer.pause(1.0)  # until the two have found each other
    peer.heard["/diagnostics"].clear()
    stamps = flood(peer, slow.show)
    meanwhile = [
        counted({entry.key: entry.value for status in message.status for entry in status.values})
        for message in peer.heard["/diagnostics"]
    ]
    peer.pause(1.0)
    received, published, dropped = np.subtract(counted(peer.figures()), before)

    assert set(ages_ms) <= set(stamps), "labels of no picture that was sent"
    assert list(ages_ms) == sorted(ages_ms), "labels out of order"
    # twice the work: the picture in work when this one came, and its own; the rest is for a busy machine
    late = [age for age in ages_ms.values() if age > 3.5 * WORK_MS]
    assert not late, f"{len(late)} of {len(ages_ms)} labels are up to {max(late):.0f} ms old"
    assert 0.6 * SECONDS * 1000 / WORK_MS <= len(ages_ms) == published, "the node was not kept busy"
    assert meanwhile and all(r - p - d <= 2 for r, p, d in meanwhile), "more than one waiting and one in work"
    assert received == published + dropped
    assert dropped == int(peer.figures()["dropped: superseded"]) >= 0.5 * received > 0
