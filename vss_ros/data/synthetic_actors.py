# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painted cars, people and bicycles of the synthetic drive, cut into flat parts that move exactly.

A part is a rectangle in the thing's own coordinates: x to the right, y down (the ground is 0), z away from the viewer,
in metres. Cars are closed boxes along a real outline; people and riders are flat figures whose limbs swing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

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
    jitter,
    pick,
    speckle,
    spread_colour,
    times,
)

Vector = tuple[float, float, float]

_CARS = [(24, 26, 30), (120, 124, 130), (190, 194, 198), (226, 226, 224), (130, 20, 26), (26, 46, 110), (46, 70, 60),
         (90, 96, 104), (150, 140, 120), (60, 120, 160)]  # fmt: skip
_CLOTHES = [(30, 30, 34), (50, 56, 80), (110, 30, 34), (120, 110, 96), (60, 70, 56), (170, 168, 160), (40, 80, 120),
            (200, 190, 60), (84, 62, 50), (150, 60, 40)]  # fmt: skip
_SKINS = [(216, 174, 148), (190, 146, 118), (120, 84, 62), (88, 60, 46)]
_GLASS = (34, 42, 50)


@dataclass(frozen=True, slots=True)
class Part:
    """One flat piece: corner, edge to the right, edge down; and how it moves with its thing's phase.

    Attributes:
        swing: amplitude in rad of a turn about the middle of the upper edge, in the picture plane.
        lift: part of the height by which it shortens and lengthens, hanging from its upper edge.
        bob_m: amplitude of an up-and-down move.
        phase: rad ahead of the thing's phase.
        one_sided: not drawn when seen from behind.
    """

    texture: Texture
    corner: Vector
    right: Vector
    down: Vector
    swing: float = 0.0
    lift: float = 0.0
    bob_m: float = 0.0
    phase: float = 0.0
    one_sided: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A thing made of parts; `shadow_m` is its footprint across and along."""

    parts: tuple[Part, ...]
    shadow_m: tuple[float, float]
    length_m: float = field(default=0.0)


def paint_car(rng: Rng) -> Figure:
    """A hatchback, saloon, van or bus with its back at z = 0 towards the viewer."""
    kind = str(rng.choice(["hatch", "hatch", "saloon", "van", "bus"], p=[0.3, 0.25, 0.27, 0.14, 0.04]))
    half, height, outline, waist = _OUTLINES[kind]
    grow = rng.uniform(0.94, 1.06)
    outline = tuple((z * grow, y * grow) for z, y in outline)
    half, height, waist = half * grow, height * grow, waist * grow
    paint = pick(rng, _CARS, 10)
    inset = 0.05 if kind in ("van", "bus") else 0.16
    length = outline[-1][0]
    parts = _car_sides(rng, half, inset, outline, waist, height, paint)
    for i, ((z0, y0), (z1, y1)) in enumerate(itertools.pairwise(outline)):
        glass = 0 < i < len(outline) - 2 and abs(y1 - y0) > 0.2 and max(y0, y1) > waist + 0.1
        in0, in1 = (inset if y > waist + 0.05 else 0.0 for y in (y0, y1))
        if i in (0, len(outline) - 2):
            texture = _car_end(rng, paint, half, waist, rear=i == 0, height=max(y0, y1))
        else:
            texture = _car_slope(paint, half, in0, in1, glass)
        # Seen from behind the car, the far edge is the upper one while the outline climbs, and on level parts too.
        (za, ya), (zb, yb) = ((z1, y1), (z0, y0)) if i < len(outline) - 2 else ((z0, y0), (z1, y1))
        foot = 0.0 if i in (0, len(outline) - 2) else None
        low = yb if foot is None else foot
        mirror = -1.0 if i == len(outline) - 2 else 1.0
        corner, right = (-half * mirror, -ya, za), (2 * half * mirror, 0.0, 0.0)
        parts.append(Part(texture, corner, right, (0, ya - low, zb - za), one_sided=True))
    return Figure(tuple(parts), (2 * half + 0.7, length + 0.8), length)


# half width, height, outline from the rear's foot over the roof to the front's foot as (z, y up), waist
_Outline = tuple[tuple[float, float], ...]
_HATCH: _Outline = ((0, 0), (0.06, 0.92), (0.5, 1.42), (1.9, 1.46), (2.8, 0.97), (3.75, 0.78), (3.85, 0))
_SALOON: _Outline = ((0, 0), (0.05, 0.9), (0.7, 0.98), (1.35, 1.38), (2.5, 1.43), (3.3, 0.98), (4.35, 0.76), (4.45, 0))
_VAN: _Outline = ((0, 0), (0.04, 1.15), (0.1, 2.15), (3.4, 2.2), (4.2, 1.2), (4.9, 0.95), (5.0, 0))
_BUS: _Outline = ((0, 0), (0.02, 1.3), (0.06, 2.95), (9.0, 3.0), (9.1, 1.3), (9.15, 0.9), (9.2, 0))
_OUTLINES: dict[str, tuple[float, float, _Outline, float]] = {
    "hatch": (0.85, 1.46, _HATCH, 0.92),
    "saloon": (0.9, 1.43, _SALOON, 0.93),
    "van": (0.98, 2.2, _VAN, 1.15),
    "bus": (1.22, 3.0, _BUS, 1.3),
}


def _car_sides(
    rng: Rng, half: float, inset: float, outline: _Outline, waist: float, height: float, paint: Colour
) -> list[Part]:
    """Lower and upper half of both sides; the upper leans inwards by `inset`."""
    px, length = 80, outline[-1][0]
    rows, cols = int(height * px), int(length * px)
    rgb, alpha = speckle(rng, flat(rows, cols, paint), 0.02), np.zeros((rows, cols), np.uint8)
    points = [(z * px, rows - max(y, 0.22) * px) for z, y in outline]
    fill(alpha, points, 255)
    belt = rows - waist * px
    rgb[int(belt) :] = np.clip(rgb[int(belt) :] * np.linspace(1.1, 0.62, rows - int(belt))[:, None, None], 0, 255)
    glass = [(z * px, rows - y * px) for z, y in outline if y > waist - 0.02]
    middle = np.mean(np.array(glass), 0)
    pane = [(float(x + (middle[0] - x) * 0.1), float(y + (middle[1] - y) * 0.22)) for x, y in glass]
    fill(rgb, pane, jitter(rng, _GLASS, 8))
    for x in np.arange(0.38, 0.8, 0.26):
        box(rgb, x * cols - 2, 0, x * cols + 2, belt + 2, paint)
        box(rgb, x * cols - 1, belt, x * cols, rows - 0.3 * px, times(paint, 0.5))
    radius = min(0.34, height * 0.21) * px
    for x in (0.19, 0.8):
        disc(alpha, x * cols, rows - radius, radius, radius, 255)
        disc(rgb, x * cols, rows - radius, radius * 1.15, radius * 1.15, (16, 16, 18))
        disc(rgb, x * cols, rows - radius, radius * 0.6, radius * 0.6, (140, 142, 146))
        disc(rgb, x * cols, rows - radius, radius * 0.2, radius * 0.2, (60, 60, 62))
    box(rgb, 0, belt + 0.12 * px, 0.14 * px, belt + 0.35 * px, (150, 24, 24))
    box(rgb, cols - 0.22 * px, belt + 0.18 * px, cols, belt + 0.32 * px, (220, 220, 210))
    cut = int(belt)
    rgb = spread_colour(rgb, alpha)
    upper, lower = Texture(rgb[:cut].copy(), alpha[:cut].copy()), Texture(rgb[cut:].copy(), alpha[cut:].copy())
    low_y, top_y = (rows - cut) / px, rows / px
    parts = []
    for side in (-1.0, 1.0):
        x, lean = side * half, side * inset
        parts.append(Part(lower, (x, -low_y, 0), (0, 0, length), (0, low_y, 0)))
        parts.append(Part(upper, (x - lean, -top_y, 0), (0, 0, length), (lean, top_y - low_y, 0)))
    return parts


def _car_end(rng: Rng, paint: Colour, half: float, waist: float, *, rear: bool, height: float) -> Texture:
    """The back or front panel down to the ground: lamps, plate, bumper, tyres."""
    px = 100
    rows, cols = int(height * px), int(2 * half * px)
    rgb, alpha = flat(rows, cols, paint), np.zeros((rows, cols), np.uint8)
    rgb[:] = np.clip(rgb * np.linspace(1.12, 0.7, rows)[:, None, None], 0, 255)
    foot = rows - 0.26 * px
    box(rgb, 0, foot - 0.2 * px, cols, foot, times(paint, 0.7))
    box(rgb, 0, foot - 0.04 * px, cols, rows, (16, 16, 18))
    alpha[: int(rows - 0.17 * px)] = 255
    for x in (0.06, 0.8):
        alpha[:, int(x * cols) : int((x + 0.14) * cols)] = 255
    lamp = (170, 22, 24) if rear else (228, 230, 226)
    low = rows - waist * px * 0.74
    for x in (0.02, 0.8):
        box(rgb, x * cols, low - 0.1 * px, (x + 0.18) * cols, low + 0.1 * px, lamp)
    if not rear:
        box(rgb, 0.26 * cols, low - 0.05 * px, 0.74 * cols, low + 0.09 * px, (26, 26, 28))
    plate = (212, 184, 60) if rear and rng.random() < 0.6 else (220, 220, 216)
    box(rgb, 0.36 * cols, foot - 0.18 * px, 0.64 * cols, foot - 0.06 * px, plate)
    for x in np.arange(0.39, 0.6, 0.035):
        box(rgb, x * cols, foot - 0.15 * px, (x + 0.02) * cols, foot - 0.09 * px, (30, 30, 30))
    return Texture(rgb, alpha)


def _car_slope(paint: Colour, half: float, in0: float, in1: float, glass: bool) -> Texture:
    """Window, roof, bonnet or boot lid: a panel narrowed by `in0` m at its lower edge and `in1` m at its upper."""
    rows, cols = 64, 128
    top, low = in1 / (2 * half) * cols, in0 / (2 * half) * cols
    alpha = np.zeros((rows, cols), np.uint8)
    fill(alpha, [(top, -1), (cols - top, -1), (cols - low, rows), (low, rows)], 255)
    rgb = flat(rows, cols, times(paint, 1.16))
    if glass:
        shine = np.linspace(2.6, 1.0, rows)[:, None, None] * np.array(_GLASS)
        rgb[4 : rows - 5] = np.clip(np.broadcast_to(shine, (rows, cols, 3)), 0, 255).astype(np.uint8)[4 : rows - 5]
        for x in (top + 2, cols - top - 8):
            box(rgb, x, 0, x + 6, rows, paint)
    return Texture(rgb, alpha)


def _cloth(rng: Rng, rgb: UInt8Array, alpha: UInt8Array) -> Texture:
    folds = rng.normal(1, 0.05, (max(2, rgb.shape[0] // 12), 4)).astype(np.float32)
    light = cv2.resize(folds, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_CUBIC)
    rgb = np.clip(rgb * (light * np.linspace(1.12, 0.8, rgb.shape[1], dtype=np.float32))[:, :, None], 0, 255)
    return Texture(spread_colour(rgb.astype(np.uint8), alpha), alpha)


def _limb(rng: Rng, length_m: float, width_m: float, colour: Colour, end: Colour) -> Texture:
    """A leg or an arm; the last seventh is the shoe or the hand."""
    rows, cols = int(length_m * 140), max(8, int(width_m * 140))
    rgb, alpha = flat(rows, cols, colour), np.zeros((rows, cols), np.uint8)
    fill(alpha, [(1, 0), (cols - 1, 0), (cols * 0.8, rows - 1), (cols * 0.2, rows - 1)], 255)
    box(rgb, 0, rows * 6 / 7, cols, rows, end)
    return _cloth(rng, rgb, alpha)


def _trunk_and_head(rng: Rng, top: Colour, skin: Colour, hair: Colour, *, helmet: bool, bag: bool) -> Texture:
    """From hips to crown, 0.56 m by 0.92 m."""
    rows, cols = 138, 84
    rgb, alpha = flat(rows, cols, top), np.zeros((rows, cols), np.uint8)
    right = [(58, 38), (68, 46), (70, 64), (64, 100), (66, rows)]
    fill(alpha, [*right, *((cols - x, y) for x, y in reversed(right))], 255)
    disc(alpha, 42, 18, 14, 17, 255)
    alpha[28:42, 35:50] = 255
    rgb[:40] = skin
    disc(rgb, 42, 12, 17, 14 if helmet else 17, hair)
    if bag:
        box(rgb, 24, 52, 60, 108, times(top, 0.5))
    return _cloth(rng, rgb, alpha)


def paint_walker(rng: Rng, *, sideways: bool) -> Figure:
    """A pedestrian seen from the side, or from behind; about 1.6 to 1.9 m tall."""
    tall = rng.uniform(0.9, 1.08)
    top, trousers = pick(rng, _CLOTHES, 12), pick(rng, _CLOTHES[:5], 10)
    skin, shoe = pick(rng, _SKINS, 8), (26, 24, 24)
    hair = pick(rng, [(40, 30, 24), (24, 22, 22), (130, 100, 60), (120, 118, 116)], 8)
    leg, hip = _limb(rng, 0.86, 0.2, trousers, shoe), 0.86 * tall
    arm = _limb(rng, 0.62, 0.13, times(top, 0.9), skin)
    body = _trunk_and_head(rng, top, skin, hair, helmet=False, bag=bool(rng.random() < 0.4))
    thin = 0.72 if sideways else 1.0
    stride, lift, reach = (0.42, 0.0, 0.5) if sideways else (0.03, 0.14, 0.06)
    apart = 0.02 if sideways else 0.075
    shoulder = hip + 0.6 * tall
    parts = []
    for side in (-1.0, 1.0):
        phase = 0.0 if side < 0 else np.pi
        x = side * apart
        parts.append(
            Part(leg, (x - 0.1, -hip, 0.01 * side), (0.2, 0, 0), (0, hip, 0), swing=stride, lift=lift, phase=phase)
        )
        x, z = side * (apart + (0.0 if sideways else 0.12)), -0.04 * side if sideways else 0.005
        down = (0, 0.62 * tall, 0)
        parts.append(Part(arm, (x - 0.065, -shoulder, z), (0.13, 0, 0), down, swing=reach, phase=phase + np.pi))
    wide = 0.56 * thin
    parts.append(Part(body, (-wide / 2, -hip - 0.88 * tall, 0), (wide, 0, 0), (0, 0.92 * tall, 0), bob_m=0.012))
    return Figure(tuple(parts), (0.7, 0.6))


def paint_rider(rng: Rng, *, sideways: bool) -> Figure:
    """A bicycle with its rider, seen from the side or from behind."""
    top, trousers, skin = pick(rng, _CLOTHES, 14), pick(rng, _CLOTHES[:5], 10), pick(rng, _SKINS, 8)
    frame = pick(rng, [(30, 30, 32), (150, 30, 30), (40, 70, 140), (180, 180, 178)], 10)
    helmet = bool(rng.random() < 0.5)
    hair = pick(rng, [(220, 220, 216), (40, 60, 140), (30, 30, 30)], 10) if helmet else (40, 32, 28)
    body = _trunk_and_head(rng, top, skin, hair, helmet=helmet, bag=bool(rng.random() < 0.5))
    leg, parts = _limb(rng, 0.72, 0.18, trousers, (24, 24, 24)), []
    if sideways:
        parts.append(Part(_bicycle_side(frame), (-0.9, -1.05, 0.0), (1.8, 0, 0), (0, 1.05, 0)))
    else:
        parts.append(Part(_bicycle_back(frame), (-0.3, -1.05, 0.02), (0.6, 0, 0), (0, 1.05, 0)))
    for side in (-1.0, 1.0):
        x, phase = (-0.12, 0.0) if sideways else (side * 0.11, 0.0)
        phase += 0.0 if side < 0 else np.pi
        swing, lift = (0.38, 0.12) if sideways else (0.02, 0.24)
        corner = (x - 0.09, -0.95, 0.015 * side if sideways else -0.01)
        parts.append(Part(leg, corner, (0.18, 0, 0), (0, 0.74, 0), swing=swing, lift=lift, phase=phase))
    wide, lean = (0.44, 0.2) if sideways else (0.56, 0.0)
    parts.append(Part(body, (-wide / 2 - 0.12 * bool(lean) + lean, -1.72, -0.005), (wide, 0, 0), (-lean, 0.86, 0)))
    if sideways:
        arm = _limb(rng, 0.6, 0.12, times(top, 0.85), skin)
        parts.append(Part(arm, (0.05, -1.42, -0.03), (0.08, 0.06, 0), (0.36, 0.42, 0)))
    return Figure(tuple(parts), (0.6, 1.6) if not sideways else (1.7, 0.5))


def _bicycle_side(frame: Colour) -> Texture:
    rows, cols = 126, 216
    rgb, alpha = flat(rows, cols, (24, 24, 26)), np.zeros((rows, cols), np.uint8)
    for x in (42, 174):
        cv2.circle(alpha, (x, 84), 39, (255,), 4, cv2.LINE_AA)
    tube = np.zeros_like(alpha)
    points = [(42, 84), (84, 30), (150, 28), (100, 84), (42, 84), (100, 84), (84, 22), (150, 28), (174, 84), (148, 14)]
    cv2.polylines(tube, [np.array(points, np.int32)], False, (255,), 5, cv2.LINE_AA)
    rgb[tube > 60] = frame
    # People label the wheels as full discs.
    cover = np.maximum(alpha, tube)
    for x in (42, 174):
        disc(cover, x, 84, 40, 40, 255)
    return Texture(rgb, np.maximum(alpha, tube), cover=cover)


def _bicycle_back(frame: Colour) -> Texture:
    rows, cols = 126, 72
    rgb, alpha = flat(rows, cols, (20, 20, 22)), np.zeros((rows, cols), np.uint8)
    disc(alpha, 36, 84, 4, 41, 255)
    alpha[8:13, 4:68] = 255
    alpha[10:60, 33:39] = 255
    rgb[:50] = frame
    disc(rgb, 36, 46, 4, 4, (200, 30, 30))
    return Texture(rgb, alpha)
