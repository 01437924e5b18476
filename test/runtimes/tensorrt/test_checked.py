# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Engines that disagree with the reference are built anew in fp32, or refused with the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from test.core.test_card import card as plain_card
from vss_ros.core.card import GoldenFile, ModelCard
from vss_ros.core.errors import BackendError
from vss_ros.core.prepare import Size
from vss_ros.runtimes.golden import Agreement
from vss_ros.runtimes.preparing import Observe, Prepared, Step
from vss_ros.runtimes.tensorrt.checked import checked_engines

SIZE = (64, 96)
GOOD, BAD = Agreement(0.0002, 0.001), Agreement(0.0312, 0.02)


class Engines:
    def __init__(self, precision: str) -> None:
        self.name = self.precision = precision
        self.graphs = True

    def prepare(self, size: Size, observe: Observe) -> None:
        observe(Step(f"{self.precision} engine of encode", 1, 1, 5.0))


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return replace(plain_card(tmp_path), golden=GoldenFile("golden.jpg", "", 3, 0.005, 0.01))


def checked(
    card: ModelCard, found: Mapping[str, Agreement] | None, *precisions: str, steps: list[Step] | None = None
) -> Prepared:
    def check(runtime: Any, size: Size) -> Agreement:
        assert size == SIZE and found is not None
        return found[runtime.precision]

    observe = (steps if steps is not None else []).append
    make: Any = Engines
    return checked_engines(card, make, precisions, None if found is None else check, SIZE, observe)


def test_what_agrees_is_taken(card: ModelCard) -> None:
    steps: list[Step] = []
    prepared = checked(card, {"fp16": GOOD}, "fp16", "fp32", steps=steps)
    assert prepared.runtime.name == "fp16"
    assert prepared.says == "fp16, 0.02% of the labels differ, the confidence by 0.0010"
    assert [step.what for step in steps] == ["fp16 engine of encode", "check of fp16 on golden frames"]


def test_what_disagrees_is_built_in_a_higher_precision(card: ModelCard) -> None:
    steps: list[Step] = []
    prepared = checked(card, {"fp16": BAD, "fp32": GOOD}, "fp16", "fp32", steps=steps)
    assert prepared.runtime.name == "fp32" and prepared.says.startswith("fp32, 0.02%")
    assert [step.what for step in steps[2:]] == [
        "check of fp16 without CUDA graphs on golden frames",
        "fp32 engine of encode",
        "check of fp32 on golden frames",
    ]


def test_what_disagrees_in_every_precision_is_refused_with_the_figures(card: ModelCard) -> None:
    with pytest.raises(BackendError) as refused:
        checked(card, {"fp16": BAD, "fp32": Agreement(0.0, 0.5)}, "fp16", "fp32")
    assert str(refused.value) == (
        "engines of tiny 96x64 that agree with the reference were wanted, where at most 0.50% of the labels differ, "
        "the confidence by 0.0100; got: in fp16 3.12% of the labels differ, the confidence by 0.0200; "
        "in fp16 without CUDA graphs 3.12% of the labels differ, the confidence by 0.0200; "
        "in fp32 0.00% of the labels differ, the confidence by 0.5000; "
        "in fp32 without CUDA graphs 0.00% of the labels differ, the confidence by 0.5000; "
        "use runtime.backend onnx, and report the figures"
    )


def test_where_only_replays_disagree_engines_run_without_graphs(card: ModelCard) -> None:
    def check(runtime: Any, size: Size) -> Agreement:
        return replace(GOOD, labels_differ_again=0.2) if runtime.graphs else GOOD

    make: Any = Engines
    prepared: Any = checked_engines(card, make, ["fp16", "fp32"], check, SIZE, lambda step: None)
    assert prepared.runtime.precision == "fp16" and not prepared.runtime.graphs
    assert prepared.says == "fp16 without CUDA graphs, 0.02% of the labels differ, the confidence by 0.0010"


def test_graphs_that_nobody_wants_are_not_checked(card: ModelCard) -> None:
    checks: list[Any] = []

    def make(precision: str) -> Any:
        engines = Engines(precision)
        engines.graphs = False
        return engines

    def check(runtime: Any, size: Size) -> Agreement:
        checks.append(runtime)
        return BAD

    with pytest.raises(BackendError, match=r"got: in fp32 without CUDA graphs 3\.12%"):
        checked_engines(card, make, ["fp32"], check, SIZE, lambda step: None)
    assert len(checks) == 1


def test_without_golden_frames_the_engines_are_taken_and_it_is_said(card: ModelCard) -> None:
    prepared = checked(card, None, "fp16", "fp32")
    assert prepared.runtime.name == "fp16" and "not checked" in prepared.says
