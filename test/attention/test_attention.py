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

from test.attention.cases import TOLERANCE, cells, error, random
from vss_ros import attention
from vss_ros.attention import cpu, explain, local_attention, numba_kernel
from vss_ros.core.look import Border, Look


@pytest.fixture(params=["cpu", "numba", "reference"])
def _each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "cpu" and not explain()[0].startswith("cpu"):
        pytest.skip(explain()[1])
    if request.param == "numba" and not numba_kernel.is_there():
        pytest.skip("numba is not installed")
    kernels = {"cpu": cpu.attend, "numba": numba_kernel.attend, "reference": attention._attend_by_definition}
    monkeypatch.setattr(attention, "_chosen", lambda: (kernels[request.param], "asked for"))


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
def test_nan_and_infinity_outside_the_windows_do_not_leak() -> None:
    query, keys, values = random(20, 60, dk=16, dv=70)
    centres = np.array([[5, 6], [5, 9], [6, 12], [7, 7], [-1, 58], [19, 59], [40, 40]])
    seen = np.zeros((20, 60), np.bool_)
    for y, x in centres:
        seen[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
    wanted = local_attention(query[0, :7], keys, values, Look(5), centres=centres)
    keys[0, ~seen] = np.nan
    values[0, ~seen] = np.inf
    np.testing.assert_array_equal(local_attention(query[0, :7], keys, values, Look(5), centres=centres), wanted)


@each_kernel
def test_nan_stays_with_the_queries_that_see_it() -> None:
    query, keys, values = random(9, 40)
    keys[0, 4, 17] = np.nan
    query = query.reshape(-1, 1, 4)
    got = local_attention(query, keys, values, Look(5), centres=cells(9, 40).reshape(-1, 2))
    wanted = np.zeros((9, 40), np.bool_)
    wanted[2:7, 15:20] = True
    np.testing.assert_array_equal(np.isnan(got).all(axis=(1, 2)).reshape(9, 40), wanted)


@each_kernel
@pytest.mark.parametrize("border", list(Border))
def test_own_cells_as_centres_are_the_dense_read(border: Border) -> None:
    query, keys, values = random(21, 30, slots=2, heads=2, dk=8, dv=20)
    dense = local_attention(query, keys, values, Look((5, 9), border))
    same = local_attention(query, keys, values, Look((5, 9), border), centres=cells(21, 30))
    np.testing.assert_allclose(same, dense, rtol=1e-4, atol=1e-5)
    some = np.random.default_rng(0).permutation(21 * 30)[:100]
    listed = query.reshape(-1, 2, 8)[some]
    got = local_attention(listed, keys, values, Look((5, 9), border), centres=cells(21, 30).reshape(-1, 2)[some])
    np.testing.assert_allclose(got, dense.reshape(-1, 2, 20)[some], rtol=1e-4, atol=1e-5)


@each_kernel
def test_an_empty_list_is_an_empty_answer() -> None:
    query, keys, values = random(3, 4, heads=2)
    got = local_attention(query.reshape(-1, 2, 4)[:0], keys, values, Look(3), centres=np.zeros((0, 2), np.int32))
    assert got.shape == (0, 2, 5) and got.dtype == np.float32


@each_kernel
@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("sink", [None, 1.0])
def test_a_query_that_sees_nothing_recalls_zero(border: Border, sink: float | None) -> None:
    query, keys, values = random(3, 4)
    out = np.full((3, 4, 1, 5), np.nan, np.float32)
    local_attention(query, keys, values, Look(3, border), centres=cells(3, 4) + 40, sink=sink, out=out)
    np.testing.assert_array_equal(out, 0)


@each_kernel
def test_a_sink_of_minus_infinity_is_none() -> None:
    arrays = random(6, 30, heads=2)
    plain = local_attention(*arrays, Look(5))
    np.testing.assert_array_equal(local_attention(*arrays, Look(5), sink=-np.inf), plain)
    sinks = np.array([-np.inf, 2.0], np.float32)
    per_head = local_attention(*arrays, Look(5), sink=sinks)
    np.testing.assert_array_equal(per_head[:, :, 0], plain[:, :, 0])
    np.testing.assert_array_equal(per_head[:, :, 1], local_attention(*arrays, Look(5), sink=2.0)[:, :, 1])
    assert np.abs(per_head[:, :, 1]).max() < np.abs(plain[:, :, 1]).max()


@each_kernel
@pytest.mark.parametrize("centred", [False, True])
def test_two_identical_slots_halve_each_weight(centred: bool) -> None:
    query, keys, values = random(6, 8)
    more = {"centres": cells(6, 8) + np.array([2, -1])} if centred else {}
    once = local_attention(query, keys, values, Look(5), **more)
    keys, values = np.concatenate([keys, keys]), np.concatenate([values, 0 * values])
    np.testing.assert_allclose(local_attention(query, keys, values, Look(5), **more), once / 2, rtol=1e-4, atol=1e-6)


@each_kernel
def test_any_memory_will_do_for_lists() -> None:
    query, keys, values = random(6, 7, slots=2, heads=2, dk=4, dv=18)
    centres, sink = np.random.default_rng(0).integers(-2, 8, (6, 7, 2)), np.array([0.5, 1.0], np.float32)
    plain = local_attention(query, keys, values, Look(3), centres=centres, sink=sink)
    unaligned = []
    for array in (query, keys, values, centres, sink):
        moved = np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
        assert not moved.flags.aligned and not moved.flags.writeable
        unaligned.append(moved)
    got = local_attention(*unaligned[:3], Look(3), centres=unaligned[3], sink=unaligned[4])
    np.testing.assert_array_equal(got, plain)
    got = local_attention(query, keys, values, Look(3), centres=centres[..., ::-1].copy()[..., ::-1], sink=sink)
    np.testing.assert_array_equal(got, plain)
    rows = np.concatenate([query] * 2, axis=1)[:, ::2]  # every other query of a wider picture
    wide = np.concatenate([centres] * 2, axis=1)[:, ::2]
    whole = local_attention(np.ascontiguousarray(rows), keys, values, Look(3), centres=wide, sink=sink)
    np.testing.assert_array_equal(local_attention(rows, keys, values, Look(3), centres=wide, sink=sink), whole)


@each_kernel
def test_writes_a_list_where_it_is_told() -> None:
    query, keys, values = random(6, 7)
    out = np.full((7, 1, 5), np.nan, np.float32)
    assert local_attention(query[2], keys, values, Look(3), centres=cells(6, 7)[2], out=out) is out
    np.testing.assert_allclose(out, local_attention(query, keys, values, Look(3))[2], rtol=1e-4, atol=1e-6)


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
@pytest.mark.parametrize("has_numba", [False, True])
def test_without_a_library_one_line_says_so(
    has_numba: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "_FOLDER", tmp_path)
    if has_numba and not numba_kernel.is_there():
        pytest.skip("numba is not installed")
    monkeypatch.setattr(numba_kernel, "is_there", lambda: has_numba)
    arrays = random(4, 5)
    with caplog.at_level(logging.WARNING):
        first = local_attention(*arrays, Look(3))
        local_attention(*arrays, Look(3))
    assert error(first, arrays, Look(3)) < TOLERANCE
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert ("uses numba" if has_numba else "uses the slow numpy reference: no kernel was built") in caplog.text
    assert "build_ext --inplace" in caplog.text
    assert explain()[0] == ("numba" if has_numba else "reference")
    assert "no kernel was built" in explain()[1]


@fresh_choice
def test_a_damaged_library_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_kernel.so").write_text("not a library")
    monkeypatch.setattr(cpu, "_FOLDER", tmp_path)
    name, why = explain()
    assert not name.startswith("cpu")
    assert "_kernel.so" in why


@fresh_choice
def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if not explain()[0].startswith("cpu"):
        pytest.skip(explain()[1])
    for cache in (attention._chosen, cpu._library, cpu._runnable):
        cache.cache_clear()
    monkeypatch.setattr(cpu, "_ABI", -1)
    assert "built from another version" in explain()[1]
