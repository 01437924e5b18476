# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the public function promises whatever kernel is behind it, and which kernel that is."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from test.attention.cases import TOLERANCE, error, random
from vss_ros import attention
from vss_ros.attention import cpu, explain, local_attention
from vss_ros.core.look import Border, Look


@pytest.fixture(params=["kernel", "reference"])
def _each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "reference":
        monkeypatch.setattr(attention, "_chosen", lambda: (attention._attend_by_definition, "asked for"))
    elif explain()[0] == "reference":
        pytest.skip(explain()[1])


@pytest.fixture
def _fresh_choice() -> Iterator[None]:
    caches = attention._chosen, cpu._library, cpu._runnable
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


each_kernel = pytest.mark.usefixtures("_each_kernel")
fresh_choice = pytest.mark.usefixtures("_fresh_choice")


@each_kernel
def test_window_1_reads_the_same_cell() -> None:
    query, keys, values = random(5, 30, heads=2)
    np.testing.assert_allclose(local_attention(query, keys, values, Look(1)), values[0], rtol=1e-6)


@each_kernel
@pytest.mark.parametrize("border", list(Border))
def test_a_slot_twice_changes_nothing_but_each_weight(border: Border) -> None:
    query, keys, values = random(6, 8)
    once = local_attention(query, keys, values, Look(5, border))
    other = np.zeros_like(values)
    twice = local_attention(query, np.tile(keys, (2, 1, 1, 1, 1)), np.concatenate([values, other]), Look(5, border))
    np.testing.assert_allclose(twice, once / 2, rtol=1e-5, atol=1e-6)


@each_kernel
@pytest.mark.parametrize("trap", [np.nan, np.inf])
def test_an_invalid_slot_is_never_read(trap: float) -> None:
    query, keys, values = random(5, 7, slots=3)
    keys[1], values[1] = trap, trap
    valid = np.array([True, False, True])
    got = local_attention(query, keys, values, Look((3, 9, 5)), valid=valid)
    assert error(got, (query, keys, values), Look((3, 9, 5)), valid) < TOLERANCE


@each_kernel
@pytest.mark.parametrize("where", ["keys", "values"])
def test_nan_stays_in_the_windows_that_hold_it(where: str) -> None:
    query, keys, values = random(9, 40)
    (keys if where == "keys" else values)[0, 4, 17] = np.nan
    got = np.isnan(local_attention(query, keys, values, Look(5))).all(axis=(2, 3))
    wanted = np.zeros((9, 40), np.bool_)
    wanted[2:7, 15:20] = True
    np.testing.assert_array_equal(got, wanted)


@each_kernel
def test_any_memory_will_do() -> None:
    query, keys, values = random(6, 7, slots=2, heads=2, dk=4, dv=18)
    plain = local_attention(query, keys, values, Look(3))
    unaligned = []
    for array in (query, keys, values):
        moved = np.frombuffer(b"x" + array.tobytes(), np.float32, offset=1).reshape(array.shape)
        assert not moved.flags.aligned and not moved.flags.writeable
        unaligned.append(moved)
    channels_first = [np.moveaxis(np.moveaxis(x, -1, 0).copy(), 0, -1) for x in (query, keys, values)]
    mirrored = [x[..., ::-1, :, :].copy()[..., ::-1, :, :] for x in (query, keys, values)]
    for arrays in (unaligned, channels_first, mirrored):
        np.testing.assert_array_equal(local_attention(*arrays, Look(3)), plain)


@each_kernel
def test_writes_where_it_is_told() -> None:
    arrays = random(6, 7)
    out = np.full((6, 7, 1, 5), np.nan, np.float32)
    assert local_attention(*arrays, Look(3), out=out) is out
    np.testing.assert_array_equal(out, local_attention(*arrays, Look(3)))


def test_the_kernel_is_used_where_it_can_be_built() -> None:
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler on this machine")
    name, why = explain()
    assert name.startswith("cpu "), f"{why}"
    assert why == ""


@fresh_choice
def test_without_a_library_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "_FOLDER", tmp_path)
    arrays = random(4, 5)
    with caplog.at_level(logging.WARNING):
        first = local_attention(*arrays, Look(3))
        local_attention(*arrays, Look(3))
    assert error(first, arrays, Look(3)) < TOLERANCE
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "slow numpy reference: no kernel was built" in caplog.text
    assert "build_ext --inplace" in caplog.text
    assert explain()[0] == "reference"
    assert "no kernel was built" in explain()[1]


@fresh_choice
def test_a_damaged_library_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_kernel.so").write_text("not a library")
    monkeypatch.setattr(cpu, "_FOLDER", tmp_path)
    name, why = explain()
    assert name == "reference"
    assert "_kernel.so" in why


@fresh_choice
def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if explain()[0] == "reference":
        pytest.skip(explain()[1])
    for cache in (attention._chosen, cpu._library, cpu._runnable):
        cache.cache_clear()
    monkeypatch.setattr(cpu, "_ABI", -1)
    assert "built from another version" in explain()[1]
