# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The definition against loops that a reader can check, and against numbers computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from test.attention.cases import random
from vss_ros.attention.reference import local_attention
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

Array = npt.NDArray[Any]


def loops(query: Array, keys: Array, values: Array, look: Look, valid: Array) -> Array:
    """Local attention, one query, slot and displacement at a time."""
    h, w, heads, _ = query.shape
    out = np.zeros((h, w, heads, values.shape[-1]))
    for y, x, head in np.ndindex(h, w, heads):
        logits, seen = [], []
        for slot in np.flatnonzero(valid):
            reach = look.window_of(slot) // 2
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        logits.append(look.scale * query[y, x, head] @ keys[slot, y + dy, x + dx, head])
                        seen.append(values[slot, y + dy, x + dx, head])
                    elif look.border is Border.ZERO:
                        logits.append(0.0)
                        seen.append(np.zeros(values.shape[-1]))
        weights = np.exp(np.array(logits) - max(logits))
        out[y, x, head] = weights @ np.array(seen) / weights.sum()
    return out


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_loops(seed: int, border: Border) -> None:
    rng = np.random.default_rng(seed)
    h, w, slots, heads, dk, dv = (int(rng.integers(1, high)) for high in (6, 7, 4, 3, 6, 5))
    look = Look(tuple(int(n) * 2 + 1 for n in rng.integers(0, 5, slots)), border, scale=0.5)
    valid = rng.random(slots) < 0.7
    valid[rng.integers(slots)] = True
    arrays = random(h, w, slots=slots, heads=heads, dk=dk, dv=dv, seed=seed, dtype=np.float64)
    got = local_attention(*arrays, look, valid=valid)
    assert np.abs(got - loops(*arrays, look, valid)).max() < 1e-12


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
