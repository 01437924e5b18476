# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""LMANet: each position of the current frame reads the past frames in a window around itself.

Source: Paul et al., "Local Memory Attention for Fast Video Semantic Segmentation", IROS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vss_ros.core.errors import CardError
from vss_ros.core.look import Border, Look
from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput, features_spec
from vss_ros.core.stage import StageSpec, TensorSpec

_FUSIONS = ("gated", "concatenation", "bottleneck", "residual")


@dataclass(frozen=True)
class LMANet:
    """Plan of LMANet on any host with one feature map.

    Attributes:
        slots: past frames remembered; may differ from training (paper, table S4).
        window: diameter in cells of the square read around each position (R of the paper's tables).
        key_channels: channels of keys and queries.
        value_channels: channels of values.
        fusion: how the frame's own value and what it saw become features again: `gated`; `concatenation`, the
            paper's ablation, which wants values of half the host's feature channels; `bottleneck`, the paper's
            variant for PSPNet, whose values are the features themselves and have their channels; or `residual`,
            which is not the paper's: what was seen is gated and added to the host's own features.
    """

    slots: int = 4
    window: int = 21
    key_channels: int = 16
    value_channels: int = 64
    fusion: str = "gated"

    name = "lmanet"

    def __post_init__(self) -> None:
        if self.slots < 0:
            raise CardError(f"lmanet wants slots of 0 or more, got {self.slots}; 0 switches the memory off")
        if self.fusion not in _FUSIONS:
            raise CardError(f"lmanet wants fusion {', '.join(map(repr, _FUSIONS))}, got '{self.fusion}'")
        _ = self.look  # a window that cannot be read is refused here, not at the first frame

    @property
    def look(self) -> Look:
        """Joint softmax over slots and window, zero keys outside the picture, no 1/sqrt(dk)."""
        return Look(window=self.window, border=Border.ZERO, scale=1.0)

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        h, w = f"H/{host.stride}", f"W/{host.stride}"
        features = features_spec(host)
        query = TensorSpec("query", "float32", (h, w, 1, self.key_channels))
        own_value = TensorSpec("own_value", "float32", (self.value_channels, h, w))
        seen = TensorSpec("seen", "float32", (h, w, 1, self.value_channels))
        raw = TensorSpec("raw", features.dtype, features.shape)  # a file's input and output cannot share a name
        fused = (raw, own_value, seen) if self.fusion == "residual" else (own_value, seen)
        return (
            StageSpec("encode", (IMAGE,), (features, query, own_value, *self._remembered(host))),
            StageSpec("fuse", fused, (features,)),
            StageSpec("decode", (features,), (LABELS, CONFIDENCE)),
        )

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return (BankSpec("past", self.slots, self._remembered(host)),)

    def _remembered(self, host: Host) -> tuple[TensorSpec, TensorSpec]:
        h, w = f"H/{host.stride}", f"W/{host.stride}"
        key = TensorSpec("key", "float32", (h, w, 1, self.key_channels))
        return key, TensorSpec("value", "float32", (h, w, 1, self.value_channels))

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        now = run("encode", image=x.image)
        past = memory["past"].read()
        if len(past) == 0:  # nothing to look at: the encoder's own features are decoded, as in the host
            features = now["features"]
        else:
            seen = attend(now["query"], past["key"], past["value"], self.look, valid=past.valid)
            more = {"raw": now["features"]} if self.fusion == "residual" else {}
            features = run("fuse", own_value=now["own_value"], seen=seen, **more)["features"]
        memory["past"].push(key=now["key"], value=now["value"])  # after the read, from raw encoder features
        return run("decode", features=features)


PLAN = LMANet
