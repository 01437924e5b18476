# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The check on golden frames sees every recorded step replayed, of every method, and one that is replayed wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from test.runtimes.test_golden import golden_card
from test.runtimes.test_graphed_methods import HOST, SIZE, Mixing, each_method
from vss_ros.core.method import TemporalMethod
from vss_ros.core.step import DirectStep, Memory, Stepper
from vss_ros.data.resize import resize
from vss_ros.runtimes.golden import Agreement, GoldenCheck
from vss_ros.runtimes.graphed import GraphedStep


class Direct(Mixing):
    """The reference; with a spare slot, so that sums have one order."""

    spare_slots = 1

    def stepper(self, plan: TemporalMethod, memory: Memory) -> Stepper:
        return DirectStep(plan, memory, self)


class Recorded(Direct):
    """Steps as graphs; `launch` is given the graphs to replay, and what replays one."""

    def __init__(self, plan: TemporalMethod, launch: Callable[[int, Callable[[int], Any]], Any]) -> None:
        super().__init__(plan)
        cudart = self.device._cudart
        plain = cudart.cudaGraphLaunch
        cudart.cudaGraphLaunch = lambda graph, stream: launch(graph, lambda other: plain(other, stream))

    def stepper(self, plan: TemporalMethod, memory: Memory) -> Stepper:
        return GraphedStep(plan, memory, self, self.device)  # type: ignore[arg-type]


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Agreement]:
    card = replace(golden_card(tmp_path), host=HOST)

    def found(plan: TemporalMethod, launch: Callable[[int, Callable[[int], Any]], Any]) -> Agreement:
        return GoldenCheck(card, plan, lambda: Direct(plan), resize)(Recorded(plan, launch), SIZE)

    return found


@each_method
def test_every_kind_of_step_is_replayed(
    plan: TemporalMethod, until: int, kinds: int, check: Callable[..., Agreement]
) -> None:
    launched: Counter[int] = Counter()

    def right(graph: int, replay: Callable[[int], Any]) -> Any:
        launched[graph] += 1
        return replay(graph)

    assert check(plan, right) == Agreement(0.0, 0.0)
    assert len(launched) == kinds


@each_method
def test_a_step_that_is_replayed_wrongly_is_seen(
    plan: TemporalMethod, until: int, kinds: int, check: Callable[..., Agreement], tmp_path: Path
) -> None:
    limits = golden_card(tmp_path).golden
    assert limits is not None
    for wrong in range(1, kinds + 1):

        def launch(graph: int, replay: Callable[[int], Any], wrong: int = wrong) -> Any:
            if graph != wrong:
                return replay(graph)
            return replay(wrong - 1) if wrong > 1 else (0,)  # the addresses of another place; or nothing is done

        found = check(plan, launch)
        assert not found.is_within(limits), wrong
        assert max(found.labels_differ, found.labels_differ_again) > 0.1  # some are replayed the first time already
