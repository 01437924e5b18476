# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Random inputs of local attention, and the measure its kernels are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from vss_ros.attention import reference
from vss_ros.core.look import Border, Look

Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
TOLERANCE = 1e-5  # of a float32 kernel: largest error over the largest magnitude of the float64 definition


def random(
    h: int, w: int, *, slots: int = 1, heads: int = 1, dk: int = 4, dv: int = 5, seed: int = 0, dtype: Any = np.float32
) -> Arrays:
    """Query, keys and values from a normal distribution."""
    rng = np.random.default_rng(seed)
    shapes = (h, w, heads, dk), (slots, h, w, heads, dk), (slots, h, w, heads, dv)
    query, keys, values = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return query, keys, values


def error(
    got: npt.NDArray[Any], arrays: Arrays, look: Look, valid: npt.NDArray[np.bool_] | None = None, **more: Any
) -> float:
    """Of a kernel's result, against the definition in float64; `more` are the centres and the sink of the call."""
    wanted = reference.local_attention(*(x.astype(np.float64) for x in arrays), look, valid=valid, **more)
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max(initial=0) / (np.abs(wanted).max(initial=0) or 1))


def cells(h: int, w: int) -> npt.NDArray[np.int64]:
    """`(h, w, 2)`, row and column of every cell: the centres of a dense read."""
    return np.moveaxis(np.indices((h, w)), 0, -1)


def scattered(
    rng: np.random.Generator, query: npt.NDArray[Any], h: int, w: int, *, queries: int | None, beyond: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Queries whose centres lie up to `beyond` cells outside a picture: `query` as it is, or a list drawn from it."""
    if queries is not None:
        query = query.reshape(-1, *query.shape[2:])[rng.integers(query.shape[0] * query.shape[1], size=queries)]
    low, high = (-beyond, -beyond), (h + beyond, w + beyond)
    return query, rng.integers(low, high, (*query.shape[:-2], 2))


@st.composite
def reads(draw: st.DrawFn) -> tuple[Arrays, Look, dict[str, Any]]:
    """Arrays, look and the other arguments of one call, in every mode of the operator."""
    slots, heads = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    h, w, seed = draw(st.integers(1, 20)), draw(st.integers(1, 40)), draw(st.integers(0, 1000))
    channels = {
        "dk": draw(st.sampled_from([1, 3, 4, 8, 16, 21, 32])),
        "dv": draw(st.sampled_from([1, 2, 4, 7, 8, 16, 20, 31, 64, 77, 128])),
    }
    query, keys, values = random(h, w, slots=slots, heads=heads, seed=seed, **channels)
    windows = tuple(draw(st.sampled_from([1, 3, 5, 7, 11, 21, 41, 99])) for _ in range(slots))
    look = Look(windows, draw(st.sampled_from(Border)), draw(st.sampled_from([1.0, 0.25, -2.0])))
    valid = [draw(st.booleans()) for _ in range(slots)]
    valid[draw(st.integers(0, slots - 1))] = True
    more: dict[str, Any] = {"valid": np.array(valid)}
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        more["sink"] = draw(st.sampled_from([-np.inf, -3.0, 0.0, 4.0, rng.normal(size=heads).astype(np.float32)]))
    mode = draw(st.sampled_from(["dense", "motion", "list"]))
    if mode != "dense":
        queries = draw(st.integers(0, 300)) if mode == "list" else None
        query, centres = scattered(rng, query, h, w, queries=queries, beyond=draw(st.sampled_from([0, 3, 60])))
        more["centres"] = centres.astype(draw(st.sampled_from([np.int32, np.int64])))
    return (query, keys, values), look, more
