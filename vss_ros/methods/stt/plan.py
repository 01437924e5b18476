# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""STT: the most complex cells of a frame read the past frames, the older a frame the wider, as a transformer does.

Source: Li et al., "Video Semantic Segmentation via Sparse Temporal Transformer", ACM Multimedia 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vss_ros.core.errors import CardError
from vss_ros.core.look import Border, Look
from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput, features_spec
from vss_ros.core.stage import StageSpec, TensorSpec

_WORDS = {"region": ("radius", "side"), "unselected": ("kept", "normalised"), "head": ("host", "slim")}


@dataclass(frozen=True)
class STT:
    """Plan of STT on any host with one feature map. README.md says what of this the paper leaves open.

    Attributes:
        slots: past frames remembered (T).
        start: size l of the region that is read of the newest past frame, in cells (s).
        growth: how much larger the region is of each older frame (epsilon).
        end: largest size of a region (e).
        region: whether a size l is the `radius` of a square of 2 l + 1 cells, or its `side`, which is odd.
        share: of the cells that become queries, rounded down; whole percents.
        neighbours: radius r of the neighbourhood that a cell's complexity is told by.
        normalise: make queries of unit length before they are compared with their neighbours.
        width: channels of the transformer (d).
        heads: of the attention; each has width / heads channels.
        hidden: channels within the feed-forward network.
        scaled: divide the logits by the root of a head's channels.
        unselected: cells that are no queries are `kept` as they are, or `normalised` as the queries' results are.
        head: `host` decodes with the host's own decoder; `slim` takes the transformer to where the head is `width`
            channels wide and decodes with a 3x3 convolution to 128 channels and a classifier.
    """

    slots: int = 3
    start: int = 3
    growth: int = 2
    end: int = 7
    region: str = "radius"
    share: float = 0.5
    neighbours: int = 1
    normalise: bool = False
    width: int = 256
    heads: int = 8
    hidden: int = 1024
    scaled: bool = True
    unselected: str = "kept"
    head: str = "host"

    name = "stt"

    def __post_init__(self) -> None:
        if self.slots < 0:
            raise CardError(f"stt wants slots of 0 or more, got {self.slots}; 0 switches the memory off")
        if not 1 <= self.percent <= 100 or not math.isclose(100 * self.share, self.percent):
            raise CardError(f"stt wants a share of 0.01 to 1 in whole percents, got {self.share}")
        if self.heads < 1 or self.width % self.heads:
            raise CardError(f"stt wants a width in multiples of its {self.heads} heads, got {self.width}")
        if min(self.neighbours, self.hidden) < 1 or self.growth < 0:
            raise CardError(
                "stt wants neighbours and hidden of at least 1 and growth of at least 0, "
                f"got {self.neighbours}, {self.hidden} and {self.growth}"
            )
        for option, words in _WORDS.items():
            if getattr(self, option) not in words:
                raise CardError(f"stt wants {option} '{words[0]}' or '{words[1]}', got '{getattr(self, option)}'")
        self.look_back(range(self.slots + 1))  # regions that cannot be read are refused here, not at the first frame

    @property
    def percent(self) -> int:
        """Cells of a hundred that become queries."""
        return round(100 * self.share)

    @property
    def per_head(self) -> tuple[int, int]:
        """Heads, and channels of each."""
        return self.heads, self.width // self.heads

    def side_of(self, age: int) -> int:
        """Side length in cells of what is read of the frame before (age 1), of the one before that (2), and so on."""
        size = min(self.start + (age - 1) * self.growth, self.end)
        return 2 * size + 1 if self.region == "radius" else size

    def look_back(self, ages: Iterable[int]) -> Look:
        """One read: the regions go with the frames, so each slot's window depends on the age of what it holds now.

        Args:
            ages: of the slots; 0 = nothing was written there, and no window matters.
        """
        windows = tuple(self.side_of(age) if age else 1 for age in map(int, ages))
        scale = self.per_head[1] ** -0.5 if self.scaled else 1.0
        return Look(window=windows, border=Border.MASK, scale=scale)

    def features(self, host: Host) -> TensorSpec:
        """What the transformer changes and the decoder reads."""
        spec = features_spec(host)
        return spec if self.head == "host" else TensorSpec(spec.name, spec.dtype, (self.width, *spec.shape[1:]))

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        features = self.features(host)
        raw = TensorSpec("raw", features.dtype, features.shape)  # a file's input and output cannot share a name
        count = f"{self.percent}% of H/{host.stride}*W/{host.stride}"
        positions = TensorSpec("positions", "int32", (count, 2))
        own = TensorSpec("own", "float32", (count, self.width))
        query, seen = (TensorSpec(name, "float32", (count, *self.per_head)) for name in ("query", "seen"))
        return (
            StageSpec("encode", (IMAGE,), (features, positions, own, query, *self._remembered(host))),
            StageSpec("fuse", (raw, positions, own, seen), (features,)),
            StageSpec("decode", (features,), (LABELS, CONFIDENCE)),
        )

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return (BankSpec("past", self.slots, self._remembered(host)),)

    def _remembered(self, host: Host) -> tuple[TensorSpec, TensorSpec]:
        shape = (f"H/{host.stride}", f"W/{host.stride}", *self.per_head)
        return TensorSpec("key", "float32", shape), TensorSpec("value", "float32", shape)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        now = run("encode", image=x.image)
        past = memory["past"].read()
        features, positions = now["features"], now["positions"]
        if len(past) > 0:  # else there is nothing to look at, and the features stay as they are
            look = self.look_back(past.age)
            seen = attend(now["query"], past["key"], past["value"], look, valid=past.valid, centres=positions)
            features = run("fuse", raw=features, positions=positions, own=now["own"], seen=seen)["features"]
        memory["past"].push(key=now["key"], value=now["value"])  # after the read, from raw encoder features
        return run("decode", features=features)


PLAN = STT
