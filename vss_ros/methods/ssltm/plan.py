# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""SSLTM: a transformer over windows of the last frames, and category contexts of a frame about 60 frames ago.

Source: Lao et al., "Simultaneously Short- and Long-Term Temporal Modeling for Semi-Supervised Video Semantic
Segmentation", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vss_ros.core.errors import CardError
from vss_ros.core.memory import Array, Bank, BankSpec, MemoryView
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput, features_spec
from vss_ros.core.stage import StageSpec, TensorSpec


@dataclass(frozen=True)
class SSLTM:
    """Plan of SSLTM on any host with one feature map. README.md says what of this the paper leaves open.

    Attributes:
        frames: in a window, the current one among them (T).
        slots: past frames remembered; a window has room for frames - 1 of them. 0 switches all memory off, the
            reference frame's contexts too.
        block: side length in cells of the squares that a frame is cut into; all frames are cut alike.
        width: channels of the transformer and of the contexts.
        heads: of the window attention; each has width / heads channels.
        hidden: channels within the feed-forward network.
        rfce: take the contexts of a reference frame. Without it they are the current frame's own: QFCE, the baseline.
        distance: frames from the reference frame to the current one; in a younger stream, its first frame.
        every: how many frames lie between two that may become the reference frame.
        clusters: entries of the dictionary of contexts for each class (GCC); 0 leaves the dictionary out.
        context_width: channels in which cells and contexts are compared.
        classes: number of labels; there is one context for each.
    """

    frames: int = 4
    slots: int = 3
    block: int = 8
    width: int = 256
    heads: int = 8
    hidden: int = 1024
    rfce: bool = True
    distance: int = 60
    every: int = 10
    clusters: int = 3
    context_width: int = 128
    classes: int = 11

    name = "ssltm"

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise CardError(f"ssltm wants frames of at least 2, the current one among them, got {self.frames}")
        if self.slots < 0:
            raise CardError(f"ssltm wants slots of 0 or more, got {self.slots}; 0 switches the memory off")
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            raise CardError(f"ssltm wants a width in multiples of its {self.heads} heads, got {self.width}")
        if not 1 <= self.every <= self.distance:
            raise CardError(f"ssltm wants every of 1 to its distance of {self.distance} frames, got {self.every}")
        for option in ("block", "hidden", "context_width", "classes"):
            if getattr(self, option) < 1:
                raise CardError(f"ssltm wants {option} of at least 1, got {getattr(self, option)}")
        if self.clusters < 0:
            raise CardError(f"ssltm wants clusters of 0 or more, got {self.clusters}; 0 leaves the dictionary out")

    @property
    def ages(self) -> range:
        """Of the past frames in a window: 1 = the previous frame."""
        return range(1, self.frames)

    @property
    def _has_reference(self) -> bool:
        return self.rfce and self.slots > 0

    @property
    def references(self) -> int:
        """Contexts to remember, so that one of them is never farther from `distance` than half of `every`."""
        return self.distance // self.every + 1

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        rows, columns = f"H/{host.stride}", f"W/{host.stride}"
        features = features_spec(host)
        raw = TensorSpec("raw", features.dtype, features.shape)  # a file's input and output cannot share a name
        tokens, near = (TensorSpec(name, "float32", (self.width, rows, columns)) for name in ("tokens", "near"))
        query, key, value = (self._in_heads(host, name) for name in ("query", "key", "value"))
        (context,) = self._context()
        flags = tuple(TensorSpec(name, "float32", (1,)) for name in ("there", "absent"))
        past = [self._in_heads(host, f"{name}_{age}") for age in self.ages for name in ("key", "value")]
        valid = [TensorSpec(f"valid_{age}", "float32", (1,)) for age in self.ages]
        return (
            StageSpec("encode", (IMAGE,), (features, tokens, query, key, value, context, *flags)),
            StageSpec("near", (tokens, query, key, value, *past, *valid), (near,)),
            StageSpec("far", (raw, near, context), (features,)),
            StageSpec("decode", (features,), (LABELS, CONFIDENCE)),
        )

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        key, value = (self._in_heads(host, name) for name in ("key", "value"))
        near = BankSpec("near", min(self.slots, self.frames - 1), (key, value))
        contexts = BankSpec("contexts", self.references, self._context(), self.every)
        return (near, contexts) if self._has_reference else (near,)

    def _in_heads(self, host: Host, name: str) -> TensorSpec:
        shape = (f"H/{host.stride}", f"W/{host.stride}", self.heads, self.width // self.heads)
        return TensorSpec(name, "float32", shape)

    def _context(self) -> tuple[TensorSpec]:
        return (TensorSpec("context", "float32", (self.classes, self.width)),)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        now = run("encode", image=x.image)
        own = {name: now[name] for name in ("tokens", "query", "key", "value")}
        near = run("near", **own, **self._past(memory["near"].read(), now))["near"]
        features = run("far", raw=now["features"], near=near, context=self._reference(memory, now))["features"]
        memory["near"].push(key=now["key"], value=now["value"])  # after the read, from raw encoder features
        if self._has_reference:
            memory["contexts"].push(context=now["context"])
        return run("decode", features=features)

    def _past(self, past: MemoryView, now: Outputs) -> dict[str, Array]:
        """The past frames of a window by age; one that there is not is marked absent, whatever stands in its place."""
        found: dict[str, Array] = {}
        for age in self.ages:
            slot = past.slot_of(age)
            for name in ("key", "value"):
                found[f"{name}_{age}"] = now[name] if slot is None else past.at(slot, name)
            found[f"valid_{age}"] = now["absent" if slot is None else "there"]
        return found

    def _reference(self, memory: Mapping[str, Bank], now: Outputs) -> Array:
        """Contexts of the reference frame; the current frame's own, as QFCE has it, where there is none."""
        if not self._has_reference:
            return now["context"]
        contexts = memory["contexts"].read()
        return contexts.near(self.distance, "context") if len(contexts) else now["context"]


PLAN = SSLTM
