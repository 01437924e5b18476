# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A method small enough to compute by hand: the label of a pixel is the sum of its present and past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vss_ros.core.look import Look
from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput
from vss_ros.core.stage import StageSpec, TensorSpec

HOST = Host("fake", 1, 8)
RED = TensorSpec("red", "uint8", ("H", "W"))


@dataclass(frozen=True)
class Summing:
    """Labels are the red channel plus the red channels of the remembered frames; confidence is red alone."""

    slots: int = 2
    name = "summing"

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        return (StageSpec("encode", (IMAGE,), (RED,)), StageSpec("decode", (RED,), (LABELS, CONFIDENCE)))

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return (BankSpec("past", self.slots, (RED,)),)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        red = run("encode", image=x.image)["red"]
        past = memory["past"].read()
        seen = attend(red, past["red"], past["red"], Look(), valid=past.valid) if len(past) else red * 0
        memory["past"].push(red=red)
        return {**run("decode", red=red), "labels": red + seen}


class FakeRuntime:
    """Numpy stages of `Summing`; reuses its output buffer, as engines do, and fails on a picture full of 13."""

    name = "fake"

    def __init__(self) -> None:
        self._buffer: np.ndarray | None = None

    def run(self, stage: str, /, **inputs: Any) -> dict[str, Any]:
        if stage == "decode":
            return {"labels": inputs["red"], "confidence": inputs["red"]}
        image = inputs["image"]
        if (image == 13).all():
            raise RuntimeError("engine failed")
        if self._buffer is None or self._buffer.shape != image.shape[:2]:
            self._buffer = np.empty(image.shape[:2], np.uint8)
        self._buffer[:] = image[..., 0]
        return {"red": self._buffer}

    def attend(self, query: Any, keys: Any, values: Any, look: Look, *, valid: Any = None) -> Any:
        return values[valid].sum(axis=0).astype(np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.empty(shape, dtype)

    def upload(self, array: np.ndarray) -> np.ndarray:
        return array

    def download(self, array: np.ndarray) -> np.ndarray:
        return array
