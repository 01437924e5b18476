# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A planner's own parameters file, written from the model card, so that both know the classes by the same names.

`nav2` is the costmap plugin semantic_segmentation_layer. It logs an error for each class of LabelInfo that its
parameters do not name, ends where a source has none, and takes every class type's costs from 0 (free) to 254 (lethal).
`nvblox` knows no classes: it takes a mask that is not 0 where people or vehicles are, and keeps them out of its map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import ConfigError

PLANNERS = ("nav2", "nvblox")
DEFAULT_POINTS = "/camera/depth/points"


@dataclass(frozen=True)
class ClassType:
    """Classes that cost the same.

    Attributes:
        name: of the type in the file.
        says: why it costs that.
        classes: names in lower case with underscores; a class of no type is an obstacle.
        base_cost: of a tile of the costmap after one observation, 0..254.
        max_cost: after `samples` observations whose mean confidence is above `confidence`.
        samples: how many.
        confidence: mean, in 1/255.
        dominant: one observation overrules all others of the tile.
    """

    name: str
    says: str
    classes: frozenset[str] = frozenset()
    base_cost: int = 0
    max_cost: int = 0
    samples: int = 0
    confidence: int = 0
    dominant: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DRIVEABLE = ClassType(
    "driveable", "free", _names("road lane lane_marking lane_markings road_marking road_markings crosswalk parking")
)
_ROUGH = ClassType(
    "rough",
    "can be driven on, but something else is better",
    _names("sidewalk pavement terrain grass dirt gravel sand curb kerb shoulder"),
    base_cost=80,
    max_cost=150,
    samples=3,
    confidence=128,
)
_MOVING = ClassType(
    "moving",
    "lethal at the first sight, whatever was there before",
    _names("car truck bus van caravan trailer train tram vehicle motorcycle motorbike bicycle bicyclist cyclist rider")
    | _names("motorcyclist pedestrian person people child animal dog"),
    base_cost=254,
    max_cost=254,
    dominant=True,
)
_OBSTACLE = ClassType(
    "obstacle",
    "stands still; also every class of a name that is not known here. Lethal once it was seen twice",
    base_cost=180,
    max_cost=254,
    samples=2,
    confidence=128,
)
_NEVER = ClassType("never_on_ground", "named because the layer wants every class; anything else wins", _names("sky"))
_TYPES = (_DRIVEABLE, _ROUGH, _MOVING, _OBSTACLE, _NEVER)


def planner_config(planner: str, card: ModelCard, *, prefix: str = "/vss", points: str = DEFAULT_POINTS) -> str:
    """The text of a parameters file for a planner.

    Args:
        planner: one of PLANNERS.
        card: of the model that the node runs.
        prefix: of the node's topics; `/vss/front` for camera front.
        points: topic of the organised point cloud whose size is that of the labels.

    Raises:
        ConfigError: a planner that is not known, or a topic that is not absolute.
    """
    if planner not in PLANNERS:
        raise ConfigError(f"a planner was wanted, one of {', '.join(PLANNERS)}, got '{planner}'; name one of them")
    for what, topic in (("--topic-prefix", prefix), ("--points", points)):
        if not topic.startswith("/") or not topic.isprintable() or " " in topic:
            raise ConfigError(
                f"{what} wants an absolute topic such as /vss, got '{topic}'; the planner has a namespace of its own"
            )
    return _nav2(card, prefix.rstrip("/"), points) if planner == "nav2" else _nvblox(card, prefix.rstrip("/"))


def write_config(path: Path, text: str) -> None:
    """Write a parameters file; one that is there already is not overwritten, because costs in it may be tuned.

    Raises:
        ConfigError: something is there, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"a new file was wanted at {path}: {error.strerror or error}; name another, or move that one away"
        ) from error


def class_type(name: str) -> ClassType:
    """The type of a class, by its name."""
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    return next((kind for kind in _TYPES if plain in kind.classes), _OBSTACLE)


def is_moving(name: str) -> bool:
    """Whether a class is of things that move by themselves."""
    return class_type(name) is _MOVING


def _nvblox(card: ModelCard, prefix: str) -> str:
    moving = [name for name in card.labels if is_moving(name)]
    if not moving:
        raise ConfigError(
            f"nvblox wants classes that move, such as pedestrian or car; model {card.name} has {', '.join(card.labels)}"
        )
    return f"""\
# nvblox beside model {card.name}: {", ".join(moving)} go into a layer of their own, not into the static map.
# Written by `vss planner-config nvblox`. Give this file to the nvblox node as a further --params-file, and remap
#   camera_0/mask/image        to {prefix}/moving_mask
#   camera_0/mask/camera_info  to {prefix}/camera_info
# The mask has the stamp of the colour picture, exactly, and the size that its camera_info says. It is published only
# while nvblox subscribes; camera_info once the camera's own is connected (camera_info_topic of segment.launch.py).
/**:
  ros__parameters:
    mapping_type: human_with_static_tsdf
    use_segmentation: true
"""


def _nav2(card: ModelCard, prefix: str, points: str) -> str:
    sorted_in = {kind: [name for name in card.labels if class_type(name) is kind] for kind in _TYPES}
    used = {kind: names for kind, names in sorted_in.items() if names}  # a type without classes is an error there
    return f"""\
# Nav2's semantic_segmentation_layer with the classes of model {card.name}. Written by `vss planner-config nav2`.
# Add the layer's name to the costmap's own list of plugins, before the inflation layer, and give this file to Nav2 as
# a further --params-file. The costs are a beginning for a vehicle on roads: look at every class before it drives.
local_costmap:
  local_costmap:
    ros__parameters:
      semantic_segmentation_layer:
        plugin: semantic_segmentation_layer::SemanticSegmentationLayer
        enabled: true
        observation_sources: camera
        camera:
          segmentation_topic: {_text(f"{prefix}/labels")}
          confidence_topic: {_text(f"{prefix}/confidence")}
          labels_topic: {_text(f"{prefix}/label_info")}
          # organised, with the stamps of the pictures; its width x height must be that of the labels (output.size)
          pointcloud_topic: {_text(points)}
          min_obstacle_distance: 0.3  # m
          max_obstacle_distance: 10.0  # m
          tile_map_decay_time: 5.0  # s
          use_cost_selection: true  # of all pixels in a tile the most expensive one counts
          class_types: {_text([kind.name for kind in used])}
{"".join(_type_lines(kind, names) for kind, names in used.items())}"""


def _type_lines(kind: ClassType, names: Sequence[str]) -> str:
    return f"""\
          {kind.name}:  # {kind.says}
            classes: {_text(list(names))}
            base_cost: {kind.base_cost}
            max_cost: {kind.max_cost}
            mark_confidence: {kind.confidence}  # of 255
            samples_to_max_cost: {kind.samples}
            dominant_priority: {_text(kind.dominant)}
"""


def _text(value: object) -> str:
    """YAML on one line, quoted where a plain word would mean something else."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).splitlines()[0]
