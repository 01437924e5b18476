# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Methods: short plans that say which stages run, what is remembered and where to look back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vss_ros.core.look import Look
from vss_ros.core.memory import Array, Bank, BankSpec
from vss_ros.core.stage import StageSpec, TensorSpec

Outputs = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Host:
    """The single-frame network a method stands on, as far as a plan needs to know it.

    Attributes:
        name: module name under `nets/`.
        feature_channels: channels of the encoder's output.
        stride: picture px per feature cell.
        classified_channels: channels of the features that its classifier reads; 0 = a card of before says nothing.
        classified_stride: picture px per cell of these; 0 = a card of before says nothing.
    """

    name: str
    feature_channels: int
    stride: int
    classified_channels: int = 0
    classified_stride: int = 0


@dataclass(frozen=True, slots=True)
class StepInput:
    """One prepared frame on the runtime's device.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        motion: for a `KeyframeMethod`, `(h, w, 2)` float32 cells `(dx, dy)` to where things were in the keyframe; 0 in
            a keyframe.
        is_key: whether a `KeyframeMethod` is to make this frame a keyframe.
    """

    image: Array
    motion: Array | None = None
    is_key: bool = True


class Run(Protocol):
    """Runs a stage: named tensors in, named tensors out; outputs may be reused by the stage's next run."""

    def __call__(self, stage: str, /, **inputs: Array) -> Outputs: ...


class Attend(Protocol):
    """Local attention on the runtime's arrays, as `vss_ros.attention.local_attention` defines it.

    `centres` and `sink` may be outputs of a stage, and thus learned.
    """

    def __call__(
        self,
        query: Array,
        keys: Array,
        values: Array,
        look: Look,
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        centres: Array | None = None,
        sink: Array | float | None = None,
    ) -> Array: ...


class TemporalMethod(Protocol):
    """A plan. It routes; stages compute and banks store: no arithmetic here, no memory in a module."""

    @property
    def name(self) -> str: ...

    def stages(self, host: Host) -> tuple[StageSpec, ...]: ...

    def banks(self, host: Host) -> tuple[BankSpec, ...]: ...

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        """`labels` and `confidence`, both `(H, W)` uint8, of one frame; reads and writes `memory`."""
        ...


@runtime_checkable
class KeyframeMethod(TemporalMethod, Protocol):
    """A plan that treats some frames as keyframes, and the others by how far things have moved since.

    Which frames are keyframes is the stream's to decide (`core/keyframes.py`).
    """

    @property
    def period(self) -> int:
        """Frames from a keyframe to the next, at most."""
        ...

    def motion_stride(self, host: Host) -> int:
        """Picture px per cell of the motion that it reads."""
        ...


class Runtime(Protocol):
    """Runs stages and the one custom kernel on its own kind of array."""

    @property
    def name(self) -> str: ...

    def run(self, stage: str, /, **inputs: Array) -> Outputs: ...

    @property
    def attend(self) -> Attend: ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    def upload(self, array: npt.NDArray[Any]) -> Array: ...

    def download(self, array: Array) -> npt.NDArray[Any]: ...


def features_spec(host: Host) -> TensorSpec:
    """The encoder's output `(C, H/stride, W/stride)` float32, the tensor every method starts from."""
    return TensorSpec("features", "float32", (host.feature_channels, f"H/{host.stride}", f"W/{host.stride}"))


IMAGE = TensorSpec("image", "uint8", ("H", "W", 3))
LABELS = TensorSpec("labels", "uint8", ("H", "W"))
CONFIDENCE = TensorSpec("confidence", "uint8", ("H", "W"))
