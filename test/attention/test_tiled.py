# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The tiled form against the definition in float64, as it is exported: with a mask of slots that is a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from test.attention.cases import random  # noqa: E402
from vss_ros.attention import reference  # noqa: E402
from vss_ros.attention.tiled import attend_tiles, sinks_of  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402


def tiled(arrays: Any, look: Look, valid: Any = None, sink: Any = None) -> Any:
    """The tiled form of one picture, numpy in and out."""
    query, keys, values = (torch.from_numpy(x) for x in arrays)
    slots = None if valid is None else torch.from_numpy(np.asarray(valid))
    sinks = sinks_of(sink, query[None])
    return attend_tiles(query[None], keys[:, None], values[:, None], look, valid=slots, sinks=sinks)[0].numpy()


def with_garbage(arrays: Any, valid: Any) -> Any:
    """The arrays with NaN and infinity in every slot that is not valid."""
    query, keys, values = (x.copy() for x in arrays)
    keys[~np.asarray(valid)], values[~np.asarray(valid)] = np.nan, np.inf
    return query, keys, values


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_the_definition(data: st.DataObject) -> None:
    slots, heads = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    size = data.draw(st.integers(1, 18)), data.draw(st.integers(1, 18))
    arrays = random(*size, slots=slots, heads=heads, dk=3, dv=2, seed=data.draw(st.integers(0, 99)), dtype=np.float64)
    windows = tuple(data.draw(st.sampled_from([1, 3, 5, 9, 21])) for _ in range(slots))
    look = Look(windows, data.draw(st.sampled_from(Border)), data.draw(st.sampled_from([1.0, -0.5])))
    valid = [data.draw(st.booleans()) for _ in range(slots)]
    valid[data.draw(st.integers(0, slots - 1))] = True
    sink = data.draw(st.sampled_from([None, -np.inf, 0.7, np.linspace(-1, 1, heads)]))
    wanted = reference.local_attention(*arrays, look, valid=np.array(valid), sink=sink)
    np.testing.assert_allclose(tiled(with_garbage(arrays, valid), look, valid, sink), wanted, atol=1e-12)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (17, 3)])
def test_a_window_may_reach_beyond_the_picture(size: tuple[int, int], border: Border) -> None:
    arrays, look = random(*size, slots=2, dtype=np.float64), Look(41, border)
    np.testing.assert_allclose(tiled(arrays, look), reference.local_attention(*arrays, look), atol=1e-12)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("sink", [None, 0.5])
def test_nothing_is_recalled_where_no_slot_is_valid(border: Border, sink: float | None) -> None:
    valid = [False, False]
    arrays = with_garbage(random(5, 9, slots=2), valid)
    assert (tiled(arrays, Look(3, border), valid, sink) == 0).all()


def test_logits_are_as_large_as_float32_allows_without_a_scale() -> None:
    query, keys, values = random(6, 7, slots=2)
    arrays = query * 200, keys * 200, values
    wanted = reference.local_attention(*(x.astype(np.float64) for x in arrays), Look(5))
    np.testing.assert_allclose(tiled(arrays, Look(5), [True, True]), wanted, atol=0.1 * np.abs(values).max())
