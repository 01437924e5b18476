# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg's plan: what a keyframe runs and what the others do, what is remembered, and what is read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vss_ros.attention import local_attention
from vss_ros.core.errors import AttentionError, CardError
from vss_ros.core.look import Border, Look
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Host, KeyframeMethod, StepInput
from vss_ros.methods.arseg.plan import ARSeg

HOST = Host("tiny", 6, 8, classified_channels=4, classified_stride=2)
HEIGHT, WIDTH = 5, 6  # cells of what is classified
MOTION = np.ones((HEIGHT, WIDTH, 2), np.float32)

Array = npt.NDArray[Any]


class Recorded:
    """Runs a plan on random tensors and keeps them; `centres` lead a row down and two columns to the left."""

    def __init__(self, plan: ARSeg) -> None:
        self.plan = plan
        self.calls: list[str] = []
        self.made: dict[str, Mapping[str, Array]] = {}
        self.given: dict[str, Mapping[str, Array]] = {}
        picture = 2 * HEIGHT, 2 * WIDTH
        self._shapes = {spec.name: {t.name: t.at(*picture) for t in spec.outputs} for spec in plan.stages(HOST)}
        self._stages = {spec.name: spec for spec in plan.stages(HOST)}
        self.memory = {spec.name: MemoryBank(spec, *picture, np.zeros) for spec in plan.banks(HOST)}
        self._rng = np.random.default_rng(0)

    def run(self, stage: str, /, **inputs: Array) -> Mapping[str, Array]:
        self._stages[stage].check_inputs(inputs)
        self.calls.append(stage)
        self.given[stage] = inputs
        made = {name: self._rng.standard_normal(shape, np.float32) for name, shape in self._shapes[stage].items()}
        if "centres" in made:
            made["centres"] = np.moveaxis(np.indices((HEIGHT, WIDTH), np.int32), 0, -1) + np.array([1, -2], np.int32)
        self.made[stage] = made
        return made

    def step(self, is_key: bool) -> list[str]:
        self.calls.clear()
        picture = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
        self.plan.step(StepInput(picture, MOTION, is_key), self.memory, self.run, local_attention)
        return list(self.calls)


def by_loops(query: Array, key: Array, value: Array, shift: tuple[int, int], reach: int) -> Array:
    """Softmax over a window about each cell, moved by `shift`; what is outside has logit 0 and value 0; in float64."""
    seen = np.zeros((HEIGHT, WIDTH, 1, value.shape[-1]))
    for row in range(HEIGHT):
        for column in range(WIDTH):
            logits, values = [], []
            for y in range(row + shift[0] - reach, row + shift[0] + reach + 1):
                for x in range(column + shift[1] - reach, column + shift[1] + reach + 1):
                    inside = 0 <= y < HEIGHT and 0 <= x < WIDTH
                    logits.append(float(key[y, x, 0].astype(float) @ query[row, column, 0]) if inside else 0.0)
                    values.append(value[y, x, 0] if inside else np.zeros(value.shape[-1]))
            weights = np.exp(np.array(logits) - max(logits))
            seen[row, column, 0] = weights @ np.array(values) / weights.sum()
    return seen


def test_it_is_a_method_with_keyframes() -> None:
    plan = ARSeg()
    assert isinstance(plan, KeyframeMethod) and plan.period == 12 and plan.motion_stride(HOST) == 2
    assert plan.look == Look(7, Border.ZERO, 1.0)


def test_a_keyframe_is_the_hosts_own_and_remembers_its_features() -> None:
    recorded = Recorded(ARSeg())
    assert recorded.step(is_key=True) == ["keyframe", "decode"]
    features = recorded.made["keyframe"]["features"]
    assert recorded.given["decode"]["features"] is features
    np.testing.assert_array_equal(recorded.memory["key"].read().newest("features"), features)


def test_other_frames_read_what_the_keyframe_left() -> None:
    recorded = Recorded(ARSeg(window=3))
    recorded.step(is_key=True)
    features = recorded.made["keyframe"]["features"]
    for _ in range(2):
        assert recorded.step(is_key=False) == ["encode", "project", "fuse", "decode"]
        given = recorded.given["project"]
        np.testing.assert_array_equal(given["keyframe"], features)
        assert given["motion"] is MOTION
        key, value = (recorded.made["project"][name][0] for name in ("key", "value"))
        wanted = by_loops(recorded.made["encode"]["query"], key, value, (0, 0), 1)
        assert np.abs(recorded.given["fuse"]["seen"] - wanted).max() < 1e-5
        assert recorded.given["fuse"]["own"] is recorded.made["encode"]["own"]
        assert recorded.given["decode"]["features"] is recorded.made["fuse"]["features"]
    assert recorded.step(is_key=True) == ["keyframe", "decode"], "and the next keyframe takes its place"
    assert not np.array_equal(recorded.memory["key"].read().newest("features"), features)


def test_with_offsets_keys_and_values_are_made_once_and_windows_move() -> None:
    recorded = Recorded(ARSeg(window=3, motion="offset"))
    assert recorded.step(is_key=True) == ["keyframe", "decode", "project"]
    key, value = (recorded.made["project"][name] for name in ("key", "value"))
    for _ in range(2):
        assert recorded.step(is_key=False) == ["encode", "fuse", "decode"]
        assert recorded.given["encode"]["motion"] is MOTION
        wanted = by_loops(recorded.made["encode"]["query"], key, value, (1, -2), 1)
        inside = by_loops(recorded.made["encode"]["query"], key, value + 1, (1, -2), 1) != wanted
        seen = recorded.given["fuse"]["seen"]
        assert np.abs(seen - wanted)[inside].max() < 1e-5 and np.abs(seen[~inside]).max(initial=0) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"period": 0}, "a period of at least 1, got 0"),
        ({"scale": 0.1}, "a scale of 0.25 to 1 in whole percents, got 0.1"),
        ({"scale": 1 / 3}, "a scale of 0.25 to 1 in whole percents, got 0.33"),
        ({"motion": "none"}, "motion 'warp' or 'offset', got 'none'"),
    ],
)
def test_refuses_options_it_cannot_run_with(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CardError, match=sentence):
        ARSeg(**options)


def test_refuses_a_window_without_a_centre() -> None:
    with pytest.raises(AttentionError, match="odd side length of at least 1 cell, got 4"):
        ARSeg(window=4)


def test_refuses_a_host_that_does_not_say_what_it_classifies() -> None:
    with pytest.raises(CardError, match="a host with classified_channels and classified_stride, got Host"):
        ARSeg().stages(Host("erfnet", 128, 8))
