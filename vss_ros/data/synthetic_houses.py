# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painted house fronts of the synthetic drive: brick, plaster and offices, with windows, doors and shops."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vss_ros.core.frame import UInt8Array
from vss_ros.data.synthetic_ground import BUILDING, SIGN
from vss_ros.data.synthetic_paint import (
    PX_PER_M,
    Colour,
    Rng,
    Texture,
    box,
    fill,
    flat,
    fractal,
    jitter,
    pick,
    shade,
    speckle,
    times,
    to_bytes,
)

_WALLS = [
    (128, 70, 52), (150, 96, 70), (168, 140, 104), (186, 164, 128), (206, 198, 180), (222, 218, 208), (176, 172, 166),
    (112, 104, 98), (92, 66, 54), (196, 178, 150), (150, 160, 168), (208, 186, 168),
]  # fmt: skip
_PAINTS = [(30, 60, 40), (120, 24, 30), (24, 36, 80), (30, 30, 32), (200, 190, 170), (40, 110, 120), (190, 60, 40)]
_ROOFS = [(96, 62, 50), (72, 70, 74), (110, 84, 66), (60, 58, 60)]


@dataclass(frozen=True, slots=True)
class House:
    """One design: the front's texture with its size, the wall of its ends, the roof and its gable."""

    front: Texture
    end: Texture
    roof: Texture | None
    gable: Texture | None
    width_m: float
    height_m: float
    roof_m: float


def paint_house(rng: Rng) -> House:
    """A house drawn at random, 6 to 16 m wide, 1 to 5 storeys."""
    storeys = int(rng.choice([1, 2, 2, 3, 3, 4, 5]))
    ground_m, storey_m = rng.uniform(2.9, 4.0), rng.uniform(2.6, 3.2)
    height_m = ground_m + storey_m * (storeys - 1) + rng.uniform(0.3, 1.0)
    width_m = rng.uniform(6, 16)
    wall = pick(rng, _WALLS, 14)
    rows, cols = int(height_m * PX_PER_M), int(width_m * PX_PER_M)
    brick = rng.random() < 0.5
    front = _wall(rng, rows, cols, wall, brick)
    labels = np.full((rows, cols), BUILDING, np.uint8)
    if rng.random() < 0.2 and storeys > 2:
        _office(rng, front, ground_m, storey_m)
    else:
        _storeys(rng, front, wall, ground_m, storey_m, storeys)
    ground_top = rows - int(ground_m * PX_PER_M)
    if rng.random() < 0.55:
        _shop(rng, front, labels, ground_top)
    else:
        _doors(rng, front, wall, ground_top)
    _trim(rng, front, wall)
    weathered = shade(front, 0.88 + 0.2 * fractal(rng, rows, cols, coarsest=3))
    end = Texture(_wall(rng, rows // 2, PX_PER_M * 4, wall, brick))
    roof_m = float(rng.choice([0.0, rng.uniform(1.8, 3.4)]))
    roof = Texture(_roof(rng, cols)) if roof_m else None
    gable = _gable(end.rgb) if roof_m else None
    return House(Texture(weathered, labels=labels), end, roof, gable, width_m, height_m, roof_m)


def paint_low_wall(rng: Rng) -> Texture:
    """A garden wall, 1 m high and 8 m long."""
    rgb = _wall(rng, PX_PER_M, PX_PER_M * 8, pick(rng, _WALLS[:4], 12), True)
    rgb[: PX_PER_M // 10] = rgb[: PX_PER_M // 10] // 4 + 130
    return Texture(rgb)


def _wall(rng: Rng, rows: int, cols: int, colour: Colour, brick: bool) -> UInt8Array:
    if not brick:
        return speckle(rng, flat(rows, cols, colour), 0.03)
    tones = rng.normal(1, 0.12, (rows // 3 + 1, cols // 8 + 1)).astype(np.float32)
    tones = np.repeat(np.repeat(tones, 3, 0), 8, 1)[:rows, :cols]
    rgb = shade(flat(rows, cols, colour), tones)
    rgb[::3] = rgb[::3] // 5 * 4 + 26
    return rgb


def _roof(rng: Rng, cols: int) -> UInt8Array:
    rgb = speckle(rng, flat(3 * PX_PER_M, cols, pick(rng, _ROOFS, 8)), 0.08, cell=2)
    rgb[::8] = rgb[::8] // 10 * 7
    return shade(rgb, 0.85 + 0.25 * fractal(rng, rgb.shape[0], cols))


def _gable(wall: UInt8Array) -> Texture:
    """The triangle under the roof at a house's end."""
    rows, cols = wall.shape[:2]
    alpha = np.zeros((rows, cols), np.uint8)
    fill(alpha, [(0, rows), (cols / 2, 0), (cols, rows)], 255)
    return Texture(wall, alpha)


def _glass(rng: Rng, height: int, width: int) -> UInt8Array:
    """A pane: dark room, or the sky and the houses opposite mirrored; sometimes curtains or a lamp."""
    kind, dark = rng.random(), rng.uniform(18, 60)
    top = np.array([dark, dark * 1.05, dark * 1.15], np.float32)
    bottom = top * rng.uniform(0.5, 1.2)
    if kind < 0.35:
        top = np.array(jitter(rng, (130, 150, 175), 18), np.float32)
    down = np.linspace(0, 1, max(height, 2), dtype=np.float32)[:, None, None]
    pane = np.repeat(top * (1 - down) + bottom * down, max(width, 2), 1)
    if 0.35 < kind < 0.55:
        part = max(2, width // 5)
        pane[:, :part] = pane[:, -part:] = jitter(rng, (170, 165, 155), 14)
    if kind > 0.95:
        pane[:] = jitter(rng, (225, 195, 140), 12)
    return to_bytes(pane)


def _window(rng: Rng, rgb: UInt8Array, rect: tuple[int, int, int, int], frame: Colour, bars: tuple[int, int]) -> None:
    """A window at `(left, top, width, height)` px with `bars` panes across and down."""
    left, top, width, height = rect
    if left < 0 or top < 0 or left + width > rgb.shape[1] or top + height > rgb.shape[0] or min(width, height) < 6:
        return
    box(rgb, left - 2, top - 2, left + width + 2, top + height + 2, times(frame, 0.55))
    box(rgb, left - 1, top - 1, left + width + 1, top + height + 1, frame)
    rgb[top + 2 : top + height - 2, left + 2 : left + width - 2] = _glass(rng, height - 4, width - 4)
    across, down = bars
    for i in range(1, across):
        box(rgb, left + width * i / across - 1, top, left + width * i / across + 1, top + height, frame)
    for i in range(1, down):
        box(rgb, left, top + height * i / down - 1, left + width, top + height * i / down + 1, frame)
    box(rgb, left - 4, top + height, left + width + 4, top + height + 4, times(frame, 0.85))


def _storeys(rng: Rng, rgb: UInt8Array, wall: Colour, ground_m: float, storey_m: float, storeys: int) -> None:
    px, (rows, cols) = PX_PER_M, rgb.shape[:2]
    width, height = int(rng.uniform(0.8, 1.5) * px), int(rng.uniform(1.2, 1.9) * px)
    bays = max(1, int(cols / (width + rng.uniform(0.7, 1.4) * px)))
    frame = pick(rng, [(225, 224, 218), (60, 56, 52), (190, 186, 176), (235, 235, 232)], 8)
    bars = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    lintel = rng.random() < 0.5
    for storey in range(1, storeys):
        top = rows - int((ground_m + storey_m * storey - 0.5) * px)
        for bay in range(bays):
            left = int((bay + 0.5) * cols / bays - width / 2)
            if lintel:
                box(rgb, left - 5, top - 8, left + width + 5, top - 2, times(wall, 1.3))
            _window(rng, rgb, (left, top, width, height), frame, bars)
    if rng.random() < 0.4 and storeys > 1:
        y = rows - int(ground_m * px)
        box(rgb, 0, y - 6, cols, y, times(wall, 1.25))


def _office(rng: Rng, rgb: UInt8Array, ground_m: float, storey_m: float) -> None:
    """Bands of windows from end to end."""
    px, (rows, cols) = PX_PER_M, rgb.shape[:2]
    frame, y = pick(rng, [(200, 200, 200), (70, 72, 76)], 8), rows - ground_m * px
    pane = int(rng.uniform(0.9, 1.8) * px)
    while y - storey_m * px > 0:
        for left in range(4, cols - pane, pane):
            _window(rng, rgb, (left, int(y - storey_m * px * 0.8), pane - 3, int(storey_m * px * 0.55)), frame, (1, 1))
        y -= storey_m * px


def _shop(rng: Rng, rgb: UInt8Array, labels: UInt8Array, top: int) -> None:
    """Ground floor of glass under a coloured board with writing, which counts as a sign."""
    px, (rows, cols) = PX_PER_M, rgb.shape[:2]
    paint, ink = pick(rng, _PAINTS, 12), pick(rng, [(235, 230, 215), (230, 200, 90), (20, 20, 24)], 6)
    board = int(rng.uniform(0.5, 0.85) * px)
    box(rgb, 0, top, cols, rows, paint)
    left = 0
    while left < cols - px:
        wide = int(rng.uniform(1.2, 3.2) * px)
        low = rows - (4 if rng.random() < 0.25 else int(rng.uniform(0.3, 0.6) * px))
        pane = (left + 6, top + board + 8, min(wide, cols - left - 14), low - top - board - 12)
        _window(rng, rgb, pane, paint, (1, 1))
        for _ in range(3):  # goods and posters behind the glass
            x, y = left + 10 + int(rng.random() * max(wide - 30, 1)), top + board + int(rng.uniform(0.5, 1.6) * px)
            if x + 26 < min(left + wide, cols) and rng.random() < 0.6:
                box(rgb, x, y, x + rng.uniform(8, 24), y + rng.uniform(8, 28), jitter(rng, (150, 110, 90), 60))
        left += wide + 8
    box(rgb, 0, top, cols, top + board, times(paint, 1.15))
    text = "".join(chr(int(c)) for c in rng.integers(65, 91, int(rng.integers(4, 11))))
    scale = board / 44
    width, height = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 2)[0]
    if width < cols - 20:
        x = (cols - width) // 2
        cv2.putText(rgb, text, (x, top + (board + height) // 2), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 2, cv2.LINE_AA)
        labels[top : top + board, x - 6 : x + width + 6] = SIGN


def _doors(rng: Rng, rgb: UInt8Array, wall: Colour, top: int) -> None:
    px, (rows, cols) = PX_PER_M, rgb.shape[:2]
    frame, left = pick(rng, [(228, 226, 220), (70, 66, 60)], 8), int(rng.uniform(0.3, 1.2) * px)
    while left < cols - 2 * px:
        if rng.random() < 0.3:
            box(rgb, left - 4, top + 0.6 * px, left + 1.05 * px + 4, rows, frame)
            box(rgb, left, top + 0.7 * px, left + 1.05 * px, rows, pick(rng, _PAINTS, 14))
        else:
            rect = (left, top + int(0.8 * px), int(1.3 * px), int(1.4 * px))
            _window(rng, rgb, rect, frame, (2, 2))
        left += int(rng.uniform(1.8, 2.8) * px)
    if rng.random() < 0.4:
        box(rgb, 0, rows - 0.5 * px, cols, rows, times(wall, 0.6))


def _trim(rng: Rng, rgb: UInt8Array, wall: Colour) -> None:
    """Cornice, drain pipe, and the darker foot where splashes land."""
    px, (rows, cols) = PX_PER_M, rgb.shape[:2]
    box(rgb, 0, 0, cols, 0.25 * px, times(wall, rng.uniform(0.6, 1.35)))
    box(rgb, 0, 0.25 * px, cols, 0.32 * px, times(wall, 0.5))
    if rng.random() < 0.6:
        box(rgb, cols - 0.3 * px, 0, cols - 0.2 * px, rows, times(wall, 0.4))
    box(rgb, 0, rows - 0.15 * px, cols, rows, times(wall, 0.5))
