# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one synthetic street has to choose from, painted once per drive, and how full it is."""

from __future__ import annotations

from dataclasses import dataclass

from vss_ros.data.synthetic_actors import Figure, paint_car, paint_rider, paint_walker
from vss_ros.data.synthetic_ground import Street, paint_chunk, paint_far_ground, paint_outside
from vss_ros.data.synthetic_houses import House, paint_house, paint_low_wall
from vss_ros.data.synthetic_paint import Rng, Texture
from vss_ros.data.synthetic_props import (
    Prop,
    paint_bollard,
    paint_fence,
    paint_hedge,
    paint_lamp,
    paint_post,
    paint_shadow,
    paint_sign,
    paint_traffic_light,
    paint_tree,
)

KINDS = ("plain", "arrow", "zebra", "junction")


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """Everything painted once per drive."""

    chunks: dict[str, tuple[Texture, ...]]
    outside: dict[str, Texture]
    far: Texture
    houses: tuple[House, ...]
    trees: tuple[Prop, ...]
    hedge: Texture
    fence: Texture
    wall: Texture
    lamp: Prop
    post: Prop
    bollard: Prop
    signs: tuple[Prop, ...]
    light: Prop
    cars: tuple[Figure, ...]
    walkers: tuple[Figure, ...]
    crossers: tuple[Figure, ...]
    riders: tuple[Figure, ...]
    crossing_riders: tuple[Figure, ...]
    shadow: Texture


@dataclass(frozen=True, slots=True)
class Habits:
    """How full the street is: probabilities per place, and how light falls on either side."""

    trees: float
    parked: tuple[float, float]
    fences: float
    walkers: float
    riders: float
    oncoming: float
    gaps: float
    light: tuple[float, float]


def paint_wardrobe(rng: Rng, street: Street) -> Wardrobe:
    """Paints everything; about a second."""
    bare = float(rng.choice([0.0, 0.5, 1.0]))
    copies = {kind: 2 if kind == "plain" else 1 for kind in KINDS}
    return Wardrobe(
        chunks={kind: tuple(paint_chunk(rng, street, kind) for _ in range(copies[kind])) for kind in KINDS},
        outside={kind: paint_outside(rng, street, kind) for kind in KINDS},
        far=paint_far_ground(street, 300.0),
        houses=tuple(paint_house(rng) for _ in range(9)),
        trees=tuple(paint_tree(rng, bool(rng.random() < bare)) for _ in range(5)),
        hedge=paint_hedge(rng),
        fence=paint_fence(rng),
        wall=paint_low_wall(rng),
        lamp=paint_lamp(rng),
        post=paint_post(rng, 3.0),
        bollard=paint_bollard(rng),
        signs=tuple(paint_sign(rng) for _ in range(4)),
        light=paint_traffic_light(rng),
        cars=tuple(paint_car(rng) for _ in range(8)),
        walkers=tuple(paint_walker(rng, sideways=False) for _ in range(6)),
        crossers=tuple(paint_walker(rng, sideways=True) for _ in range(4)),
        riders=tuple(paint_rider(rng, sideways=False) for _ in range(3)),
        crossing_riders=tuple(paint_rider(rng, sideways=True) for _ in range(2)),
        shadow=paint_shadow(),
    )


def make_habits(rng: Rng) -> Habits:
    """The street's character drawn at random."""
    shaded = rng.uniform(0.6, 1.0)
    light = (1.08, shaded) if rng.random() < 0.5 else (shaded, 1.08)
    return Habits(
        trees=float(rng.choice([0.1, 0.4, 0.9])),
        parked=(float(rng.choice([0.0, 0.35, 0.75])), float(rng.choice([0.0, 0.35, 0.75]))),
        fences=float(rng.uniform(0.25, 0.9)),
        walkers=rng.uniform(0.8, 4.5),
        riders=rng.uniform(0.25, 0.9),
        oncoming=rng.uniform(0.1, 0.6),
        gaps=rng.uniform(0.0, 0.4),
        light=light,
    )
