# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street of the synthetic drive: what stands and moves where, chunk by chunk, each drawn from the seed alone.

World coordinates in metres: x to the right of the street's middle, y down (the ground is 0), z along the street.
Everything is made of flat pieces: a texture on the parallelogram `corner + u * right + v * down`, u and v in 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vss_ros.data.synthetic_actors import Figure, Part
from vss_ros.data.synthetic_paint import Texture

Matrices = npt.NDArray[np.float64]

GROUND_ID = 1
_PIECES_PER_CHUNK = 4096
_CHUNKS_BEFORE = 64

# Drawing order: ground first, then what only darkens it, then everything that stands.
LAYER_GROUND, LAYER_DECAL, LAYER_THING = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """How one flat piece looks; `ident` is its name through time, pieces of one plane may share it."""

    texture: Texture
    label: int
    ident: int
    layer: int = LAYER_THING
    gain: float = 1.0
    one_sided: bool = False


class Thing:
    """Pieces that move together: straight on at a constant speed, limbs swinging with a phase.

    Args:
        pieces: looks, one per part.
        parts: shapes, in the thing's own coordinates.
        place: x and z at time `passed_s`.
        speed: x and z in m/s.
        passed_s: when the camera comes by, so that things that move are met.
        stride_hz: strides per second of the limbs.
        flipped_m: turned round to face the viewer; the value is its length along z, None for not turned.
        footprint_m: across and along, for its shadow; None for things without one.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        parts: Sequence[Part],
        place: tuple[float, float],
        *,
        speed: tuple[float, float] = (0.0, 0.0),
        passed_s: float = 0.0,
        stride_hz: float = 0.0,
        flipped_m: float | None = None,
        footprint_m: tuple[float, float] | None = None,
    ) -> None:
        self.footprint_m = footprint_m
        self.pieces = tuple(pieces)
        self.moves = speed != (0.0, 0.0) or stride_hz != 0.0
        self._place, self._speed, self._passed_s = place, speed, passed_s
        self._turns_per_s = 2 * np.pi * stride_hz
        shape = np.array([[part.right, part.down, part.corner] for part in parts], np.float64).transpose(0, 2, 1)
        if flipped_m is not None:
            shape[:, 0], shape[:, 2] = -shape[:, 0], -shape[:, 2]
            shape[:, 2, 2] += flipped_m
        self._shape: Matrices = np.ascontiguousarray(shape)
        self._swing = np.array([part.swing for part in parts])
        self._lift = np.array([part.lift for part in parts])
        self._bob_m = np.array([part.bob_m for part in parts])
        self._phase = np.array([part.phase for part in parts])

    def place_at(self, time_s: float) -> tuple[float, float]:
        """x and z at that time."""
        since = time_s - self._passed_s
        return self._place[0] + self._speed[0] * since, self._place[1] + self._speed[1] * since

    def follower(self, piece: Piece, part: Part, behind_m: float = 0.0) -> Thing:
        """One more piece that goes where this thing goes."""
        place = (self._place[0], self._place[1] + behind_m)
        return Thing([piece], [part], place, speed=self._speed, passed_s=self._passed_s)

    def pose(self, time_s: float) -> Matrices:
        """`(M, 3, 3)` float64: columns right, down, corner of each piece in the world."""
        pose: Matrices = self._shape.copy()
        if self._turns_per_s:
            phase = self._turns_per_s * (time_s - self._passed_s) + self._phase
            pose[:, :, 1] *= (1 - self._lift * (0.5 + 0.5 * np.sin(phase)))[:, None]
            middle = pose[:, :, 2] + pose[:, :, 0] / 2
            angle = self._swing * np.sin(phase)
            cos, sin = np.cos(angle), np.sin(angle)
            for axis in (0, 1):
                x, y = pose[:, 0, axis].copy(), pose[:, 1, axis].copy()
                pose[:, 0, axis], pose[:, 1, axis] = cos * x - sin * y, sin * x + cos * y
            pose[:, :, 2] = middle - pose[:, :, 0] / 2
            pose[:, 1, 2] += self._bob_m * np.cos(2 * phase)
        x, z = self.place_at(time_s)
        pose[:, 0, 2] += x
        pose[:, 2, 2] += z
        return pose


@dataclass(frozen=True, slots=True)
class Chunk:
    """All things of one stretch of street; what stands still is posed once."""

    still: tuple[Piece, ...]
    still_pose: Matrices
    movers: tuple[Thing, ...]


def make_chunk(things: Sequence[Thing]) -> Chunk:
    """Sorts things into those that stand and those that move."""
    standing = [thing for thing in things if not thing.moves]
    pieces = tuple(piece for thing in standing for piece in thing.pieces)
    pose = np.concatenate([thing.pose(0.0) for thing in standing]) if standing else np.zeros((0, 3, 3))
    return Chunk(pieces, pose, tuple(thing for thing in things if thing.moves))


def upright(texture: Texture, width_m: float, height_m: float, *, lift_m: float = 0.0, mirror: bool = False) -> Part:
    """A rectangle facing down the street, standing on the ground or `lift_m` above it."""
    half = -width_m / 2 if mirror else width_m / 2
    return Part(texture, (-half, -height_m - lift_m, 0), (2 * half, 0, 0), (0, height_m, 0))


def lying(texture: Texture, width_m: float, length_m: float, *, rise_m: float = 0.0) -> Part:
    """A rectangle on the ground centred on the place; the texture's top is the far end."""
    return Part(texture, (-width_m / 2, -rise_m, length_m / 2), (width_m, 0, 0), (0, 0, -length_m))


def along(texture: Texture, side: int, length_m: float, height_m: float) -> Part:
    """A rectangle parallel to the street, facing it from the given side, from the place on to the far end."""
    if side > 0:
        return Part(texture, (0, -height_m, length_m), (0, 0, -length_m), (0, height_m, 0))
    return Part(texture, (0, -height_m, 0), (0, 0, length_m), (0, height_m, 0))


class Idents:
    """Hands out names of pieces within one chunk."""

    def __init__(self, chunk: int) -> None:
        # The sky is 0, the ground is 1; the first chunks have small negative numbers.
        first = (chunk + _CHUNKS_BEFORE) * _PIECES_PER_CHUNK
        self._names: Iterator[int] = iter(range(first, first + _PIECES_PER_CHUNK))

    def pieces(self, figure: Figure, label: int, gain: float = 1.0) -> list[Piece]:
        """The looks of a figure's parts."""
        return [
            Piece(part.texture, label, next(self._names), gain=gain, one_sided=part.one_sided) for part in figure.parts
        ]

    def piece(self, texture: Texture, label: int, *, gain: float = 1.0, one_sided: bool = False) -> Piece:
        """The look of one upright rectangle."""
        return Piece(texture, label, next(self._names), gain=gain, one_sided=one_sided)


@lru_cache(maxsize=8)
def unit_corners() -> Matrices:
    """`(3, 4)`: the texture's corners in order round it, homogeneous."""
    corners = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]], np.float64)
    corners.setflags(write=False)
    return corners
