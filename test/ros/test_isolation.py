# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One loaded model, several cameras: whatever happens to one of them, the labels of the others stay the same bits."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vss_ros.assemble import Model, load_model, load_settings
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.messages import array_to_image
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.data.typestore import rosbags_image_types
from vss_ros.ros.app import SegmentApp

FRONT, REAR = "front", "rear"
Shown = tuple[str, Any]  # camera and message, or camera and None for a reset


@pytest.fixture(scope="module")
def model(lmanet_folder: Path) -> Model:
    return load_model(load_settings(values={"model.name": str(lmanet_folder), "runtime.threads": 1}))


@lru_cache(maxsize=8)
def street(seed: int, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    return [frame.image for frame in SyntheticDrive(seed=seed, size=size, frames=8)]


def message(index: int, seed: int, size: tuple[int, int] = (96, 128), **changes: Any) -> Any:
    made = array_to_image(street(seed, size)[index], (1 + index) * 100_000_000, "cam", types=rosbags_image_types())
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def labels_of(model: Model, shown: Iterable[Shown]) -> dict[str, list[np.ndarray]]:
    """Labels by camera; one message is shown after the other."""
    results: dict[str, list[np.ndarray]] = {FRONT: [], REAR: []}
    served = threading.Semaphore(0)

    def publish(frame: Frame, result: Segmentation) -> None:
        results[result.stream].append(result.labels)

    app = SegmentApp(model, publish, cameras=[FRONT, REAR])
    app.start()
    try:
        for camera, picture in shown:
            if picture is None:
                app.reset("test", only=camera)
                continue
            app.offer(camera, picture)
            for _ in range(2000):
                if all(r.received == r.published + sum(r.dropped.values()) for r in app.report()):
                    break
                served.acquire(timeout=0.005)
            else:
                pytest.fail(f"a frame was not served: {app.report()}")
    finally:
        app.stop()
    return results


def test_what_happens_to_one_camera_does_not_reach_the_other(model: Model) -> None:
    alone = labels_of(model, [(FRONT, message(index, seed=3)) for index in range(8)])[FRONT]
    trouble: list[list[Shown]] = [
        [(REAR, message(0, seed=8))],
        [(REAR, message(1, seed=8)), (REAR, None)],
        [(REAR, message(2, seed=8, encoding="garbage8"))],
        [],  # it stalls
        [(REAR, message(5, seed=8, data=b"cut off"))],
        [(REAR, message(3, seed=8))],  # a stamp that goes back
        [(REAR, message(4, seed=8, size=(64, 160)))],
        [(REAR, message(6, seed=3))],
    ]
    shown = [(FRONT, message(index, seed=3)) for index in range(8)]
    mixed = [entry for index, front in enumerate(shown) for entry in (front, *trouble[index])]
    beside = labels_of(model, mixed)
    assert len(beside[REAR]) == 5 and len(alone) == len(beside[FRONT]) == 8
    for index, (one, other) in enumerate(zip(alone, beside[FRONT], strict=True)):
        assert np.array_equal(one, other), f"frame {index} differs"
    assert not np.array_equal(alone[0], alone[7]), "the street moves"


def test_cameras_share_the_network_and_nothing_else(model: Model) -> None:
    first, second = model.stream(), model.stream()
    assert first._runtime is second._runtime, "one copy of the weights"
    for index in range(3):
        first(Frame(index * 100_000_000, street(3)[index]))
    assert first.memory_bytes > 0 and second.memory_bytes == 0
