# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The attention bench: peers compute what ours computes, or their figures would mean nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import attention_measure
import attention_memory
import attention_sweep
from attention_peers import FLEX, PEERS, REFERENCE, Peer, prepared
from attention_problem import Size

from vss_ros.attention import cpu
from vss_ros.core.look import Look

SMALL = Size("small", 13, 18, 2, 5, 8, 16)
BY_NAME = {peer.name: peer for peer in PEERS}


@pytest.fixture(autouse=True)
def small_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_measure, "SGEMM", 64)


def error_of(peer: Peer) -> float:
    absent = [module for module in peer.needs if importlib.util.find_spec(module) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} not installed")
    measured = attention_measure.measure(SMALL, 1, 4, (peer,))
    assert measured.not_run == {}
    return next(row.max_error for row in measured.rows if row.contender == peer.name)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != FLEX])
def test_a_peer_agrees_with_the_definition(name: str) -> None:
    assert error_of(BY_NAME[name]) < 1e-5


@pytest.mark.slow
def test_compiled_flex_attention_agrees_with_the_definition() -> None:
    assert error_of(BY_NAME[FLEX]) < 1e-5


def test_every_row_of_ours_is_right_and_a_wrong_peer_is_seen() -> None:
    wrong = Peer("wrong", lambda arrays, look, threads: lambda: np.zeros((13, 18, 1, 16), np.float32))
    measured = attention_measure.measure(SMALL, 1, 4, (wrong,))
    errors = {row.contender: row.max_error for row in measured.rows}
    assert errors.pop("wrong") == 1
    assert set(errors) >= {"vss_ros", "vss_ros, listed", "vss_ros, moved"}
    assert max(errors.values()) < 1e-5


def test_sampled_errors_are_those_of_some_queries() -> None:
    peer = BY_NAME[REFERENCE]
    measured = attention_measure.measure(SMALL, 1, 4, (peer,), sampled=True)
    assert [row.contender for row in measured.rows] == ["vss_ros", peer.name]
    assert all(0 < row.max_error < 1e-5 for row in measured.rows)


def test_a_peer_that_cannot_run_is_named_with_the_reason() -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no compiler\nsecond line")

    peers = Peer("absent", refuse, ("no_such_module",)), Peer("refused", refuse)  # type: ignore[arg-type]
    ready, not_run = prepared(peers, SMALL.arrays(), Look(5), 1)
    assert ready == {}
    assert not_run == {"absent": "no_such_module not installed", "refused": "RuntimeError: no compiler"}


@pytest.mark.parametrize("before", [None, "baseline"])
def test_an_instruction_set_is_forced_for_a_while(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cpu.ISA_VARIABLE, raising=False)
    if before:
        monkeypatch.setenv(cpu.ISA_VARIABLE, before)
    usual = cpu.instruction_set()
    with pytest.raises(KeyError), attention_measure.instruction_set("baseline"):
        assert cpu.instruction_set() == "baseline"
        raise KeyError
    assert cpu.instruction_set() == usual


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_extra_memory_sees_what_is_freed_again() -> None:
    code = "import numpy as np, attention_memory as m; print(m.peak_growth_mb(lambda: np.ones(10**7)))"
    # in a process of its own: what other tests have freed may go back to the system meanwhile
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1] / "bench",
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(done.stdout) == pytest.approx(80, abs=2)
    assert attention_memory.peak_growth_mb(lambda: None) < 0.5
    assert attention_memory.extra_memory_mb(SMALL, 1) is not None


def test_the_sweep_varies_one_thing_at_a_time() -> None:
    sizes: Iterator[tuple[str, int, Size]] = attention_sweep.sizes()
    fields = {"cells": {"h", "w"}, "slots": {"slots"}, "window": {"window"}, "channels": {"dk", "dv"}}
    through_target = set()
    for varied, _, size in sizes:
        other = {name for name in vars(size) if vars(size)[name] != vars(attention_sweep.TARGET)[name]}
        assert other in (set(), fields[varied])
        through_target |= {varied} if not other else set()
    assert through_target == set(fields)


def test_the_plot_has_a_panel_for_each(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [
        {"varied": varied, "value": value, "contender": name, "best_ms": value * ms}
        for varied in attention_sweep.LABELS
        for value in (1, 2, 4)
        for name, ms in (("vss_ros", 1.0), ("peer", 5.0))
    ]
    attention_sweep.plot(rows, {"threads": 1, "cpu_model": "a CPU"}, tmp_path / "cost.svg")
    text = (tmp_path / "cost.svg").read_text(encoding="utf-8")
    assert text.count('id="axes_') == 4
