# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The C++ kernel in every instruction set of this machine against the definition in float64."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from test.attention.cases import TOLERANCE, Arrays, cells, error, random, reads, scattered
from vss_ros.attention import cpu, explain, local_attention, reference
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

try:
    SETS = cpu.instruction_sets()
except OSError as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    monkeypatch.setenv(cpu.ISA_VARIABLE, name)
    assert cpu.instruction_set() == name
    assert explain()[0] == f"cpu {name}"
    return name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(read=reads())
def test_equals_the_definition(isa: str, read: tuple[Arrays, Look, dict[str, Any]]) -> None:
    arrays, look, more = read
    assert error(local_attention(*arrays, look, threads=2, **more), arrays, look, **more) < TOLERANCE


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize(("dk", "dv"), [(16, 64), (128, 96)])
def test_sizes_of_published_networks(dk: int, dv: int, border: Border) -> None:
    arrays, look = random(20, 45, slots=2, dk=dk, dv=dv), Look(21, border)
    assert error(local_attention(*arrays, look), arrays, look) < TOLERANCE


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("queries", "dv"), [(1, 64), (300, 64), (4000, 16), (600, 2048)])
def test_lists_from_sparse_to_crowded(queries: int, dv: int) -> None:
    (query, keys, values), look = random(50, 70, slots=2, dk=16, dv=dv), Look((7, 21), Border.MASK, 0.25)
    query, centres = scattered(np.random.default_rng(0), query, 50, 70, queries=queries, beyond=2)
    got = local_attention(query, keys, values, look, centres=centres, sink=0.5)
    sample = slice(None, None, max(1, queries // 100))
    arrays = query[sample], keys, values
    assert error(got[sample], arrays, look, centres=centres[sample], sink=0.5) < TOLERANCE


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("border", list(Border))
def test_centres_may_lie_anywhere(border: Border) -> None:
    query, keys, values = random(1, 9, dk=8, dv=8)
    far = 2**40
    rows, columns = [0, -3, -4, 3, far, -far, 0, 0, 0], [0, 0, 0, 20, far, 0, -4, 12, -3]
    centres, look = np.array([rows, columns]).T[np.newaxis], Look(7, border)
    got = local_attention(query, keys, values, look, centres=centres)
    assert error(got, (query, keys, values), look, centres=centres) < TOLERANCE
    sees_nothing = [False, False, True, True, True, True, True, True, False]
    np.testing.assert_array_equal((got == 0).all(axis=(0, 2, 3)), sees_nothing)


@pytest.mark.usefixtures("isa")
def test_a_window_far_beyond_the_picture() -> None:
    arrays, look = random(3, 150, dk=8, dv=8), Look(1001)
    assert error(local_attention(*arrays, look), arrays, look) < TOLERANCE


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("offset", [-300.0, -60.0, 60.0, 300.0])
def test_large_logits(offset: float, border: Border) -> None:
    query, keys, values = random(7, 30, dk=5, slots=2)
    query[..., 0], keys[..., 0] = 1.0, offset
    keys[1] *= 4  # the second slot's logits leave those of the first far behind, or below
    look = Look(5, border)
    wanted = reference.local_attention(*(x.astype(np.float64) for x in (query, keys, values)), look)
    got = local_attention(query, keys, values, look)
    # No float32 kernel knows a weight better than the spacing of float32 numbers as large as its logit. Against the
    # values, not the result: that is next to 0 where the outside owns the softmax.
    tolerance = TOLERANCE + np.spacing(np.float32(4 * abs(offset)))
    assert np.abs(got - wanted).max() / np.abs(values).max() < tolerance


@pytest.mark.usefixtures("isa")
def test_equal_whatever_the_number_of_threads() -> None:
    arrays = random(40, 50, slots=2, heads=2, dk=8, dv=24)
    results = [local_attention(*arrays, Look(9), threads=threads) for threads in (1, 2, 3, 8, 500)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.usefixtures("isa")
def test_scattered_queries_are_equal_whatever_the_number_of_threads() -> None:
    query, keys, values = random(40, 50, slots=2, heads=2, dk=8, dv=24)
    centres = cells(40, 50) + np.random.default_rng(0).integers(-3, 4, (40, 50, 2))
    many = {"centres": centres, "sink": 1.0}
    results = [local_attention(query, keys, values, Look(9), threads=threads, **many) for threads in (1, 2, 3, 8, 500)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("sink", [-500.0, -130.0, 0.0, 130.0, 500.0])
def test_sinks_far_from_the_logits(sink: float) -> None:
    for border in Border:
        arrays, look = random(6, 30, dk=4), Look(5, border)
        got = local_attention(*arrays, look, sink=sink)
        wanted = reference.local_attention(*(x.astype(np.float64) for x in arrays), look, sink=sink)
        assert np.abs(got - wanted).max() / np.abs(arrays[2]).max() < TOLERANCE


def test_may_be_called_from_several_threads() -> None:
    calls = [random(20, 30, seed=seed, slots=2) for seed in range(4)]
    alone = [local_attention(*arrays, Look(7)) for arrays in calls]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda arrays: local_attention(*arrays, Look(7), threads=2), calls * 5))
    for at, result in enumerate(together):
        np.testing.assert_array_equal(result, alone[at % len(calls)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_works_after_a_fork() -> None:
    arrays = random(30, 30)
    wanted = local_attention(*arrays, Look(7), threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(local_attention(*arrays, Look(7), threads=2), wanted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_the_instruction_sets_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu.ISA_VARIABLE, "mmx")
    with pytest.raises(AttentionError, match=r"wants one of .*baseline on this machine, got 'mmx'"):
        local_attention(*random(2, 2), Look(3))


def test_counts_cores() -> None:
    assert 1 <= cpu.physical_cores() <= (os.cpu_count() or 1)
