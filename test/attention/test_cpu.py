# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The C++ kernel in every instruction set of this machine against the definition in float64."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test.attention.cases import TOLERANCE, error, random
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


@st.composite
def reads(draw: st.DrawFn) -> tuple[dict[str, int], Look, list[bool]]:
    """Sizes, look and validity of one call."""
    slots = draw(st.integers(1, 3))
    sizes = {
        "h": draw(st.integers(1, 20)),
        "w": draw(st.integers(1, 40)),
        "slots": slots,
        "heads": draw(st.integers(1, 2)),
        "dk": draw(st.sampled_from([1, 3, 4, 8, 16, 21, 32])),
        "dv": draw(st.sampled_from([1, 2, 4, 7, 8, 16, 20, 31, 64, 77, 128])),
        "seed": draw(st.integers(0, 1000)),
    }
    windows = tuple(draw(st.sampled_from([1, 3, 5, 7, 11, 21, 41, 99])) for _ in range(slots))
    look = Look(windows, draw(st.sampled_from(Border)), draw(st.sampled_from([1.0, 0.25, -2.0])))
    valid = [draw(st.booleans()) for _ in range(slots)]
    valid[draw(st.integers(0, slots - 1))] = True
    return sizes, look, valid


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(read=reads())
def test_equals_the_definition(isa: str, read: tuple[dict[str, int], Look, list[bool]]) -> None:
    sizes, look, flags = read
    arrays, valid = random(**sizes), np.array(flags)
    assert error(local_attention(*arrays, look, valid=valid, threads=2), arrays, look, valid) < TOLERANCE


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize(("dk", "dv"), [(16, 64), (128, 96)])
def test_sizes_of_published_networks(dk: int, dv: int, border: Border) -> None:
    arrays, look = random(20, 45, slots=2, dk=dk, dv=dv), Look(21, border)
    assert error(local_attention(*arrays, look), arrays, look) < TOLERANCE


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
