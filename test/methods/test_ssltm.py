# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""SSLTM's plan: which past frames a window holds, and which frame the contexts come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vss_ros.attention import local_attention
from vss_ros.core.errors import CardError
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Host, StepInput
from vss_ros.methods.ssltm.plan import SSLTM

HOST = Host("tiny", 4, 8)
SMALL: dict[str, Any] = {"width": 4, "heads": 2, "hidden": 8, "context_width": 2, "classes": 3}

Array = npt.NDArray[Any]


class Numbered:
    """Runs a plan on tensors that hold the number of the frame that they were made of, from 1."""

    def __init__(self, plan: SSLTM, spare: int = 0) -> None:
        self.plan = plan
        self.frame = 0
        self.calls: dict[str, dict[str, float]] = {}
        self._outputs = {spec.name: spec.outputs for spec in plan.stages(HOST)}
        self._inputs = {spec.name: spec for spec in plan.stages(HOST)}
        self.memory = {spec.name: MemoryBank(spec, 8, 16, np.zeros, spare=spare) for spec in plan.banks(HOST)}

    def run(self, stage: str, /, **inputs: Array) -> dict[str, Array]:
        self._inputs[stage].check_inputs(inputs)
        self.calls[stage] = {name: float(x.flat[0]) for name, x in inputs.items()}
        made: dict[str, Array] = {t.name: np.full(t.at(8, 16), self.frame, t.dtype) for t in self._outputs[stage]}
        if stage == "encode":
            made |= {"there": np.ones(1, np.float32), "absent": np.zeros(1, np.float32)}
        return made

    def step(self) -> dict[str, dict[str, float]]:
        self.frame += 1
        self.plan.step(StepInput(np.zeros((8, 16, 3))), self.memory, self.run, local_attention)
        return self.calls


@pytest.mark.parametrize("spare", [0, 1])
def test_a_window_holds_the_last_frames_by_age(spare: int) -> None:
    stream = Numbered(SSLTM(frames=4, **SMALL), spare)
    for frame in range(1, 10):
        near = stream.step()["near"]
        assert (near["query"], near["key"], near["value"], near["tokens"]) == (frame,) * 4
        for age in (1, 2, 3):
            exists = frame - age >= 1
            assert near[f"valid_{age}"] == exists
            if exists:
                assert near[f"key_{age}"] == near[f"value_{age}"] == frame - age


@pytest.mark.parametrize("spare", [0, 1])
def test_the_reference_frame_is_about_60_frames_old(spare: int) -> None:
    stream = Numbered(SSLTM(**SMALL), spare)
    assert stream.plan.references == 7
    for frame in range(1, 200):
        reference = stream.step()["far"]["context"]
        kept = range(1, frame, 10)  # the first frame of a stream and each tenth one after it
        nearest = min(kept, key=lambda k: (abs(frame - k - 60), -k), default=frame)  # of two, the younger
        assert reference == nearest
        assert abs(frame - reference - 60) <= 5 or (frame < 61 and reference == 1)


def test_without_a_reference_the_contexts_are_the_frames_own() -> None:
    first, query_only = Numbered(SSLTM(**SMALL)), Numbered(SSLTM(**SMALL, rfce=False))
    assert first.step()["far"]["context"] == 1
    assert [query_only.step()["far"]["context"] for _ in range(3)] == [1, 2, 3]
    assert set(first.memory) == {"near", "contexts"} and set(query_only.memory) == {"near"}


def test_a_reset_forgets_window_and_reference() -> None:
    stream = Numbered(SSLTM(**SMALL))
    for _ in range(5):
        stream.step()
    for bank in stream.memory.values():
        bank.clear()
    calls = stream.step()
    assert calls["far"]["context"] == 6 and [calls["near"][f"valid_{age}"] for age in (1, 2, 3)] == [0, 0, 0]
    assert stream.step()["far"]["context"] == 6, "the first frame of a stream is kept"


def test_far_reads_the_hosts_features_and_what_the_windows_gave() -> None:
    stream = Numbered(SSLTM(**SMALL))
    stream.step()
    assert stream.step()["far"] == {"raw": 2, "near": 2, "context": 1}


def test_state_is_three_frames_and_seven_contexts() -> None:
    near, contexts = SSLTM(width=512, classes=19).banks(Host("wide", 512, 8))
    half = [2 * np.prod((bank.slots, *t.at(512, 1024))) for bank in (near, contexts) for t in bank.tensors]
    assert half[:2] == [3 * 8_388_608] * 2, "50 MB of keys and values"
    assert half[2] == 7 * 19 * 512 * 2 and (near.every, contexts.every) == (1, 10)


@pytest.mark.parametrize("slots", [0, 1, 5])
def test_a_window_may_hold_fewer_frames_than_in_training(slots: int) -> None:
    stream = Numbered(SSLTM(**SMALL, slots=slots))
    for _ in range(6):
        calls = stream.step()
    assert [calls["near"][f"valid_{age}"] for age in (1, 2, 3)] == [age <= slots for age in (1, 2, 3)]
    assert calls["far"]["context"] == (1 if slots else 6), "without slots there is no memory at all"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"slots": -1}, "slots of 0 or more, got -1"),
        ({"frames": 1}, "frames of at least 2, the current one among them, got 1"),
        ({"width": 100}, "width in multiples of its 8 heads, got 100"),
        ({"every": 61}, "every of 1 to its distance of 60 frames, got 61"),
        ({"every": 0}, "every of 1 to its distance of 60 frames, got 0"),
        ({"block": 0}, "block of at least 1, got 0"),
        ({"clusters": -1}, "clusters of 0 or more, got -1"),
    ],
)
def test_refuses_options_it_cannot_run_with(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CardError, match=sentence):
        SSLTM(**options)
