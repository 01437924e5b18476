# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The segmenter on one or several cameras, and RViz beside it if you like.

`ros2 launch vss_ros segment.launch.py image_topic:=/camera/image_raw`; `--show-args` lists every argument.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterFile
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription
from vss_ros.core.config import declarations
from vss_ros.core.share import share_folder
from vss_ros.ros.points import INPUTS

_PACKED = re.compile("/(compressed|ffmpeg|foxglove)$")  # what image_transport puts behind the topic of the pictures

# launch argument -> setting; an argument left empty leaves the setting to params_file
SETTINGS = {
    "model": "model.name",
    "memory_slots": "memory.slots",
    "memory_window": "memory.window",
    "motion_source": "motion.source",
    "keyframe_every": "motion.keyframe_every",
    "cameras": "node.cameras",
    "image_transport": "node.image_transport",
    "backend": "runtime.backend",
    "precision": "runtime.precision",
    "input_size": "model.input_size",
    "output_size": "output.size",
    "points": "output.points",
}


def generate_launch_description() -> LaunchDescription:
    """Arguments, the node, what brings it to work, and RViz."""
    return LaunchDescription([*_arguments(), OpaqueFunction(function=_segmenter), OpaqueFunction(function=_rviz)])


def _arguments() -> list[DeclareLaunchArgument]:
    known = {declared.key: declared for declared in declarations()}
    arguments = []
    for name, key in SETTINGS.items():
        declared = known[key]
        choices = ["", *declared.choices] if declared.choices else None
        text = f"{declared.says} Not given: what params_file says for {key}."
        arguments.append(DeclareLaunchArgument(name, default_value="", description=text, choices=choices))
    yes_no = ["true", "false"]
    build_only = known["node.build_only"].says
    params_file = str(share_folder("config") / "segmenter.yaml")
    return [
        *arguments,
        DeclareLaunchArgument(
            "image_topic",
            default_value="",
            description="Topic of the pictures; one for each of the cameras, with commas, where there are several. "
            "Not given: <namespace>/image, or <namespace>/<camera>/image.",
        ),
        DeclareLaunchArgument(
            "camera_info_topic",
            default_value="",
            description="Topic of the camera's CameraInfo; one for each of the cameras, with commas, where there are "
            "several. Not given: the one beside image_topic, such as /camera/camera_info for /camera/image_raw.",
        ),
        DeclareLaunchArgument(
            "points_topic",
            default_value="",
            description="Topic of what makes labelled points, see points; one for each of the cameras, with commas, "
            "where there are several. Not given: <namespace>/depth_in or <namespace>/points_in.",
        ),
        DeclareLaunchArgument("params_file", default_value=params_file, description="Parameters file of the node."),
        DeclareLaunchArgument(
            "namespace", default_value="vss", description="Namespace of the node and of the topics it publishes."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="Take the time from /clock.", choices=yes_no
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            description="Configure and activate the node; false leaves that to `ros2 lifecycle set`.",
            choices=yes_no,
        ),
        DeclareLaunchArgument("build_only", default_value="false", description=build_only, choices=yes_no),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            description="Least severe messages that the node logs.",
            choices=["debug", "info", "warn", "error", "fatal"],
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            description="Show overlay, confidence and labelled points in RViz; of several cameras those of the first.",
            choices=yes_no,
        ),
    ]


def _segmenter(context: LaunchContext) -> list[Any]:
    names = (*SETTINGS, "image_topic", "camera_info_topic", "points_topic", "namespace", "use_sim_time", "log_level")
    names = (*names, "build_only")
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    changes = {key: _typed(key, given[name]) for name, key in SETTINGS.items() if given[name]}
    builds = given["build_only"] == "true"
    # a logger is named after the whole path; a level without a name would be that of every library in the process
    logger = ".".join([*(part for part in given["namespace"].split("/") if part), "segmenter"])
    node = LifecycleNode(
        package="vss_ros",
        executable="segmenter",
        name="segmenter",
        namespace=given["namespace"],
        parameters=[
            ParameterFile(LaunchConfiguration("params_file"), allow_substs=False),
            changes | {"use_sim_time": given["use_sim_time"] == "true"},
            {"node.build_only": True} if builds else {},
        ],
        remappings=_remappings(given),
        arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
        output="screen",
        on_exit=_built if builds else None,
    )
    return [node] if builds else [node, *_autostart(node)]


def _built(event: ProcessExited, context: LaunchContext) -> list[Any]:
    """The launch ends with the node; raising is how it gets an exit code that is not 0."""
    if event.returncode:
        raise RuntimeError(f"no engines were built, exit code {event.returncode}; the node's own message says why")
    return []


def _rviz(context: LaunchContext) -> list[Any]:
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in ("rviz", "namespace", "cameras")}
    if given["rviz"] != "true":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        distro = os.environ.get("ROS_DISTRO", "<distro>")
        missing = f"rviz:=true wants the package rviz2, which is not installed: apt install ros-{distro}-rviz2"
        return [LogInfo(msg=f"{missing}. The segmenter runs without it")]
    layout = share_folder("config") / "vss.rviz"
    viewer = Node(
        package="rviz2",
        executable="rviz2",
        name="vss_rviz",
        arguments=["-d", str(layout)],
        remappings=_moved(layout.read_text(encoding="utf-8"), given["namespace"], given["cameras"]),
        parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time").perform(context) == "true"}],
        output="screen",
    )
    return [viewer]


def _moved(layout: str, namespace: str, cameras: str) -> list[tuple[str, str]]:
    """Remappings of the layout's topics, which lie below /vss, to the namespace and the first of the cameras."""
    above = "/".join(["", *(part for part in namespace.split("/") if part), *_parts(cameras)[:1], ""])
    displays = yaml.safe_load(layout)["Visualization Manager"]["Displays"]
    topics = [display["Topic"]["Value"] for display in displays if "Topic" in display]
    moved = [(topic, above + topic.removeprefix("/vss/")) for topic in topics]
    return [(topic, other) for topic, other in moved if topic != other]


def _typed(key: str, text: str) -> Any:
    declared = next(declared for declared in declarations() if declared.key == key)
    try:
        return declared.type(text)
    except ValueError:
        return text  # the node says what is wrong with it


def _remappings(given: Mapping[str, str]) -> list[tuple[str, str]]:
    prefixes = [f"{name}/" for name in _parts(given["cameras"])] or [""]
    images, infos = _parts(given["image_topic"]), _parts(given["camera_info_topic"])
    wanted = {"image": images, "camera_info_in": infos or _beside(images, given["namespace"].strip("/"))}
    # params_file may be what says which of the two; the node subscribes to that one only
    wanted |= dict.fromkeys(INPUTS.values(), _parts(given["points_topic"]))
    remappings = []
    for name, topics in wanted.items():
        if topics and len(topics) != len(prefixes):
            argument = {"image": "image_topic", "camera_info_in": "camera_info_topic"}.get(name, "points_topic")
            names, got = ", ".join(prefix + name for prefix in prefixes), ", ".join(topics)
            raise ValueError(f"{argument} wants {len(prefixes)} topics for {names}, got {len(topics)}: {got}")
        remappings += [(f"{prefix}{name}", topic) for prefix, topic in zip(prefixes, topics, strict=False)]
    return remappings


def _beside(images: list[str], namespace: str) -> list[str]:
    """Where drivers publish CameraInfo; none where it may be another camera's or the one that this node publishes."""
    infos = [_PACKED.sub("", topic).rpartition("/")[0] + "/camera_info" for topic in images]
    own = f"/{namespace}/" if namespace else "/camera_info"
    is_clear = all(topic.startswith("/") and not topic.startswith(own) for topic in infos + images)
    return infos if is_clear and len(set(infos)) == len(infos) else []


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _autostart(node: LifecycleNode) -> list[Any]:
    condition = IfCondition(LaunchConfiguration("autostart"))
    this = matches_action(node)
    configure = ChangeState(lifecycle_node_matcher=this, transition_id=Transition.TRANSITION_CONFIGURE)
    activate = ChangeState(lifecycle_node_matcher=this, transition_id=Transition.TRANSITION_ACTIVATE)
    when_configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[EmitEvent(event=activate)],
    )
    when_failed = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="unconfigured",
        entities=[LogInfo(msg="segmenter could not be configured; its own message above says why")],
    )
    return [
        RegisterEventHandler(when_configured, condition=condition),
        RegisterEventHandler(when_failed, condition=condition),
        EmitEvent(event=configure, condition=condition),
    ]
