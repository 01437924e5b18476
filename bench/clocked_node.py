# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss node` with a clock at its border, and, if wanted, a network that does nothing or only waits.

    python bench/clocked_node.py --transport dds --image-topic /camera/image_raw [--work-ms 0] [--spans FILE]

Started by bench/node.py, bench/soak.py and test/ros/test_live_overload.py; all but the clock and the network is the
node as it is shipped. Ends on SIGINT and then writes FILE: of every picture its stamp, the milliseconds from its
arrival to the end of its publication, how many of them it spent in the segmenter, how many in publishing, and how many
milliseconds of a processor publishing took.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vss_ros.assemble import Model, load_card, load_settings, stream_options
from vss_ros.core.config import Settings
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.data.messages import stamp_to_ns
from vss_ros.data.resize import resize
from vss_ros.methods.single.plan import Single
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.command import run_node


class Idle:
    """A runtime whose network waits, as one on a GPU does for the processor, and finds class 0 everywhere."""

    name = "stand-in"

    def __init__(self, work_ms: float) -> None:
        self._work_ms = work_ms

    def run(self, stage: str, /, **inputs: Any) -> dict[str, Any]:
        if stage == "encode":
            return {"features": inputs["image"]}
        time.sleep(self._work_ms / 1e3)
        labels = _zeros(inputs["features"].shape[:2])
        return {"labels": labels, "confidence": labels}

    def attend(self, *arrays: Any, **options: Any) -> Any:
        raise NotImplementedError("the plan of a single frame looks back at nothing")

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.empty(shape, dtype)

    def upload(self, array: Any) -> Any:
        return array

    def download(self, array: Any) -> Any:
        return array


@lru_cache(maxsize=8)
def _zeros(size: tuple[int, int]) -> UInt8Array:
    return np.zeros(size, np.uint8)


def idle_model(work_ms: float, settings: Settings, *, alive: bool) -> Model:
    """A model with a shipped one's card and no network behind it, in the place of `assemble.load_model`."""
    card = load_card(settings.model.name)
    return Model(card, Single(), Idle(work_ms), stream_options(card, settings), resize)


class ClockedApp(SegmentApp):
    """The application, with the time of every picture from arrival to publication.

    Attributes:
        spans: stamp in ns, arrival to publication in ms, of it in the segmenter and in publishing in ms, and the
            processor time of publishing in ms; of the class, because the face keeps its application to itself.
    """

    spans: ClassVar[list[tuple[int, float, float, float, float]]] = []

    def __init__(self, model: Any, publish: Callable[[Frame, Segmentation], None], **options: Any) -> None:
        super().__init__(model, self._clocked, **options)
        self._send = publish
        self._came_s: dict[tuple[str, int], float] = {}  # those of dropped pictures stay: not for long runs

    def offer(self, camera: str, message: Any) -> None:
        self._came_s[camera, stamp_to_ns(message.header.stamp)] = time.perf_counter()
        super().offer(camera, message)

    def _clocked(self, frame: Frame, result: Segmentation) -> None:
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        self._send(frame, result)
        ended_s, cpu_s = time.perf_counter(), time.thread_time() - cpu_s
        total_s = ended_s - self._came_s.pop((frame.stream, frame.stamp_ns))
        total_ms, publish_ms, cpu_ms = 1e3 * total_s, 1e3 * (ended_s - began_s), 1e3 * cpu_s
        self.spans.append((frame.stamp_ns, total_ms, result.times_ms["total"], publish_ms, cpu_ms))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=("dds", "rclpy"), required=True)
    parser.add_argument("--image-topic", required=True, help="with commas for several cameras")
    parser.add_argument("--cameras", default="", help="their names, with commas; none for one camera")
    parser.add_argument("--model", default="lmanet_erfnet_camvid")
    parser.add_argument("--size", default="auto", help="model.input_size; the camera's own leaves nothing to resize")
    parser.add_argument("--work-ms", type=float, help="no network; wait so long instead")
    parser.add_argument("--spans", type=Path, help="write the times of all pictures to this file in the end")
    chosen = parser.parse_args()
    face: Any = importlib.import_module(f"vss_ros.ros.{chosen.transport}_face")
    if chosen.work_ms is not None:
        face.load_model = partial(idle_model, chosen.work_ms)
    if chosen.spans:
        face.SegmentApp = ClockedApp
    values = {"model.name": chosen.model, "model.input_size": chosen.size, "node.cameras": chosen.cameras}
    try:
        return run_node(load_settings(values=values), transport=chosen.transport, image_topic=chosen.image_topic)
    finally:
        if chosen.spans:
            chosen.spans.write_text(json.dumps(ClockedApp.spans), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
