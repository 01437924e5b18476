# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The stand-in for machines without a compiler against the definition in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from test.attention.cases import TOLERANCE, Arrays, cells, error, random, reads
from vss_ros.attention import numba_kernel
from vss_ros.attention.check import checked
from vss_ros.core.look import Look

if not numba_kernel.is_there():
    pytest.skip("numba is not installed", allow_module_level=True)


def attend(arrays: Arrays, look: Look, *, threads: int = 1, **more: Any) -> np.ndarray:
    call = {"valid": None, "centres": None, "sink": None, "out": None, **more}
    read = checked(*arrays, look, threads=threads, **call)
    numba_kernel.attend(read)
    return read.out


@settings(max_examples=60, deadline=None)
@given(read=reads())
def test_equals_the_definition(read: tuple[Arrays, Look, dict[str, Any]]) -> None:
    arrays, look, more = read
    assert error(attend(arrays, look, threads=2, **more), arrays, look, **more) < TOLERANCE


def test_equal_whatever_the_number_of_threads() -> None:
    arrays = random(20, 30, slots=2, heads=2, dk=8, dv=24)
    more = {"centres": cells(20, 30) + 1, "sink": 1.0}
    results = [attend(arrays, Look(9), threads=threads, **more) for threads in (1, 2, 500)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_may_be_called_from_several_threads() -> None:
    calls = [random(10, 12, seed=seed) for seed in range(4)]
    alone = [attend(arrays, Look(5)) for arrays in calls]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda arrays: attend(arrays, Look(5), threads=2), calls * 5))
    for at, result in enumerate(together):
        np.testing.assert_array_equal(result, alone[at % len(calls)])
