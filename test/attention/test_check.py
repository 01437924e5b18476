# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Calls that local attention refuses, and what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from test.attention.cases import random
from vss_ros.attention import local_attention
from vss_ros.attention.check import check_shapes
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look

QUERY, KEYS, VALUES = random(3, 4, slots=2)
CENTRES = np.zeros((3, 4, 2), np.int64)
READ_ONLY = np.zeros((3, 4, 1, 5), np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"query": QUERY.tolist()}, "query wants a numpy array .* got list"),
        ({"keys": KEYS.astype(np.float64)}, "keys wants float32, got float64"),
        ({"query": QUERY[0]}, r"a list of queries \(4, 1, 4\) wants centres \(4, 2\), got None"),
        ({"query": QUERY[0, 0]}, r"query wants \(h, w, heads, dk\), none of them 0, got \(1, 4\)"),
        ({"query": QUERY[:0]}, r"query wants \(h, w, heads, dk\), none of them 0, got \(0, 4, 1, 4\)"),
        (
            {"query": QUERY[..., :0], "centres": CENTRES},
            r"query wants .* with centres, \(N, heads, dk\), none of them 0",
        ),
        ({"query": QUERY[0, 0], "centres": CENTRES}, r"query wants .* got \(1, 4\)"),
        ({"centres": CENTRES[:2]}, r"centres wants \(3, 4, 2\) int32 or int64, got \(2, 4, 2\) int64"),
        ({"centres": CENTRES.astype(np.float32)}, "centres wants .* got .* float32; .* rounded"),
        ({"query": QUERY[0], "centres": CENTRES}, r"centres wants \(4, 2\)"),
        ({"query": QUERY[..., :3], "centres": CENTRES}, r"keys wants .* = \(2, 3, 4, 1, 3\)"),
        ({"sink": float("nan")}, r"sink wants finite logits or -inf, got \[nan\]"),
        ({"sink": float("inf")}, r"sink wants finite logits or -inf, got \[inf\]"),
        ({"sink": [1.0, 2.0]}, r"sink wants a number or \(1,\) float32, got \(2,\)"),
        ({"sink": "no"}, r"sink wants a number or \(1,\) float32, got \(\) <U2"),
        ({"centres": CENTRES, "out": np.zeros((4, 3, 1, 5), np.float32)}, r"out wants a numpy array \(3, 4, 1, 5\)"),
        ({"values": VALUES[..., :0]}, "values wants .* none of them 0"),
        ({"keys": KEYS[:0], "values": VALUES[:0]}, "keys wants .* none of them 0"),
        ({"keys": KEYS[:, 1:]}, r"keys wants .* = \(2, 3, 4, 1, 4\), got \(2, 2, 4, 1, 4\)"),
        ({"keys": KEYS[..., :3]}, "same encoder"),
        ({"values": VALUES[:1]}, r"values wants .* = \(2, 3, 4, 1, 5\), got \(1, 3, 4, 1, 5\)"),
        ({"look": Look((3, 3, 3))}, "each of the 2 slots, got 3"),
        ({"look": Look(scale=float("nan"))}, "finite scale, got nan"),
        ({"valid": np.ones(3, np.bool_)}, r"valid wants \(2,\) bool, got \(3,\) bool"),
        ({"valid": np.ones(2, np.int64)}, r"valid wants \(2,\) bool, got \(2,\) int64"),
        ({"threads": 0}, "threads wants at least 1, got 0"),
        (
            {"out": np.zeros((3, 4, 1, 4), np.float32)},
            r"out wants .*\(3, 4, 1, 5\) float32, got \(3, 4, 1, 4\) float32",
        ),
        ({"out": []}, "out wants .* got list"),
        ({"out": np.zeros((5, 1, 4, 3), np.float32).T}, "out wants writeable, aligned, C-contiguous"),
        ({"out": READ_ONLY}, "out wants writeable"),
        ({"out": VALUES[0]}, "out wants memory of its own"),
    ],
)
def test_says_what_was_wanted_and_what_came(change: dict[str, Any], says: str) -> None:
    call: dict[str, Any] = {"query": QUERY, "keys": KEYS, "values": VALUES, "look": Look(3), **change}
    with pytest.raises(AttentionError, match=says):
        local_attention(**call)


@pytest.mark.parametrize(
    ("query", "keys", "values", "moved", "says"),
    [
        ((4, 5, 1, 8), (4, 5, 1, 8), (2, 4, 5, 1, 9), False, r"keys and values want .* got \(4, 5, 1, 8\) and"),
        ((4, 5, 1, 8), (2, 4, 5, 1, 8), (2, 4, 5, 1, 0), False, "none of them 0"),
        ((4, 5, 1, 8), (2, 4, 5, 1, 8), (3, 4, 5, 1, 9), False, r"values wants \(2, 4, 5, 1\) and channels"),
        ((5, 4, 1, 8), (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), False, r"query wants .* = \(4, 5, 1, 8\) or, with centres"),
        ((9, 1, 8), (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), False, r"a list of queries .* wants centres \(9, 2\), got None"),
        ((9, 1, 7), (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), True, r"query wants .* got \(9, 1, 7\)"),
        ((1, 8), (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), True, r"query wants .* got \(1, 8\)"),
    ],
)
def test_shapes_that_a_gpu_does_not_take(query: Any, keys: Any, values: Any, moved: bool, says: str) -> None:
    with pytest.raises(AttentionError, match=says):
        check_shapes(query, keys, values, moved=moved)


def test_shapes_that_a_gpu_takes() -> None:
    check_shapes((4, 5, 1, 8), (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), moved=False)
    for query in ((0, 1, 8), (9, 1, 8), (7, 3, 1, 8)):
        check_shapes(query, (2, 4, 5, 1, 8), (2, 4, 5, 1, 9), moved=True)


@pytest.mark.parametrize("border", list(Border))
def test_refuses_a_memory_without_valid_slots(border: Border) -> None:
    with pytest.raises(AttentionError, match=r"at least one valid slot, got none; skip the read"):
        local_attention(QUERY, KEYS, VALUES, Look(3, border), valid=np.zeros(2, np.bool_))
