# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The planner's file as the planner reads it: every class once, by the name that LabelInfo gives it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from vss_ros.assemble import load_card
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import ConfigError
from vss_ros.data.messages import ImageTypes
from vss_ros.ros.conversions import LabelTypes, label_info
from vss_ros.ros.outputs import EXTRAS
from vss_ros.ros.planner import class_type, planner_config


@pytest.fixture
def card(single_folder: Any) -> ModelCard:
    return load_card(single_folder)


def source(card: ModelCard, **options: str) -> dict[str, Any]:
    """The observation source, found the way the layer does it."""
    content = yaml.safe_load(planner_config("nav2", card, **options))
    layer = content["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_segmentation_layer"]
    assert layer["plugin"] == "semantic_segmentation_layer::SemanticSegmentationLayer" and layer["enabled"] is True
    (name,) = layer["observation_sources"].split()
    return layer[name]  # type: ignore[no-any-return]


def test_every_class_that_label_info_publishes_has_its_costs_exactly_once(card):
    images = ImageTypes(*[SimpleNamespace] * 4, pack=bytes)
    published = label_info(card.labels, 0.0, 0, images, LabelTypes(SimpleNamespace, SimpleNamespace))
    camera = source(card)
    named = [name for kind in camera["class_types"] for name in camera[kind]["classes"]]
    assert sorted(named) == sorted(entry.class_name for entry in published.class_map)


def test_costs_are_of_the_types_and_ranges_that_the_layer_declares(card):
    camera = source(card)
    for kind in camera["class_types"]:
        costs = camera[kind]
        assert costs["classes"], "a type without classes is an error"
        assert all(type(costs[key]) is int for key in ("base_cost", "max_cost", "mark_confidence"))
        assert 0 <= costs["base_cost"] <= costs["max_cost"] <= 254 and 0 <= costs["mark_confidence"] < 255
        assert type(costs["samples_to_max_cost"]) is int and type(costs["dominant_priority"]) is bool
    for key in ("min_obstacle_distance", "max_obstacle_distance", "tile_map_decay_time"):
        assert type(camera[key]) is float, "ROS tells 5 from 5.0"


def test_topics_are_those_of_the_node_and_of_one_camera(card):
    camera = source(card)
    assert [camera[f"{name}_topic"] for name in ("segmentation", "confidence", "labels")] == [
        "/vss/labels",
        "/vss/confidence",
        "/vss/label_info",
    ]
    front = source(card, prefix="/vss/front/", points="/front/points")
    assert (front["segmentation_topic"], front["pointcloud_topic"]) == ("/vss/front/labels", "/front/points")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("road", "driveable"),
        ("Lane Marking", "driveable"),
        ("sidewalk", "rough"),
        ("pedestrian", "moving"),
        ("bicyclist", "moving"),
        ("pole", "obstacle"),
        ("sky", "never_on_ground"),
        ("class17", "obstacle"),
    ],
)
def test_a_class_costs_what_its_name_says_and_an_unknown_one_is_an_obstacle(name, kind):
    assert class_type(name).name == kind


def test_names_that_yaml_reads_as_something_else_stay_names(card):
    names = ("no", "1.5", "null", "it's: a", "#", "größe", "road")
    camera = source(replace(card, labels=names, palette=card.palette[: len(names)]))
    assert camera["obstacle"]["classes"] == list(names[:-1])
    assert camera["class_types"] == ["driveable", "obstacle"], "types without classes are left out"


@pytest.mark.parametrize(
    ("planner", "options", "says"),
    [
        ("nav3", {}, "one of nav2, nvblox, got 'nav3'"),
        ("nav2", {"prefix": "vss"}, "absolute topic such as /vss, got 'vss'"),
        ("nav2", {"points": ""}, "--points wants"),
    ],
)
def test_what_cannot_be_written_is_refused_with_one_sentence(card, planner, options, says):
    with pytest.raises(ConfigError, match=says):
        planner_config(planner, card, **options)


def test_nvblox_is_told_to_take_the_mask(card):
    text = planner_config("nvblox", card, prefix="/vss/front")
    assert yaml.safe_load(text)["/**"]["ros__parameters"] == {
        "mapping_type": "human_with_static_tsdf",
        "use_segmentation": True,
    }
    assert "car, pedestrian, bicyclist" in text
    assert "/vss/front/moving_mask" in text and "/vss/front/camera_info" in text
    assert {"moving_mask"} <= EXTRAS.keys()


def test_nvblox_needs_something_that_moves(card):
    with pytest.raises(ConfigError, match="nvblox wants classes that move"):
        planner_config("nvblox", replace(card, labels=("road", "sky"), palette=card.palette[:2]))
