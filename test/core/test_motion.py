# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Fields of motion: their form, their way to the cells of a method, and what a chain of them comes to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vss_ros.core.errors import FrameError
from vss_ros.core.motion import CELL, MotionField, ZeroMotion, composed, filled, in_cells

Array = npt.NDArray[np.float32]


def field(rows: int, columns: int, motion: tuple[float, float] = (0, 0)) -> Array:
    return np.tile(np.array(motion, np.float32), (rows, columns, 1))


def test_what_moves_right_came_from_the_left_over_a_chain_of_eleven() -> None:
    step = in_cells(field(8, 40, (-8, 0)), (64, 320), (8, 40))
    total = step
    for _ in range(10):
        total = composed(step, total)
    np.testing.assert_array_equal(step, field(8, 40, (-1, 0)))
    np.testing.assert_array_equal(total, field(8, 40, (-11, 0)))


def test_motion_is_followed_and_not_just_added() -> None:
    before = field(1, 4)
    before[0, 1] = (5, 0)  # what was in cell 1 had come from far away
    now = field(1, 4)
    now[0, 2] = (-1, 0)  # it is in cell 2 now
    np.testing.assert_array_equal(composed(now, before)[0, :, 0], [0, 5, 4, 0])


def test_looks_up_at_the_nearest_cell_within_the_picture() -> None:
    before = np.arange(4, dtype=np.float32).reshape(1, 4, 1).repeat(2, axis=2)
    now = field(1, 4, (0.4, -3))
    now[0, 3] = (9, 3)
    np.testing.assert_allclose(composed(now, before)[0, :, 0], [0.4, 1.4, 2.4, 12])


def test_blocks_without_motion_move_with_the_nearest_that_have_some() -> None:
    unknown = field(3, 5, (-16, 8))
    unknown[:, 3:] = (32, 0)
    unknown[0] = np.nan  # a whole row: that of the next
    unknown[1:, 1:4] = np.nan
    wanted = field(3, 5, (-16, 8))
    wanted[:, 3:] = (32, 0)
    np.testing.assert_array_equal(filled(unknown)[:, [0, 1, 3, 4]], wanted[:, [0, 1, 3, 4]])
    np.testing.assert_array_equal(in_cells(unknown, (24, 40), (3, 5))[0, 0], (-2, 1))


def test_a_picture_without_any_motion_stands_still() -> None:
    assert not filled(field(2, 3, (np.nan, np.nan))).any()
    known = field(2, 3, (1, 2))
    assert filled(known) is known


def test_neither_input_is_changed() -> None:
    unknown = field(2, 2, (np.nan, 1))
    in_cells(unknown, (16, 16), (2, 2))
    assert np.isnan(unknown[..., 0]).all()


def test_cells_take_the_nearest_position_and_mix_none() -> None:
    half = field(2, 2)
    half[:, 1] = (12, 6)
    cells = in_cells(half, (24, 48), (3, 6))
    np.testing.assert_array_equal(cells[0, :, 0], [0, 0, 0, 1.5, 1.5, 1.5])
    np.testing.assert_array_equal(cells[:, 5, 1], [0.75] * 3)


@given(dx=st.floats(-40, 40, width=32), dy=st.floats(-40, 40, width=32), steps=st.integers(1, 11))
def test_the_same_motion_everywhere_adds_up(dx: float, dy: float, steps: int) -> None:
    step = field(3, 5, (dx, dy))
    total = step
    for _ in range(steps - 1):
        total = composed(step, total)
    np.testing.assert_allclose(total, field(3, 5, (steps * dx, steps * dy)), rtol=1e-5, atol=1e-5)


def test_zero_motion_covers_the_picture() -> None:
    found = ZeroMotion()(np.zeros((17, 40, 3), np.uint8), np.zeros((17, 40, 3), np.uint8))
    assert found.motion.shape == (-(-17 // CELL), 40 // CELL, 2) and not found.motion.any()
    assert (found.unmatched, found.codec_key) == (0.0, False)


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 2)), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 2), np.float32)])
def test_refuses_what_is_no_field(bad: npt.NDArray[np.float32]) -> None:
    with pytest.raises(FrameError, match=r"a motion field wants \(h, w, 2\) float32 px, got \("):
        MotionField(bad, 0.0)
