# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lies flat in the synthetic drive: road, markings, pavement, verge; and the sky with its far skyline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vss_ros.core.frame import UInt8Array
from vss_ros.data.synthetic_paint import (
    PX_PER_M,
    Colour,
    Float,
    Rng,
    Texture,
    box,
    flat,
    fractal,
    jitter,
    pick,
    shade,
    speckle,
    times,
    to_bytes,
)

SKY, BUILDING, POLE, ROAD, SIDEWALK, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

CHUNK_M = 24.0
_WHITE = (205, 205, 200)
_YELLOW = (190, 160, 60)


@dataclass(frozen=True, slots=True)
class Street:
    """The measures and materials of one street, all in metres from its middle line.

    `side` is -1 for left-hand traffic, +1 for right-hand; `verge_m` lies between pavement and buildings.
    """

    half_road_m: float
    pavement_m: float
    verge_m: float
    side: int
    asphalt: Colour
    paving: Colour
    kerb: Colour
    grass: Colour
    edge_line: str
    sunny: float

    @property
    def half_m(self) -> float:
        """From the middle to the building line."""
        return self.half_road_m + self.pavement_m + self.verge_m


def make_street(rng: Rng) -> Street:
    """A street drawn at random."""
    grey = rng.uniform(60, 125)
    return Street(
        half_road_m=rng.uniform(3.6, 5.4),
        pavement_m=rng.uniform(1.8, 3.4),
        verge_m=float(rng.choice([0.0, 0.0, rng.uniform(1.5, 4.0)])),
        side=int(rng.choice([-1, 1])),
        asphalt=jitter(rng, (grey, grey, grey * rng.uniform(0.96, 1.06)), 4),
        paving=pick(rng, [(150, 145, 138), (120, 116, 112), (165, 150, 135), (135, 120, 110), (110, 112, 118)], 10),
        kerb=pick(rng, [(170, 168, 160), (140, 138, 134)], 8),
        grass=pick(rng, [(70, 92, 42), (95, 100, 58), (60, 78, 40)], 8),
        edge_line=str(rng.choice(["none", "yellow", "white", "double yellow"])),
        sunny=float(rng.uniform(0, 1)),
    )


def paint_chunk(rng: Rng, street: Street, kind: str) -> Texture:
    """One chunk of street seen from above, far end first; kind is `plain`, `zebra`, `arrow` or `junction`."""
    rows, cols = int(CHUNK_M * PX_PER_M), int(2 * street.half_m * PX_PER_M)
    labels = np.full((rows, cols), ROAD, np.uint8)
    rgb = speckle(rng, flat(rows, cols, street.asphalt), 0.06)
    rgb = shade(rgb, 1 + _fade_ends(0.28 * fractal(rng, rows, cols, coarsest=4) - 0.14))
    _tracks(rng, rgb, street)
    for _ in range(int(rng.integers(0, 4))):
        _patch_or_manhole(rng, rgb)
    _markings(rng, rgb, street, kind)
    _pavements(rng, rgb, labels, street, kind)
    return Texture(shade(rgb, _shadows(rng, rows, cols, street)), labels=labels)


def _fade_ends(change: Float) -> Float:
    """Towards 0 at both ends, so that chunks meet without a seam; `(rows, ...)`."""
    rows = change.shape[0]
    ends = np.minimum(np.arange(rows), np.arange(rows)[::-1]) / (rows / 10)
    weight = np.minimum(ends, 1).astype(np.float32)
    return np.asarray(change * weight.reshape(-1, *[1] * (change.ndim - 1)), np.float32)


def paint_outside(rng: Rng, street: Street, kind: str) -> Texture:
    """Ground beyond the building line, one chunk long: the crossing road, or yard."""
    rows, cols = int(CHUNK_M * 6), 64
    yard = street.grass if rng.random() < 0.5 else street.paving
    labels = np.full((rows, cols), TREE if yard == street.grass else SIDEWALK, np.uint8)
    rgb = flat(rows, cols, yard)
    if kind == "junction":
        top, bottom = int(rows * 0.3), int(rows * 0.7)
        rgb[top:bottom], labels[top:bottom] = street.asphalt, ROAD
        for first, last in ((top - 10, top), (bottom, bottom + 10)):
            rgb[first:last], labels[first:last] = street.paving, SIDEWALK
    return Texture(shade(speckle(rng, rgb, 0.05), 0.8 + 0.3 * fractal(rng, rows, cols)), labels=labels)


def paint_far_ground(street: Street, half_m: float) -> Texture:
    """The same cross-section over and over, for the strip below the horizon."""
    cols = 400
    x = (np.arange(cols) + 0.5) / cols * 2 * half_m - half_m
    road, paved = np.abs(x) < street.half_road_m, np.abs(x) < street.half_m
    labels = np.where(road, ROAD, np.where(paved, SIDEWALK, BUILDING)).astype(np.uint8)
    colours = np.where(road[:, None], street.asphalt, np.where(paved[:, None], street.paving, (95, 92, 88)))
    return Texture(np.repeat(colours[None].astype(np.uint8), 8, 0), labels=np.repeat(labels[None], 8, 0))


def paint_sky(rng: Rng, rows: int = 420, cols: int = 900, horizon: float = 0.8) -> Texture:
    """The sky and what stands at its edge; the horizon lies at that part of the height."""
    above = int(rows * horizon)
    low, high = _sky_colours(rng)
    height = np.linspace(0, 1, above, dtype=np.float32)[:, None, None]
    rgb = np.empty((rows, cols, 3), np.float32)
    rgb[:above] = np.array(high, np.float32) * (1 - height) + np.array(low, np.float32) * height
    rgb[above:] = np.array(low) * 0.5
    clouds = cv2.resize(fractal(rng, above, cols // 2, coarsest=4, octaves=6), (cols, above))
    amount = rng.uniform(0.3, 0.75)
    cover = np.clip((clouds - amount) * 4, 0, 1)[:, :, None] * rng.uniform(0.3, 1.0)
    lit = np.float32(rng.uniform(150, 252)) * (0.85 + 0.15 * clouds[:, :, None])
    rgb[:above] = rgb[:above] * (1 - cover) + lit * cover
    labels = np.full((rows, cols), SKY, np.uint8)
    painted = to_bytes(rgb)
    _skyline(rng, painted, labels, above, np.array(low, np.float32))
    return Texture(painted, labels=labels)


def _sky_colours(rng: Rng) -> tuple[Colour, Colour]:
    """Colours at the horizon and above, from blue day through white haze to a dark afternoon."""
    looks = [
        ((205, 220, 235), (96, 146, 208)),
        ((235, 240, 246), (150, 190, 232)),
        ((246, 246, 246), (232, 238, 244)),
        ((190, 195, 200), (140, 148, 158)),
        ((150, 155, 165), (84, 94, 112)),
        ((230, 205, 180), (120, 140, 180)),
    ]
    low, high = looks[int(rng.integers(len(looks)))]
    return jitter(rng, low, 6), jitter(rng, high, 8)


def _skyline(rng: Rng, rgb: UInt8Array, labels: UInt8Array, above: int, haze: Float) -> None:
    """Far houses and trees, paled by the air in front of them."""
    cols, x = rgb.shape[1], 0
    while x < cols:
        width = int(rng.integers(12, 60))
        grow_trees = rng.random() < 0.5
        top = rng.uniform(6, 34) * np.ones(width)
        if grow_trees:
            top = 8 + 26 * fractal(rng, 4, width, coarsest=3)[0]
        tones = [(70, 82, 52)] if grow_trees else [(120, 100, 88), (150, 140, 128), (100, 98, 100)]
        colour = np.array(pick(rng, tones), np.float32) * 0.6 + haze * 0.4
        for column in range(x, min(x + width, cols)):
            first = above - int(top[column - x])
            rgb[first : above + 40, column] = colour * rng.uniform(0.92, 1.06)
            labels[first : above + 40, column] = TREE if grow_trees else BUILDING
        x += width


def _tracks(rng: Rng, rgb: UInt8Array, street: Street) -> None:
    """Darker or lighter wheel tracks along both lanes."""
    cols = rgb.shape[1]
    x = ((np.arange(cols) + 0.5) / PX_PER_M - street.half_m).astype(np.float32)
    profile = np.ones(cols, np.float32)
    strength = rng.uniform(-0.1, 0.1)
    for lane in (-1, 1):
        for wheel in (-0.8, 0.8):
            profile += np.float32(strength) * np.exp(-(((x - lane * street.half_road_m / 2 - wheel) / 0.3) ** 2))
    rgb[:] = shade(rgb, np.broadcast_to(profile, rgb.shape[:2]))


def _patch_or_manhole(rng: Rng, rgb: UInt8Array) -> None:
    rows, cols = rgb.shape[:2]
    x, y = int(cols * rng.uniform(0.3, 0.7)), int(rows * rng.uniform(0.05, 0.9))
    if rng.random() < 0.4:
        cv2.circle(rgb, (x, y), int(0.32 * PX_PER_M), times(rgb[y, x], 0.6), -1, cv2.LINE_AA)
        return
    width, height = int(rng.uniform(0.6, 2.4) * PX_PER_M), int(rng.uniform(0.8, 6) * PX_PER_M)
    part = rgb[y : y + height, x : x + width]
    part[:] = shade(part, np.full(part.shape[:2], rng.uniform(0.75, 1.12), np.float32))


def _markings(rng: Rng, rgb: UInt8Array, street: Street, kind: str) -> None:
    px, middle, rows = PX_PER_M, rgb.shape[1] / 2, rgb.shape[0]
    worn = jitter(rng, _WHITE, 14)
    if kind != "junction":
        for start in np.arange(0, CHUNK_M, 6.0):
            box(rgb, middle - 0.07 * px, start * px, middle + 0.07 * px, (start + 3) * px, worn)
        edge = street.half_road_m - 0.3
        for line in (-1, 1) if street.edge_line != "none" else ():
            colour = _YELLOW if "yellow" in street.edge_line else worn
            for inset in (0.0, 0.22) if "double" in street.edge_line else (0.0,):
                x = middle + line * (edge - inset) * px
                box(rgb, x - 0.05 * px, 0, x + 0.05 * px, rows, colour)
    if kind == "zebra":
        for x in np.arange(-street.half_road_m + 0.3, street.half_road_m - 0.3, 1.0):
            box(rgb, middle + x * px, 10 * px, middle + (x + 0.5) * px, 13.5 * px, worn)
    if kind == "junction":
        for lane, z in ((street.side, 18.4), (-street.side, 5.6)):
            left, right = sorted((middle, middle + lane * (street.half_road_m - 0.2) * px))
            box(rgb, left, (z - 0.15) * px, right, (z + 0.15) * px, worn)
    if kind == "arrow":
        x, y = middle + street.side * street.half_road_m / 2 * px, 8 * px
        box(rgb, x - 0.09 * px, y, x + 0.09 * px, y + 3 * px, worn)
        head = np.array([(x - 0.5 * px, y), (x + 0.5 * px, y), (x, y - 1.6 * px)], np.int32)
        cv2.fillPoly(rgb, [head], worn, cv2.LINE_AA)


def _pavements(rng: Rng, rgb: UInt8Array, labels: UInt8Array, street: Street, kind: str) -> None:
    px, (rows, cols) = PX_PER_M, labels.shape
    width = int((street.pavement_m + street.verge_m) * px)
    paved = speckle(rng, flat(rows, width, street.paving), 0.04)
    slab_y, slab_x = int(rng.uniform(0.5, 0.9) * px), int(rng.uniform(0.4, 0.7) * px)
    paved[::slab_y] = paved[::slab_y] // 10 * 8
    paved[:, ::slab_x] = paved[:, ::slab_x] // 10 * 8
    paved = shade(paved, 0.85 + 0.25 * fractal(rng, rows, width, coarsest=6))
    marks = np.full((rows, width), SIDEWALK, np.uint8)
    verge = int(street.verge_m * px)
    if verge:  # the kerb is at the last column, the verge at the first
        lawn = speckle(rng, flat(rows, verge, street.grass), 0.16, cell=3)
        paved[:, :verge], marks[:, :verge] = shade(lawn, 0.7 + 0.5 * fractal(rng, rows, verge, coarsest=12)), TREE
    kerb = int(0.14 * px)
    paved[:, -kerb:] = street.kerb
    paved[:, -kerb - 3 : -kerb] = times(street.kerb, 0.6)
    stretch = np.ones(rows, bool)
    if kind == "junction":
        stretch[int(rows * 0.3) : int(rows * 0.7)] = False
    rgb[stretch, :width], labels[stretch, :width] = paved[stretch], marks[stretch]
    rgb[stretch, cols - width :], labels[stretch, cols - width :] = paved[stretch, ::-1], marks[stretch, ::-1]


def _shadows(rng: Rng, rows: int, cols: int, street: Street) -> Float:
    """`(rows, cols)` brightness: the shade of houses along one side and of crowns, on sunny days only."""
    light = np.ones((rows, cols), np.float32)
    if street.sunny < 0.45:
        return light
    depth = np.float32(0.75 - 0.3 * street.sunny)
    small_rows, small_cols = rows // 4, cols // 4
    roofs = _fade_ends(0.5 * fractal(rng, 4, small_rows, coarsest=3, octaves=2)[0] - 0.2)
    reach = (0.45 + roofs) * (0.6 + 0.8 * (street.sunny - 0.45))
    shaded = (np.arange(small_cols)[None, :] / small_cols < reach[:, None]).astype(np.float32)
    dapple = _fade_ends((fractal(rng, small_rows, small_cols, coarsest=10) > 0.72).astype(np.float32))
    mask = cv2.resize(cv2.blur(np.maximum(shaded, dapple * 0.7), (5, 5)), (cols, rows))
    return np.asarray(light - (1 - depth) * mask, np.float32)
