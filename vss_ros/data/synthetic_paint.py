# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paint for the synthetic drive: textures with their averaged smaller copies, noise, and a few strokes.

A texture is painted once per drive; a frame only warps it. Sizes are given in metres, `PX_PER_M` says how fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vss_ros.core.frame import UInt8Array

Rng = np.random.Generator
Float = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

PX_PER_M = 40
_SMALLEST_PX = 2


class Texture:
    """A painted rectangle.

    Attributes:
        rgb: `(h, w, 3)` uint8.
        alpha: `(h, w)` uint8 opacity, or None where the whole rectangle is solid.
        cover: `(h, w)` uint8, above 127 where the thing is for its label; the alpha unless given. A bare tree's cover
            is its crown, because people label crowns, not twigs.
        labels: `(h, w)` uint8 where one rectangle holds several classes, or None.
    """

    def __init__(
        self,
        rgb: UInt8Array,
        alpha: UInt8Array | None = None,
        *,
        cover: UInt8Array | None = None,
        labels: UInt8Array | None = None,
    ) -> None:
        self.rgb, self.alpha, self.labels = rgb, alpha, labels
        self.cover = alpha if cover is None else cover
        self._levels: dict[tuple[str, int, int], UInt8Array] = {}

    def level(self, kind: str, across: int, down: int) -> UInt8Array:
        """The layer (`rgb`, `rgba` or `cover`) averaged over `2**across` by `2**down` px: distance must not flicker."""
        key = (kind, across, down)
        if key not in self._levels:
            full = self._full(kind)
            height, width = full.shape[:2]
            size = max(width >> across, _SMALLEST_PX), max(height >> down, _SMALLEST_PX)
            small = full if size == (width, height) else cv2.resize(full, size, interpolation=cv2.INTER_AREA)
            self._levels[key] = np.ascontiguousarray(small, np.uint8)
        return self._levels[key]

    def _full(self, kind: str) -> UInt8Array:
        if kind == "rgb":
            return self.rgb
        solid = np.full(self.rgb.shape[:2], 255, np.uint8)
        if kind == "cover":
            return solid if self.cover is None else self.cover
        return np.dstack([self.rgb, solid if self.alpha is None else self.alpha])


def fractal(rng: Rng, height: int, width: int, *, coarsest: int = 3, octaves: int = 5) -> Float:
    """`(height, width)` float32 cloud-like noise in 0..1; `coarsest` is the number of bumps across the longer side."""
    total: Float = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = coarsest << octave
        grid = rng.random((max(2, cells * height // max(height, width) + 2), cells + 2), np.float32)
        bumps = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(bumps, np.float32) * np.float32(0.5**octave)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def flat(height: int, width: int, colour: Sequence[float]) -> UInt8Array:
    """A one-coloured `(height, width, 3)` canvas."""
    return np.full((max(height, 2), max(width, 2), 3), np.clip(colour, 0, 255).astype(np.uint8), np.uint8)


def speckle(rng: Rng, rgb: UInt8Array, strength: float, *, cell: int = 1) -> UInt8Array:
    """Grain of a surface: the canvas with random brightness per cell of `cell` px."""
    height, width = rgb.shape[:2]
    grain: Float = rng.normal(0, strength, (height // cell + 1, width // cell + 1)).astype(np.float32)
    if cell > 1:
        grain = np.asarray(cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return shade(rgb, 1.0 + grain[:height, :width])


def to_bytes(values: npt.NDArray[Any]) -> UInt8Array:
    """Clipped to 0..255."""
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def shade(rgb: UInt8Array, factor: Float) -> UInt8Array:
    """The canvas times a `(h, w)` brightness."""
    return to_bytes(rgb * factor[:, :, None])


def jitter(rng: Rng, colour: Sequence[float], spread: float) -> Colour:
    """A colour like the given one."""
    common = rng.normal(0, spread)
    red, green, blue = (int(np.clip(c + common + rng.normal(0, spread / 3), 4, 250)) for c in colour)
    return red, green, blue


def pick(rng: Rng, colours: Sequence[Sequence[float]], spread: float = 12) -> Colour:
    """One of the colours, a little changed."""
    return jitter(rng, colours[int(rng.integers(len(colours)))], spread)


def times(colour: Sequence[float], factor: float) -> Colour:
    """A darker or lighter colour."""
    red, green, blue = (int(np.clip(c * factor, 0, 255)) for c in colour)
    return red, green, blue


def box(rgb: UInt8Array, left: float, top: float, right: float, bottom: float, colour: Sequence[float]) -> None:
    """Fills a rectangle given in px, clipped to the canvas."""
    height, width = rgb.shape[:2]
    x0, x1 = (int(np.clip(round(x), 0, width)) for x in (left, right))
    y0, y1 = (int(np.clip(round(y), 0, height)) for y in (top, bottom))
    rgb[y0:y1, x0:x1] = np.clip(colour, 0, 255).astype(np.uint8)


def fill(canvas: UInt8Array, points: Sequence[tuple[float, float]], value: Sequence[float] | int) -> None:
    """Fills a polygon given in px with smooth edges, on a colour canvas or a mask."""
    corners = np.round(np.array(points) * 16).astype(np.int32)
    colour = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA, 4)


def disc(canvas: UInt8Array, x: float, y: float, across: float, down: float, value: Sequence[float] | int) -> None:
    """Fills an ellipse with the given half axes in px."""
    centre, axes = (round(x * 16), round(y * 16)), (max(1, round(across * 16)), max(1, round(down * 16)))
    colour = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    cv2.ellipse(canvas, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, 4)


def spread_colour(rgb: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """Carries the colours of opaque pixels into the transparent ones, so that soft edges do not pick up black."""
    weight = (alpha.astype(np.float32) / 255)[:, :, None]
    side = max(3, (min(alpha.shape) // 8) | 1)
    around = cv2.blur(rgb * weight, (side, side)) / np.maximum(cv2.blur(weight, (side, side)), 1e-3)[:, :, None]
    return to_bytes(rgb * weight + around * (1 - weight))
