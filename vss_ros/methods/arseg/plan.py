# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg: keyframes at full resolution, the others at half of it, mended by what a keyframe's features say.

Source: Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vss_ros.core.errors import CardError
from vss_ros.core.look import Border, Look
from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput
from vss_ros.core.stage import Dim, StageSpec, TensorSpec


@dataclass(frozen=True)
class ARSeg:
    """Plan of AR-Seg on any host whose classifier reads features of the picture's shape.

    Attributes:
        period: frames from one keyframe to the next (L).
        scale: of the pictures between keyframes, in whole percents; their sides become whole cells of the host.
        window: diameter in cells of the square read in the keyframe around where a cell was then.
        motion: `warp` moves the keyframe's features, then makes keys and values of them, every frame, as published;
            `offset` makes these once per keyframe and moves the windows instead.
    """

    period: int = 12
    scale: float = 0.5
    window: int = 7
    motion: str = "warp"

    name = "arseg"

    def __post_init__(self) -> None:
        if self.period < 1:
            raise CardError(f"arseg wants a period of at least 1, got {self.period}; 1 makes all frames keyframes")
        if not 25 <= self.percent <= 100 or abs(100 * self.scale - self.percent) > 1e-9:
            raise CardError(f"arseg wants a scale of 0.25 to 1 in whole percents, got {self.scale}")
        if self.motion not in ("warp", "offset"):
            raise CardError(f"arseg wants motion 'warp' or 'offset', got '{self.motion}'")
        _ = self.look  # a window that cannot be read is refused here, not at the first frame

    @property
    def percent(self) -> int:
        """Of a picture's sides, what is left between keyframes."""
        return round(100 * self.scale)

    @property
    def look(self) -> Look:
        """Zero keys outside the picture, no 1/sqrt(C)."""
        return Look(window=self.window, border=Border.ZERO, scale=1.0)

    def motion_stride(self, host: Host) -> int:
        """Motion is told for each cell of the features that are classified."""
        return _classified(host)[1]

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        channels, stride = _classified(host)
        rows, columns = f"H/{stride}", f"W/{stride}"
        features, own = (TensorSpec(name, "float32", (channels, rows, columns)) for name in ("features", "own"))
        query, seen = (TensorSpec(name, "float32", (rows, columns, 1, channels)) for name in ("query", "seen"))
        motion = TensorSpec("motion", "float32", (rows, columns, 2))
        centres = TensorSpec("centres", "int32", (rows, columns, 2))
        if self.motion == "warp":
            keyframe = TensorSpec("keyframe", features.dtype, features.shape)
            encode = StageSpec("encode", (IMAGE,), (own, query))
            # keys and values as if of one slot: they go to the read as they are
            project = StageSpec("project", (keyframe, motion), _key_and_value((1, *query.shape)))
        else:
            encode = StageSpec("encode", (IMAGE, motion), (own, query, centres))
            project = StageSpec("project", (features,), _key_and_value(query.shape))
        return (
            StageSpec("keyframe", (IMAGE,), (features,)),
            encode,
            project,
            StageSpec("fuse", (own, seen), (features,)),
            StageSpec("decode", (features,), (LABELS, CONFIDENCE)),
        )

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        keyframe, *_, project, _, _ = self.stages(host)
        return (BankSpec("key", 1, keyframe.outputs if self.motion == "warp" else project.outputs),)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        if x.is_key:
            return self._keyframe(x, memory["key"], run)
        key = memory["key"].read()
        if self.motion == "warp":
            now = run("encode", image=x.image)
            there = run("project", keyframe=key.newest("features"), motion=x.motion)
            seen = attend(now["query"], there["key"], there["value"], self.look)
        else:
            now = run("encode", image=x.image, motion=x.motion)
            where = {"valid": key.valid, "centres": now["centres"]}
            seen = attend(now["query"], key["key"], key["value"], self.look, **where)
        return run("decode", features=run("fuse", own=now["own"], seen=seen)["features"])

    def _keyframe(self, x: StepInput, key: Bank, run: Run) -> Outputs:
        """The host's own labels; its features are remembered, or what is read of them."""
        features = run("keyframe", image=x.image)["features"]
        outputs = run("decode", features=features)
        if self.motion == "warp":
            key.push(features=features)
        else:
            key.push(**run("project", features=features))
        return outputs


def _classified(host: Host) -> tuple[int, int]:
    """Channels of the features that the host's classifier reads, and picture px per cell of them."""
    if host.classified_channels < 1 or host.classified_stride < 1:
        raise CardError(
            f"arseg wants a host with classified_channels and classified_stride, got {host}; "
            "train or export the model with this version"
        )
    return host.classified_channels, host.classified_stride


def _key_and_value(shape: tuple[Dim, ...]) -> tuple[TensorSpec, TensorSpec]:
    return TensorSpec("key", "float32", shape), TensorSpec("value", "float32", shape)


PLAN = ARSeg
