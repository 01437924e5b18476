# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The layouts for RViz and Foxglove show topics that the node has, with what can show their types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.typestore import CAMERA_INFO, IMAGE, ros2_types, rosbags_image_types
from vss_ros.ros.camera_info import CameraInfoTypes
from vss_ros.ros.conversions import figures
from vss_ros.ros.outputs import Legend, outgoing
from vss_ros.ros.points import LAYOUT
from vss_ros.ros.statistics import StreamStatistics

CONFIG = Path(__file__).parents[2] / "config"
CLOUD = "sensor_msgs/msg/PointCloud2"
RVIZ = {"rviz_default_plugins/Image": IMAGE, "rviz_default_plugins/PointCloud2": CLOUD}
RVIZ_POLICIES = {  # the words that RViz reads
    "Reliability Policy": {"Reliable", "Best Effort", "System Default"},
    "Durability Policy": {"Volatile", "Transient Local", "System Default"},
    "History Policy": {"Keep Last", "Keep All", "System Default"},
}


@pytest.fixture(scope="module")
def published() -> dict[str, str]:
    """Type by topic of all that goes out for a frame, from the node's own declaration."""
    types = ros2_types().types
    infos = CameraInfoTypes(types[CAMERA_INFO], types["sensor_msgs/msg/RegionOfInterest"])
    pixels = np.zeros((4, 6), np.uint8)
    result = Segmentation(stamp_ns=1, labels=pixels, confidence=pixels, frame_id="cam")
    messages = outgoing(
        Frame(1, np.zeros((4, 6, 3), np.uint8)),
        result,
        images=rosbags_image_types(),
        infos=infos,
        legend=Legend(np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)),
        wanted=lambda _: True,
        points=SimpleNamespace(build=lambda *_: SimpleNamespace(__msgtype__=CLOUD)),  # type: ignore[arg-type]
    )
    return {f"/vss/{name}": message.__msgtype__ for name, message in messages}


@pytest.fixture(scope="module")
def figure_names() -> set[str]:
    """Keys of a camera's status on `stats` once frames were published."""
    statistics = StreamStatistics()
    statistics.publish({"wait": 1.0, "total": 2.0}, 1, 1.0)
    return set(figures(statistics.report("camera", {}, 0, 1.0), "active"))


@pytest.fixture(scope="module")
def rviz() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIG / "vss.rviz").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def foxglove() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CONFIG / "foxglove_layout.json").read_text(encoding="utf-8"))
    return loaded


def displays(rviz: dict[str, Any]) -> dict[str, Any]:
    """Displays of topics, by topic."""
    found = rviz["Visualization Manager"]["Displays"]
    return {display["Topic"]["Value"]: display for display in found if "Topic" in display}


def test_rviz_shows_what_the_node_publishes(rviz, published):
    shown = displays(rviz)
    assert {"/vss/overlay", "/vss/labels", "/vss/confidence", "/vss/points"} == set(shown)
    for topic, display in shown.items():
        assert RVIZ[display["Class"]] == published[topic], topic
        assert display["Enabled"] is display["Value"]
        assert all(display["Topic"][policy] in words for policy, words in RVIZ_POLICIES.items())
        assert display["Topic"]["Depth"] >= 1


def test_rviz_colours_points_by_a_field_that_they_have(rviz):
    cloud = displays(rviz)["/vss/points"]
    assert (cloud["Color Transformer"], cloud["Channel Name"]) == ("Intensity", "label")
    assert cloud["Channel Name"] in (LAYOUT.names or ())
    assert cloud["Autocompute Intensity Bounds"] is False, "255, unlabelled, would squeeze all classes together"


def test_rviz_has_what_it_needs_to_start(rviz):
    manager = rviz["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "base_link" and manager["Views"]["Current"]["Class"]
    names = [display["Name"] for display in manager["Displays"]]
    assert len(set(names)) == len(names)
    classes = [panel["Class"] for panel in rviz["Panels"]] + [tool["Class"] for tool in manager["Tools"]]
    assert all(name.startswith(("rviz_common/", "rviz_default_plugins/")) for name in classes)


def leaves(node: Any) -> Iterator[str]:
    """Panels of a layout's tree."""
    if isinstance(node, str):
        yield node
    else:
        assert node["direction"] in ("row", "column") and 0 < node["splitPercentage"] < 100
        yield from leaves(node["first"])
        yield from leaves(node["second"])


def test_foxglove_places_every_panel_once(foxglove):
    assert {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"} == set(foxglove)
    placed = list(leaves(foxglove["layout"]))
    assert sorted(placed) == sorted(foxglove["configById"])
    assert {name.split("!")[0] for name in placed} == {"Image", "3D", "DiagnosticSummary", "Plot"}


def test_foxglove_shows_what_the_node_publishes(foxglove, published):
    panels = foxglove["configById"]
    images = [panel["imageMode"]["imageTopic"] for name, panel in panels.items() if name.startswith("Image!")]
    assert images == ["/vss/overlay", "/vss/confidence"]
    assert all(published[topic] == IMAGE for topic in images)
    ((topic, cloud),) = panels["3D!points"]["topics"].items()
    assert published[topic] == CLOUD and cloud["visible"]
    assert cloud["colorField"] in (LAYOUT.names or ()) and cloud["colorMode"] == "colormap"


def test_foxglove_plots_figures_that_diagnostics_have(foxglove, figure_names):
    assert foxglove["configById"]["DiagnosticSummary!node"]["topicToRender"] == "/diagnostics"
    for path in foxglove["configById"]["Plot!latency"]["paths"]:
        asked = re.fullmatch(r'/vss/stats\.status\[:\]\.values\[:\]\{key=="(\w+)"\}\.value', path["value"])
        assert asked and asked[1] in figure_names, path["value"]
        assert path["timestampMethod"] in ("receiveTime", "headerStamp")
