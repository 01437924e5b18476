# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""STT's plan: regions that grow with age, what is read of a ring, and what happens while it is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vss_ros.attention import local_attention
from vss_ros.core.errors import AttentionError, CardError
from vss_ros.core.look import Border
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Host, StepInput
from vss_ros.methods.stt.plan import STT

HOST = Host("tiny", 4, 8)
HEIGHT, WIDTH = 5, 6  # cells
SMALL: Mapping[str, Any] = {"start": 1, "growth": 1, "end": 3, "width": 4, "heads": 2, "hidden": 8}

Array = npt.NDArray[Any]


class Recorded:
    """Runs a plan on random tensors and keeps them; `seen` is what the last frame read, None if it did not."""

    def __init__(self, plan: STT) -> None:
        self.plan = plan
        self.past: list[Mapping[str, Array]] = []
        self.seen: Array | None = None
        self.calls: list[str] = []
        picture = 8 * HEIGHT, 8 * WIDTH
        self._outputs = {spec.name: {t.name: t.at(*picture) for t in spec.outputs} for spec in plan.stages(HOST)}
        self._memory = {spec.name: MemoryBank(spec, *picture, np.zeros) for spec in plan.banks(HOST)}
        self._rng = np.random.default_rng(0)

    def run(self, stage: str, /, **inputs: Array) -> dict[str, Array]:
        self.calls.append(f"{stage}({', '.join(inputs)})")
        made: dict[str, Array] = {
            name: self._rng.standard_normal(shape, np.float32) for name, shape in self._outputs[stage].items()
        }
        if stage == "encode":
            cells = np.sort(self._rng.choice(HEIGHT * WIDTH, len(made["positions"]), replace=False))
            made["positions"] = np.stack(np.divmod(cells, WIDTH), axis=1).astype(np.int32)
            self.past.append(made)
        if stage == "fuse":
            self.seen = inputs["seen"]
        if stage == "decode":
            self.decoded = inputs["features"]
        return made

    def step(self) -> list[str]:
        self.calls.clear()
        self.seen = None
        self.plan.step(StepInput(np.zeros(())), self._memory, self.run, local_attention)
        return list(self.calls)


def by_loops(plan: STT, now: Mapping[str, Array], past: list[Mapping[str, Array]]) -> Array:
    """What the queries of `now` read of `past`, newest last, one position at a time, in float64."""
    heads, channels = plan.per_head
    seen = np.zeros((len(now["query"]), heads, channels))
    for number, (row, column) in enumerate(now["positions"]):
        for head in range(heads):
            logits, values = [], []
            for age, frame in enumerate(reversed(past[-plan.slots :]), start=1):
                reach = min(plan.start + (age - 1) * plan.growth, plan.end)
                for y in range(max(0, row - reach), min(HEIGHT, row + reach + 1)):
                    for x in range(max(0, column - reach), min(WIDTH, column + reach + 1)):
                        key = frame["key"][y, x, head].astype(np.float64)
                        logits.append(key @ now["query"][number, head] / np.sqrt(channels))
                        values.append(frame["value"][y, x, head])
            weights = np.exp(logits - np.max(logits))
            seen[number, head] = weights @ np.array(values) / weights.sum()
    return seen


def test_regions_grow_with_age_up_to_an_end() -> None:
    plan = STT()
    assert [plan.side_of(age) for age in range(1, 6)] == [7, 11, 15, 15, 15], "radii of 3, 5, 7"
    windows = plan.look_back(range(1, 4)).windows
    assert sum(window**2 for window in windows) == 49 + 121 + 225
    assert [STT(region="side").side_of(age) for age in range(1, 4)] == [3, 5, 7]


def test_a_slot_is_looked_at_by_the_age_of_what_it_holds() -> None:
    look = STT().look_back(np.array([2, 1, 0]))
    assert (look.windows, look.border) == ((11, 7, 1), Border.MASK)
    assert look.scale == pytest.approx(1 / np.sqrt(32)) and STT(scaled=False).look_back([1]).scale == 1.0


def test_reads_as_loops_over_the_frames_do() -> None:
    recorded = Recorded(STT(slots=3, **SMALL))
    recorded.step()
    for _ in range(5):  # the ring is filled in part, full, and written over
        recorded.step()
        wanted = by_loops(recorded.plan, recorded.past[-1], recorded.past[:-1])
        assert recorded.seen is not None and np.abs(recorded.seen - wanted).max() < 1e-5


def test_the_age_matters_and_not_the_slot() -> None:
    same, grown = (Recorded(STT(slots=3, **{**SMALL, "growth": growth})) for growth in (0, 2))
    for _ in range(6):
        same.step()
        grown.step()
    assert same.seen is not None and grown.seen is not None and not np.allclose(same.seen, grown.seen)


def test_an_empty_memory_leaves_the_features_as_they_are() -> None:
    recorded = Recorded(STT(**SMALL))
    assert recorded.step() == ["encode(image)", "decode(features)"]
    assert recorded.decoded is recorded.past[0]["features"]
    assert recorded.step() == ["encode(image)", "fuse(raw, positions, own, seen)", "decode(features)"]


def test_no_slots_is_the_single_frame_network() -> None:
    recorded = Recorded(STT(**{**SMALL, "slots": 0}))
    assert recorded.step() == recorded.step() == ["encode(image)", "decode(features)"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"slots": -1}, "slots of 0 or more, got -1"),
        ({"share": 0.0}, "share of 0.01 to 1 in whole percents, got 0.0"),
        ({"share": 1 / 3}, "share of 0.01 to 1 in whole percents, got 0.33"),
        ({"width": 100}, "width in multiples of its 8 heads, got 100"),
        ({"neighbours": 0}, "neighbours and hidden of at least 1 and growth of at least 0, got 0, 1024 and 2"),
        ({"region": "diameter"}, "region 'radius' or 'side', got 'diameter'"),
        ({"unselected": "dropped"}, "unselected 'kept' or 'normalised', got 'dropped'"),
        ({"head": "wide"}, "head 'host' or 'slim', got 'wide'"),
    ],
)
def test_refuses_options_it_cannot_run_with(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CardError, match=sentence):
        STT(**options)


def test_refuses_regions_that_have_no_centre() -> None:
    with pytest.raises(AttentionError, match="odd side length of at least 1 cell, got 4"):
        STT(region="side", growth=1)
