# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vss_ros.data.synthetic_paint import Texture
from vss_ros.data.synthetic_render import Camera, Canvas, motion_to
from vss_ros.data.synthetic_world import LAYER_DECAL, Piece, Thing, upright

SIZE = (60, 80)
CLEAR_AIR = (1e9, 0.0)


def camera(x=0.0, z=0.0):
    """At 1 m above the ground, focal length 50 px, looking along the street."""
    matrix = np.array([[50.0, 0, 39.5], [0, 50.0, 29.5], [0, 0, 1]])
    return Camera(SIZE, matrix, np.eye(3), np.array([x, -1.0, z]))


def board(colour, *, width=2.0, height=2.0, place=(0.0, 10.0), alpha=None, **looks):
    """An upright one-coloured rectangle on the ground."""
    texture = Texture(np.full((16, 16, 3), colour, np.uint8), alpha)
    return Thing([Piece(texture, colour, colour, **looks)], [upright(texture, width, height)], place)


def draw(things, view=None):
    view = view or camera()
    canvas = Canvas(SIZE, coloured=True)
    poses = np.concatenate([thing.pose(0.0) for thing in things])
    canvas.draw_all([piece for thing in things for piece in thing.pieces], view.views(poses), CLEAR_AIR)
    return canvas


def test_a_board_lies_where_the_pinhole_puts_it():
    canvas = draw([board(90)])
    # 2 m at 10 m with 50 px is 10 px, centred on x = 39.5 and y = 29.5.
    rows, cols = np.nonzero(canvas.labels)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (25, 34, 35, 44)
    assert canvas.rgb[30, 40].tolist() == [90, 90, 90] and canvas.rgb[0, 0].tolist() == [0, 0, 0]
    assert canvas.nearness[30, 40] == pytest.approx(0.1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_board_hides_the_farther_whatever_the_order(order):
    boards = [board(90, place=(0, 10.0)), board(200, width=1.0, place=(0, 8.0))]
    canvas = draw([boards[i] for i in order])
    assert canvas.labels[30, 40] == 200 and canvas.rgb[30, 40, 0] == 200
    assert canvas.labels[30, 35] == 90


def test_what_is_behind_the_camera_is_not_drawn():
    assert not draw([board(90, place=(0.0, -5.0))]).labels.any()


def test_half_transparent_paint_is_mixed_and_its_label_follows_the_cover():
    alpha = np.full((16, 16), 128, np.uint8)
    canvas = draw([board(100, place=(0, 12.0), width=4.0, height=3.0), board(200, alpha=alpha)])
    assert abs(int(canvas.rgb[30, 40, 0]) - 150) <= 1 and canvas.labels[30, 40] == 200


def test_a_decal_darkens_without_a_label():
    decal = board(10, place=(0, 9.0), alpha=np.full((16, 16), 255, np.uint8), layer=LAYER_DECAL)
    canvas = draw([board(100, layer=0), decal])
    assert canvas.rgb[30, 40, 0] == 10 and canvas.labels[30, 40] == 100


def test_motion_of_a_moving_board_seen_from_a_moving_camera():
    thing = board(90)
    moved = Thing(thing.pieces, [upright(thing.pieces[0].texture, 2.0, 2.0)], (0.4, 10.5))
    now, before = camera(x=0.2, z=0.5), camera()
    canvas = draw([moved], now)
    # Owner 0 is what lies at infinity; the camera does not turn, so it stays.
    far = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    motion = motion_to(
        canvas.owner,
        np.concatenate([now.far_view(far)[None], now.views(moved.pose(0.0))]),
        np.concatenate([before.far_view(far)[None], before.views(thing.pose(0.0))]),
        50.0,
    )
    seen = canvas.labels == 90
    # Both are 10 m away; the board is 0.2 m right of the axis now and was on it before: 1 px further left.
    np.testing.assert_allclose(motion[seen][:, 0], -1.0, atol=1e-4)
    np.testing.assert_allclose(motion[seen][:, 1], 0.0, atol=1e-4)
    np.testing.assert_allclose(motion[~seen], 0.0, atol=1e-4)


def test_limbs_swing_about_their_upper_edge_and_come_back_after_a_stride():
    from dataclasses import replace

    texture = Texture(np.zeros((4, 4, 3), np.uint8))
    limb = replace(upright(texture, 0.2, 0.8), swing=0.5)
    thing = Thing([Piece(texture, 1, 1)], [limb], (0.0, 5.0), stride_hz=1.0)
    rest, bent, back = (thing.pose(t)[0] for t in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(rest, back, atol=1e-12)
    np.testing.assert_allclose(rest[:, 2] + rest[:, 0] / 2, bent[:, 2] + bent[:, 0] / 2)
    assert np.hypot(*bent[:2, 1]) == pytest.approx(0.8) and abs(bent[0, 1]) == pytest.approx(0.8 * np.sin(0.5))
