# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Furnishes the street of the synthetic drive: which houses, trees, cars and people each chunk gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from vss_ros.data.synthetic_actors import Figure, Part
from vss_ros.data.synthetic_ground import (
    BICYCLIST,
    BUILDING,
    CAR,
    CHUNK_M,
    FENCE,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    TREE,
    Street,
)
from vss_ros.data.synthetic_houses import House
from vss_ros.data.synthetic_paint import Rng
from vss_ros.data.synthetic_props import Prop
from vss_ros.data.synthetic_wardrobe import KINDS, make_habits, paint_wardrobe
from vss_ros.data.synthetic_world import (
    GROUND_ID,
    LAYER_DECAL,
    LAYER_GROUND,
    Chunk,
    Idents,
    Piece,
    Thing,
    along,
    lying,
    make_chunk,
    upright,
)

_OUTSIDE_M = 45.0
_FAR_M = 3000.0
# No street goes back that far: names for the car ahead, which belongs to no chunk.
_LEAD_CHUNK = -50
_KEPT_CHUNKS = 64
_One = TypeVar("_One")


class Town:
    """All chunks of one seed; `town.chunk(k)` covers z from `24 k` to `24 (k + 1)`.

    Args:
        seed: decides everything.
        street: measures and materials.
        speed: of the camera in m/s; things that move are timed to be met.
    """

    def __init__(self, seed: int, street: Street, speed: float) -> None:
        rng = np.random.default_rng([seed, 11])
        self.street, self._seed, self._speed = street, seed, speed
        self.wardrobe, self.habits = paint_wardrobe(rng, street), make_habits(rng)
        self._chunks: dict[int, Chunk] = {}

    def chunk(self, k: int) -> Chunk:
        """The things of one stretch; the same whenever it is asked for."""
        if k not in self._chunks:
            if len(self._chunks) >= _KEPT_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[k] = self._furnish(k)
        return self._chunks[k]

    def far_ground(self) -> Thing:
        """The ground beyond the last chunk, a hand's breadth below it."""
        texture = self.wardrobe.far
        piece = Piece(texture, ROAD, GROUND_ID, layer=LAYER_GROUND)
        part = lying(texture, 600.0, _FAR_M, rise_m=-0.1)
        return Thing([piece], [part], (0.0, _FAR_M / 2 - 60))

    def lead_car(self) -> Thing | None:
        """A car ahead in the camera's lane, in some streets; it slowly draws away."""
        rng = np.random.default_rng([self._seed, 12])
        if rng.random() < 0.45:
            return None
        figure, names = _one(rng, self.wardrobe.cars), Idents(_LEAD_CHUNK)
        place = self.street.side * self.street.half_road_m * 0.45, rng.uniform(9, 26)
        speed = self._speed + rng.uniform(-0.1, 0.6)
        pieces = names.pieces(figure, CAR)
        return Thing(pieces, figure.parts, place, speed=(0.0, speed), footprint_m=figure.shadow_m)

    def _furnish(self, k: int) -> Chunk:
        rng = np.random.default_rng([self._seed, 13, k + 100])
        names, start = Idents(k), k * CHUNK_M
        kind = str(rng.choice(KINDS, p=[0.5, 0.2, 0.13, 0.17])) if k > 0 else "plain"
        before = self._kind_before(k)
        things = list(self._ground(rng, kind, start))
        for side in (-1, 1):
            things += self._houses(rng, names, kind, before, side, start)
            things += self._border(rng, names, kind, side, start)
            things += self._furniture(rng, names, kind, side, start)
            things += self._parked(rng, names, kind, side, start)
        things += self._walkers(rng, names, kind, start)
        things += self._traffic(rng, names, start)
        things += [shadow for thing in things for shadow in self._shadow(thing)]
        return make_chunk(things)

    def _kind_before(self, k: int) -> str:
        if k <= 1:
            return "plain"
        rng = np.random.default_rng([self._seed, 13, k + 99])
        return str(rng.choice(KINDS, p=[0.5, 0.2, 0.13, 0.17]))

    def _ground(self, rng: Rng, kind: str, start: float) -> list[Thing]:
        texture, outside = _one(rng, self.wardrobe.chunks[kind]), self.wardrobe.outside[kind]
        half, middle = self.street.half_m, start + CHUNK_M / 2
        piece = Piece(texture, ROAD, GROUND_ID, layer=LAYER_GROUND)
        things = [Thing([piece], [lying(texture, 2 * half, CHUNK_M)], (0.0, middle))]
        for side in (-1, 1):
            yard = Piece(outside, ROAD, GROUND_ID, layer=LAYER_GROUND)
            part = lying(outside, _OUTSIDE_M, CHUNK_M)
            things.append(Thing([yard], [part], (side * (half + _OUTSIDE_M / 2), middle)))
        return things

    def _houses(self, rng: Rng, names: Idents, kind: str, before: str, side: int, start: float) -> list[Thing]:
        things: list[Thing] = []
        if kind == "junction":
            tree = _one(rng, self.wardrobe.trees)
            place = (side * (self.street.half_m + rng.uniform(4, 12)), start + CHUNK_M * 0.8)
            return [self._standing(names, tree, TREE, place)]
        gain, z, first = self.habits.light[side > 0], start, True
        while z < start + CHUNK_M - 1:
            house, left = _one(rng, self.wardrobe.houses), start + CHUNK_M - z
            if rng.random() < self.habits.gaps * 0.5 and left > 5:
                tree = _one(rng, self.wardrobe.trees)
                gap = rng.uniform(3, 5)
                things.append(self._standing(names, tree, TREE, (side * (self.street.half_m + 3), z + gap / 2)))
                z += gap
                continue
            width = min(house.width_m * rng.uniform(0.9, 1.1), left)
            width = left if left - width < 5 else width
            things += _house(names, house, side, (side * self.street.half_m, z), width, gain)
            if first and before == "junction":
                front = _one(rng, self.wardrobe.houses)
                x = side * (self.street.half_m + front.width_m / 2)
                part = upright(front.front, front.width_m, house.height_m)
                things.append(Thing([names.piece(front.front, BUILDING, gain=0.9)], [part], (x, z - 0.05)))
            z, first = z + width, False
        return things

    def _border(self, rng: Rng, names: Idents, kind: str, side: int, start: float) -> list[Thing]:
        """Fences, hedges and garden walls between pavement and verge, or railings at the kerb."""
        if kind == "junction":
            return []
        has_verge = self.street.verge_m > 0
        x = side * (self.street.half_road_m + (self.street.pavement_m if has_verge else 0.3))
        things: list[Thing] = []
        for z in np.arange(start, start + CHUNK_M - 1, 8.0):
            if rng.random() > self.habits.fences * (1.0 if has_verge else 0.3):
                continue
            choice = int(rng.integers(3)) if has_verge else 0
            texture = (self.wardrobe.fence, self.wardrobe.hedge, self.wardrobe.wall)[choice]
            label, height = (FENCE, TREE, BUILDING)[choice], (1.25, rng.uniform(1.1, 2.0), 1.0)[choice]
            # The street side of a border faces the camera, at the kerb as well as at the verge.
            part = along(texture, side, 8.0, height)
            things.append(Thing([names.piece(texture, label)], [part], (x, float(z))))
            if has_verge and rng.random() < self.habits.trees * 0.6:
                place = (x + side * rng.uniform(0.8, 1.6), float(z) + rng.uniform(1, 7))
                things.append(self._standing(names, _one(rng, self.wardrobe.trees), TREE, place))
        return things

    def _furniture(self, rng: Rng, names: Idents, kind: str, side: int, start: float) -> list[Thing]:
        kerb = side * (self.street.half_road_m + 0.45)
        things, dress = [], self.wardrobe
        if rng.random() < 0.6:
            part = upright(dress.lamp.texture, dress.lamp.width_m, dress.lamp.height_m, mirror=side > 0)
            place = (kerb - side * 0.9, start + rng.uniform(0, 4))
            things.append(Thing([names.piece(dress.lamp.texture, POLE)], [part], place))
        for z in (6.0, 14.0, 21.0):
            if kind != "junction" and rng.random() < self.habits.trees * 0.7:
                tree, x = _one(rng, dress.trees), kerb + side * rng.uniform(0.2, 0.6)
                things.append(self._standing(names, tree, TREE, (x, start + z + rng.uniform(-1, 1))))
        if rng.random() < 0.65:
            z, x = start + rng.uniform(8, 22), kerb + side * rng.uniform(0, 0.4)
            things += self._signpost(names, _one(rng, dress.signs), (x, z), rng.uniform(2.2, 2.9))
        if rng.random() < 0.35:
            for i in range(int(rng.integers(2, 6))):
                things.append(self._standing(names, dress.bollard, POLE, (kerb - side * 0.2, start + 5 + 1.6 * i)))
        if kind in ("zebra", "junction") and rng.random() < 0.85:
            things += self._signpost(names, dress.light, (kerb, start + (9.0 if kind == "zebra" else 4.5)), 2.3)
        return things

    def _signpost(self, names: Idents, plate: Prop, place: tuple[float, float], foot_m: float) -> list[Thing]:
        post, (x, z) = self.wardrobe.post, place
        stem = upright(post.texture, post.width_m, foot_m + plate.height_m * 0.5)
        board = upright(plate.texture, plate.width_m, plate.height_m, lift_m=foot_m)
        return [
            Thing([names.piece(post.texture, POLE)], [stem], place),
            Thing([names.piece(plate.texture, SIGN)], [board], (x, z - 0.08)),
        ]

    def _parked(self, rng: Rng, names: Idents, kind: str, side: int, start: float) -> list[Thing]:
        things: list[Thing] = []
        if kind == "junction" or self.street.half_road_m < 4.0:
            return things
        z = start + rng.uniform(0, 3)
        while z < start + CHUNK_M - 5:
            figure = _one(rng, self.wardrobe.cars)
            if rng.random() < self.habits.parked[side > 0] and z + figure.length_m < start + CHUNK_M:
                x = side * (self.street.half_road_m - figure.shadow_m[0] / 2 + 0.2)
                turned = figure.length_m if side != self.street.side else None
                pieces = names.pieces(figure, CAR)
                car = Thing(pieces, figure.parts, (x, z), flipped_m=turned, footprint_m=figure.shadow_m)
                things.append(car)
                z += figure.length_m
            z += rng.uniform(0.7, 3)
        return things

    def _walkers(self, rng: Rng, names: Idents, kind: str, start: float) -> list[Thing]:
        things, street = [], self.street
        for _ in range(int(rng.poisson(self.habits.walkers))):
            figure, side = _one(rng, self.wardrobe.walkers), int(rng.choice([-1, 1]))
            x = side * (street.half_road_m + rng.uniform(0.5, max(street.pavement_m - 0.3, 0.8)))
            z = start + rng.uniform(0, CHUNK_M)
            speed = float(rng.choice([-1, 1])) * rng.uniform(0.8, 1.6)
            things.append(self._moving(names, figure, PEDESTRIAN, (x, z), (0.0, speed), rng.uniform(0.8, 1.0)))
        if kind in ("zebra", "junction") or rng.random() < 0.15:
            figure, way = _one(rng, self.wardrobe.crossers), int(rng.choice([-1, 1]))
            z = start + 12.0 + rng.uniform(-1, 1)
            # Timed to reach the far kerb about a second before the camera comes by.
            x = way * (street.half_road_m + 1.3 + rng.uniform(0, 1.5))
            things.append(self._moving(names, figure, PEDESTRIAN, (x, z), (way * 1.35, 0.0), 0.95))
        return things

    def _traffic(self, rng: Rng, names: Idents, start: float) -> list[Thing]:
        things, street = [], self.street
        if rng.random() < self.habits.oncoming:
            figure, x = _one(rng, self.wardrobe.cars), -street.side * street.half_road_m * 0.42
            thing = Thing(
                names.pieces(figure, CAR),
                figure.parts,
                (x, start + 10),
                speed=(0.0, -rng.uniform(6, 11)),
                passed_s=(start + 10) / self._speed,
                flipped_m=figure.length_m,
                footprint_m=figure.shadow_m,
            )
            things.append(thing)
        if rng.random() < self.habits.riders * 0.25:
            way = int(rng.choice([-1, 1]))
            # Crossing the street, over just before the camera comes; drawn riding right, so turned for the left.
            place, turned = (way * (street.half_road_m + 5), start + 13.5), 0.0 if way < 0 else None
            figure = _one(rng, self.wardrobe.crossing_riders)
            things.append(self._moving(names, figure, BICYCLIST, place, (way * 3.2, 0.0), 1.0, flipped_m=turned))
        if rng.random() < self.habits.riders * 0.5 + 0.1:
            figure, side = _one(rng, self.wardrobe.riders), int(rng.choice([-1, 1]))
            parked = self.habits.parked[side > 0] > 0 and street.half_road_m >= 4.0
            x = side * (street.half_road_m - (2.4 if parked else 0.7))
            # Well below the camera's speed, so that it comes by and does not ride along with every other one.
            speed = min(rng.uniform(0.3, 0.55) * self._speed, 5.0) * (1 if side == street.side else -1)
            things.append(self._moving(names, figure, BICYCLIST, (x, start + 12), (0.0, speed), 1.1))
        return things

    def _moving(
        self,
        names: Idents,
        figure: Figure,
        label: int,
        place: tuple[float, float],
        speed: tuple[float, float],
        stride_hz: float,
        flipped_m: float | None = None,
    ) -> Thing:
        passed_s = place[1] / self._speed
        pieces = names.pieces(figure, label)
        return Thing(
            pieces,
            figure.parts,
            place,
            speed=speed,
            passed_s=passed_s,
            stride_hz=stride_hz,
            flipped_m=flipped_m,
            footprint_m=figure.shadow_m,
        )

    def _standing(self, names: Idents, prop: Prop, label: int, place: tuple[float, float]) -> Thing:
        part = upright(prop.texture, prop.width_m, prop.height_m)
        return Thing([names.piece(prop.texture, label)], [part], place)

    def _shadow(self, thing: Thing) -> list[Thing]:
        """The dark spot under a figure, moving along with it."""
        if thing.footprint_m is None:
            return []
        across, length = thing.footprint_m
        piece = Piece(self.wardrobe.shadow, ROAD, GROUND_ID, layer=LAYER_DECAL)
        part = lying(self.wardrobe.shadow, across * 1.4, length * 1.3, rise_m=0.02)
        # Figures stand at their place, cars begin there.
        return [thing.follower(piece, part, behind_m=length / 2 - 0.4 if length > 2 else 0.0)]


def _house(
    names: Idents, house: House, side: int, place: tuple[float, float], width: float, gain: float
) -> list[Thing]:
    """Front, the end towards the camera, roof with its gable, and a chimney."""
    deep, height = 8.0, house.height_m
    pieces = [names.piece(house.front, BUILDING, gain=gain, one_sided=True)]
    pieces.append(names.piece(house.end, BUILDING, gain=0.85))
    end = Part(house.end, (0 if side > 0 else -deep, -height, 0), (deep, 0, 0), (0, height, 0))
    parts = [along(house.front, side, width, height), end]
    if house.roof is not None and house.gable is not None:
        rise, ridge = house.roof_m, side * deep / 2
        top = -height - rise
        slope = Part(house.roof, (ridge, top, 0), (0, 0, width), (-ridge, rise, 0))
        gable = Part(house.gable, (0 if side > 0 else -deep, top, 0.01), (deep, 0, 0), (0, rise, 0))
        chimney = Part(house.end, (ridge - 0.5, top - 1.0, width * 0.5), (1.0, 0, 0), (0, 1.6, 0))
        parts += [slope, gable, chimney]
        pieces += [names.piece(house.roof, BUILDING, gain=gain), names.piece(house.gable, BUILDING, gain=0.85)]
        pieces.append(names.piece(house.end, BUILDING, gain=0.9))
    return [Thing(pieces, parts, place)]


def _one(rng: Rng, choices: Sequence[_One]) -> _One:
    return choices[int(rng.integers(len(choices)))]
