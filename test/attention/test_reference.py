# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The definition against loops that a reader can check, and against numbers computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.attention.cases import cells, random, scattered
from vss_ros.attention.reference import local_attention
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

Array = npt.NDArray[Any]


def loops(query: Array, keys: Array, values: Array, look: Look, valid: Array, centres: Array, sinks: Array) -> Array:
    """Local attention, one query, slot and displacement at a time; query `(N, heads, dk)`, centres `(N, 2)`."""
    h, w, heads, dv = values.shape[1:]
    out = np.zeros((len(query), heads, dv))
    for n, head in np.ndindex(len(query), heads):
        logits, seen, inside = [sinks[head]], [np.zeros(dv)], 0
        for slot in np.flatnonzero(valid):
            reach = look.window_of(slot) // 2
            for y in range(centres[n, 0] - reach, centres[n, 0] + reach + 1):
                for x in range(centres[n, 1] - reach, centres[n, 1] + reach + 1):
                    if 0 <= y < h and 0 <= x < w:
                        logits.append(look.scale * query[n, head] @ keys[slot, y, x, head])
                        seen.append(values[slot, y, x, head])
                        inside += 1
                    elif look.border is Border.ZERO:
                        logits.append(0.0)
                        seen.append(np.zeros(dv))
        if inside:
            weights = np.exp(np.array(logits) - max(logits))
            out[n, head] = weights @ np.array(seen) / weights.sum()
    return out


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[Array, Array, Array], Look, Array, int, bool]:
    """Arrays in float64, look, validity, a seed, and whether there is a sink."""
    h, w, slots = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    heads, dk, dv = (draw(st.integers(1, 4)) for _ in range(3))
    seed = draw(st.integers(0, 1000))
    arrays = random(h, w, slots=slots, heads=heads, dk=dk, dv=dv, seed=seed, dtype=np.float64)
    windows = tuple(draw(st.sampled_from([1, 3, 5, 9])) for _ in range(slots))
    look = Look(windows, draw(st.sampled_from(Border)), draw(st.sampled_from([1.0, 0.5])))
    valid = np.array([draw(st.booleans()) for _ in range(slots)])
    valid[draw(st.integers(0, slots - 1))] = True
    return arrays, look, valid, seed, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(call=calls())
def test_equals_the_loops(call: tuple[tuple[Array, Array, Array], Look, Array, int, bool]) -> None:
    (query, keys, values), look, valid, seed, has_sink = call
    h, w, heads, dk = query.shape
    sink = np.random.default_rng(seed).normal(size=heads) if has_sink else None
    got = local_attention(query, keys, values, look, valid=valid, sink=sink)
    sinks = np.full(heads, -np.inf) if sink is None else sink
    wanted = loops(query.reshape(-1, heads, dk), keys, values, look, valid, cells(h, w).reshape(-1, 2), sinks)
    assert np.abs(got.reshape(wanted.shape) - wanted).max() < 1e-12


@settings(max_examples=60, deadline=None)
@given(call=calls(), queries=st.none() | st.integers(0, 12), beyond=st.sampled_from([0, 2, 12]))
def test_equals_the_loops_wherever_the_centres_are(call: Any, queries: int | None, beyond: int) -> None:
    (query, keys, values), look, valid, seed, has_sink = call
    h, w, heads, dk = query.shape
    rng = np.random.default_rng(seed)
    sink = rng.normal() if has_sink else -np.inf
    query, centres = scattered(rng, query, h, w, queries=queries, beyond=beyond)
    got = local_attention(query, keys, values, look, valid=valid, centres=centres, sink=sink)
    assert got.shape == (*query.shape[:-1], values.shape[-1])
    flat = query.reshape(-1, heads, dk), keys, values
    wanted = loops(*flat, look, valid, centres.reshape(-1, 2), np.full(heads, sink))
    assert np.abs(got.reshape(wanted.shape) - wanted).max(initial=0) < 1e-12


@pytest.mark.parametrize("border", list(Border))
def test_a_picture_of_one_cell(border: Border) -> None:
    query, keys, values = random(1, 1, dtype=np.float64)
    logit = math.exp((query[0, 0, 0] @ keys[0, 0, 0, 0]).item())
    share = 1.0 if border is Border.MASK else logit / (logit + 8)
    got = local_attention(query, keys, values, Look(3, border))
    np.testing.assert_allclose(got[0, 0, 0], share * values[0, 0, 0, 0], rtol=1e-12)


def test_a_corner_computed_by_hand() -> None:
    # query 1 everywhere, keys log(1) log(2) / log(3) log(4): the weights are 1 2 3 4, and 5 positions lie outside
    query = np.ones((2, 2, 1, 1))
    keys = np.log([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1, 1)
    values = np.array([[10.0, 20.0], [30.0, 40.0]]).reshape(1, 2, 2, 1, 1)
    summed = 1 * 10 + 2 * 20 + 3 * 30 + 4 * 40
    zero = local_attention(query, keys, values, Look(3, Border.ZERO))
    mask = local_attention(query, keys, values, Look(3, Border.MASK))
    np.testing.assert_allclose(zero.ravel(), summed / (10 + 5), rtol=1e-12)
    np.testing.assert_allclose(mask.ravel(), summed / 10, rtol=1e-12)


def test_a_corner_with_a_sink_computed_by_hand() -> None:
    # seen from the corner of a 3x3 picture: weights 1 2 / 4 5, and 5 positions outside; the sink adds a weight of 3
    keys = np.log(np.arange(1.0, 10.0)).reshape(1, 3, 3, 1, 1)
    values = np.arange(10.0, 100.0, 10.0).reshape(1, 3, 3, 1, 1)
    query, corner, sink = np.ones((1, 1, 1)), np.zeros((1, 2), np.int64), math.log(3)
    summed = 1 * 10 + 2 * 20 + 4 * 40 + 5 * 50
    for border, outside in ((Border.ZERO, 5), (Border.MASK, 0)):
        dense = local_attention(np.ones((3, 3, 1, 1)), keys, values, Look(3, border), sink=sink)
        alone = local_attention(query, keys, values, Look(3, border), centres=corner, sink=sink)
        np.testing.assert_allclose(dense[0, 0], summed / (12 + outside + 3), rtol=1e-12)
        np.testing.assert_allclose(alone[0], summed / (12 + outside + 3), rtol=1e-12)


def test_a_centre_outside_computed_by_hand() -> None:
    # one row and one column beyond the corner: of 9 positions only the corner itself is in the picture
    keys, values = np.log([[[2.0]]]).reshape(1, 1, 1, 1, 1), np.full((1, 1, 1, 1, 1), 10.0)
    for centre in ((-1, -1), (1, 1), (-1, 0), (0, 1)):
        call = np.ones((1, 1, 1)), keys, values
        centres = np.array([centre])
        np.testing.assert_allclose(local_attention(*call, Look(3, Border.ZERO), centres=centres), 2 * 10 / (2 + 8))
        np.testing.assert_allclose(local_attention(*call, Look(3, Border.MASK), centres=centres), 10)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("sink", [None, 0.5])
def test_a_query_that_sees_nothing_recalls_nothing(border: Border, sink: float | None) -> None:
    query, keys, values = random(2, 3, dtype=np.float64)
    centres = np.full((2, 3, 2), 50)
    np.testing.assert_array_equal(local_attention(query, keys, values, Look(3, border), centres=centres, sink=sink), 0)


def test_the_scale_is_on_the_logits() -> None:
    query, keys, values = random(4, 4, dtype=np.float64)
    scaled = local_attention(query, keys, values, Look(3, scale=0.25))
    np.testing.assert_allclose(scaled, local_attention(query * 0.25, keys, values, Look(3)), rtol=1e-12)


def test_keeps_the_dtype() -> None:
    assert local_attention(*random(3, 3), Look(3)).dtype == np.float32


def test_logits_far_below_zero_stay_finite() -> None:
    query, keys, values = np.full((1, 2, 1, 1), 100.0), np.full((1, 1, 2, 1, 1), -100.0), np.ones((1, 1, 2, 1, 1))
    np.testing.assert_allclose(local_attention(query, keys, values, Look(3, Border.MASK)), 1.0)
    np.testing.assert_allclose(local_attention(query, keys, values, Look(3, Border.ZERO)), 0.0)


def test_refuses_a_memory_without_valid_slots() -> None:
    with pytest.raises(AttentionError, match="at least one valid slot"):
        local_attention(*random(2, 2), Look(3), valid=np.array([False]))
