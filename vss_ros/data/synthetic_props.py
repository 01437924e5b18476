# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painted street furniture and plants of the synthetic drive: trees, hedges, fences, poles, lights, signs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vss_ros.core.frame import UInt8Array
from vss_ros.data.synthetic_paint import (
    Colour,
    Rng,
    Texture,
    box,
    disc,
    fill,
    flat,
    fractal,
    jitter,
    pick,
    shade,
    speckle,
    spread_colour,
    times,
    to_bytes,
)

_TREE_ROWS, _TREE_COLS = 480, 400
_GREENS = [(62, 84, 40), (84, 98, 44), (46, 70, 40), (110, 100, 50), (76, 90, 58)]


@dataclass(frozen=True, slots=True)
class Prop:
    """A texture that stands upright, with its size in metres."""

    texture: Texture
    width_m: float
    height_m: float


def paint_tree(rng: Rng, bare: bool) -> Prop:
    """A tree with its trunk, leafy or bare, 5 to 11 m high."""
    height_m = rng.uniform(5, 11)
    texture = _bare_tree(rng) if bare else _leafy_tree(rng)
    return Prop(texture, height_m * _TREE_COLS / _TREE_ROWS, height_m)


def _leafy_tree(rng: Rng) -> Texture:
    rows, cols = _TREE_ROWS, _TREE_COLS
    alpha, depth = np.zeros((rows, cols), np.uint8), np.zeros((rows, cols), np.uint8)
    middle, crown = cols / 2, rows * rng.uniform(0.3, 0.42)
    spread_x, spread_y = cols * rng.uniform(0.26, 0.36), rows * rng.uniform(0.22, 0.32)
    for _ in range(90):
        angle, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x, y = middle + np.cos(angle) * out * spread_x, crown + np.sin(angle) * out * spread_y
        radius = rng.uniform(14, 44)
        disc(alpha, x, y, radius, radius * 0.85, 255)
        bright = int(np.clip(150 - 0.28 * y + rng.normal(0, 26), 30, 230))
        disc(depth, x - 4, y - 7, radius * 0.8, radius * 0.65, bright)
    ragged = fractal(rng, rows, cols, coarsest=24, octaves=3)
    edge = cv2.blur(alpha, (25, 25)).astype(np.float32) / 255
    alpha = np.where(edge + (ragged - 0.5) * 0.9 > 0.45, 255, 0).astype(np.uint8)
    alpha[int(crown + spread_y * 1.5) :] = 0
    green = np.array(pick(rng, _GREENS, 10), np.float32)
    light = 0.45 + depth.astype(np.float32) / 150 + 0.7 * (fractal(rng, rows, cols, coarsest=40, octaves=2) - 0.5)
    rgb = to_bytes(green * light[:, :, None])
    _trunk(rng, rgb, alpha, middle, crown, rng.uniform(7, 13))
    return Texture(spread_colour(rgb, alpha), np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0), np.uint8))


def _trunk(rng: Rng, rgb: UInt8Array, alpha: UInt8Array, middle: float, top: float, half: float) -> None:
    rows = alpha.shape[0]
    below = alpha[int(top) :] == 0
    stem = np.zeros_like(alpha)
    slim = half * 0.6
    fill(stem, [(middle - slim, top), (middle + slim, top), (middle + half, rows), (middle - half, rows)], 255)
    bark = speckle(rng, flat(rows, rgb.shape[1], jitter(rng, (84, 72, 60), 10)), 0.15, cell=4)
    part = (stem[int(top) :] > 127) & below
    rgb[int(top) :][part], alpha[int(top) :][part] = bark[int(top) :][part], 255


def _bare_tree(rng: Rng) -> Texture:
    """Branches only; the crown between them counts as tree, as people label it."""
    rows, cols = _TREE_ROWS, _TREE_COLS
    alpha, crown = np.zeros((rows, cols), np.uint8), np.zeros((rows, cols), np.uint8)
    stack = [(cols / 2, float(rows), -np.pi / 2, rows * rng.uniform(0.2, 0.27), rng.uniform(11, 16))]
    lean = rng.uniform(0.25, 0.5)
    while stack:
        x, y, angle, length, width = stack.pop()
        end_x, end_y = x + np.cos(angle) * length, y + np.sin(angle) * length
        ends = [(round(a * 16), round(b * 16)) for a, b in ((x, y), (end_x, end_y))]
        cv2.line(alpha, ends[0], ends[1], (255,), max(1, round(width)), cv2.LINE_AA, 4)
        if width < 6:
            cv2.line(crown, ends[0], ends[1], (255,), 22, cv2.LINE_AA, 4)
        inside = ((end_x / cols - 0.5) / 0.4) ** 2 + ((end_y / rows - 0.5) / 0.42) ** 2 < 1 or width > 8
        if width > 1.2 and inside:
            for turn in rng.normal(0, lean, int(rng.integers(2, 4))):
                stack.append((end_x, end_y, angle + turn, length * rng.uniform(0.6, 0.86), width * 0.64))
    bark = speckle(rng, flat(rows, cols, jitter(rng, (92, 80, 68), 12)), 0.12, cell=3)
    cover = np.maximum(cv2.morphologyEx(crown, cv2.MORPH_CLOSE, np.ones((13, 13), np.uint8)), alpha)
    # Twigs too fine to draw one by one still dim the sky behind the crown.
    haze = cv2.GaussianBlur(crown, (31, 31), 0) // 4
    return Texture(bark, np.maximum(alpha, haze), cover=cover)


def paint_hedge(rng: Rng) -> Texture:
    """A clipped hedge, four times as long as it is high."""
    rows, cols = 64, 256
    light = 0.6 + 0.7 * fractal(rng, rows, cols, coarsest=40, octaves=3)
    light *= np.linspace(1.15, 0.6, rows, dtype=np.float32)[:, None]
    rgb = to_bytes(np.array(jitter(rng, (62, 82, 44), 10), np.float32) * light[:, :, None])
    return Texture(rgb)


def paint_fence(rng: Rng) -> Texture:
    """Railings or boards, four times as long as high; the gaps of railings count as fence, as people label them."""
    rows, cols = 96, 384
    colour = pick(rng, [(34, 36, 38), (120, 122, 124), (104, 84, 60), (200, 200, 196), (40, 62, 48)], 8)
    rgb, alpha = speckle(rng, flat(rows, cols, colour), 0.06), np.zeros((rows, cols), np.uint8)
    if rng.random() < 0.3:
        alpha[:] = 255
        rgb[:, ::12] = rgb[:, ::12] // 2
        return Texture(rgb, alpha)
    step, width = int(rng.integers(8, 14)), int(rng.integers(2, 4))
    for x in range(0, cols, step):
        alpha[4:, x : x + width] = 255
    for y in (6, rows - 14):
        alpha[y : y + 5] = 255
    for x in range(0, cols, cols // 4):
        alpha[:, x : x + 6] = 255
    return Texture(rgb, alpha, cover=np.full((rows, cols), 255, np.uint8))


def paint_lamp(rng: Rng) -> Prop:
    """A street lamp with its arm; the arm points right."""
    rows, cols = 640, 160
    rgb = flat(rows, cols, pick(rng, [(96, 100, 102), (54, 58, 56), (140, 142, 140)], 8))
    rgb[:, : cols // 9] = rgb[:, : cols // 9] // 4 * 3
    alpha, foot = np.zeros((rows, cols), np.uint8), 14
    fill(alpha, [(foot - 4, 20), (foot + 4, 20), (foot + 7, rows), (foot - 7, rows)], 255)
    cv2.ellipse(alpha, (foot + 110, 34), (112, 26), 0, 180, 270, (255,), 6, cv2.LINE_AA)
    disc(alpha, foot + 118, 12, 24, 7, 255)
    return Prop(Texture(rgb, alpha), 2.0, rng.uniform(6.5, 9))


def paint_post(rng: Rng, height_m: float) -> Prop:
    """A plain post, such as a sign or a traffic light stands on."""
    rows, cols = 256, 8
    rgb = flat(rows, cols, pick(rng, [(128, 130, 130), (60, 62, 64), (170, 172, 172)], 8))
    rgb = shade(rgb, np.broadcast_to(np.linspace(1.15, 0.65, cols, dtype=np.float32), (rows, cols)))
    return Prop(Texture(rgb), rng.uniform(0.09, 0.15), height_m)


def paint_bollard(rng: Rng) -> Prop:
    """A short dark post with a light ring."""
    rgb = flat(64, 12, jitter(rng, (36, 36, 38), 6))
    box(rgb, 0, 10, 12, 18, pick(rng, [(210, 208, 200), (190, 150, 40), (160, 30, 30)], 8))
    return Prop(Texture(rgb), 0.2, rng.uniform(0.8, 1.1))


def paint_sign(rng: Rng) -> Prop:
    """A traffic sign: round, triangular, or a plate with writing."""
    size = 96
    rgb, alpha, kind = flat(size, size, (225, 225, 222)), np.zeros((size, size), np.uint8), int(rng.integers(4))
    middle = size / 2
    if kind == 0:  # ban
        disc(alpha, middle, middle, 46, 46, 255)
        rgb[:] = (190, 24, 30)
        disc(rgb, middle, middle, 33, 33, (230, 230, 228))
        box(rgb, 30, 40, 66, 56, (30, 30, 30))
    elif kind == 1:  # order
        disc(alpha, middle, middle, 46, 46, 255)
        rgb[:] = (24, 70, 160)
        fill(rgb, [(48, 16), (70, 44), (54, 44), (54, 80), (42, 80), (42, 44), (26, 44)], (232, 232, 230))
    elif kind == 2:  # warning
        fill(alpha, [(48, 4), (94, 88), (2, 88)], 255)
        rgb[:] = (190, 24, 30)
        fill(rgb, [(48, 28), (76, 78), (20, 78)], (232, 230, 224))
        box(rgb, 44, 44, 52, 70, (20, 20, 20))
    else:  # plate
        alpha[6:90, 4:92] = 255
        rgb[:] = pick(rng, [(20, 70, 150), (20, 100, 60), (225, 190, 40), (220, 220, 216)], 10)
        for y in range(20, 80, 18):
            ink = times(rgb[8, 8], 2.2 if int(rgb[8, 8].max()) < 170 else 0.2)
            box(rgb, 16, y, 16 + rng.uniform(30, 66), y + 7, ink)
    wide = rng.uniform(0.55, 0.8) if kind < 3 else rng.uniform(0.6, 1.1)
    return Prop(Texture(rgb, alpha), wide, rng.uniform(0.55, 0.8) if kind < 3 else rng.uniform(0.5, 0.9))


def paint_traffic_light(rng: Rng) -> Prop:
    """Three lamps in a dark box, one lit."""
    rgb = flat(120, 44, (22, 24, 24))
    lit = int(rng.choice([0, 2, 2]))
    colours: list[Colour] = [(250, 50, 40), (250, 180, 40), (60, 245, 130)]
    for i, colour in enumerate(colours):
        disc(rgb, 22, 22 + 38 * i, 15, 15, colour if i == lit else times(colour, 0.16))
    return Prop(Texture(rgb), 0.42, 1.1)


def paint_shadow() -> Texture:
    """A soft dark spot for the ground under things."""
    alpha = np.zeros((64, 64), np.uint8)
    disc(alpha, 32, 32, 22, 24, 200)
    return Texture(flat(64, 64, (12, 12, 14)), np.asarray(cv2.GaussianBlur(alpha, (15, 15), 0), np.uint8))
