# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Look


def test_one_window_serves_every_slot() -> None:
    assert [Look(window=5).window_of(slot) for slot in (0, 3)] == [5, 5]


def test_a_window_per_slot() -> None:
    assert [Look(window=(3, 7)).window_of(slot) for slot in (0, 1)] == [3, 7]


@pytest.mark.parametrize("window", [0, 4, -3, (3, 2)])
def test_refuses_even_and_empty_windows(window: int) -> None:
    with pytest.raises(AttentionError, match="odd side length"):
        Look(window=window)


def test_refuses_no_window_at_all() -> None:
    with pytest.raises(AttentionError, match="at least one window"):
        Look(window=())
