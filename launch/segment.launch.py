# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The segmenter on one or several cameras.

`ros2 launch vss_ros segment.launch.py image_topic:=/camera/image_raw`; `--show-args` lists every argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterFile
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription
from vss_ros.core.config import declarations
from vss_ros.core.share import share_folder

# launch argument -> setting; an argument left empty leaves the setting to params_file
SETTINGS = {
    "model": "model.name",
    "memory_slots": "memory.slots",
    "memory_window": "memory.window",
    "cameras": "node.cameras",
    "image_transport": "node.image_transport",
    "backend": "runtime.backend",
    "output_size": "output.size",
}


def generate_launch_description() -> LaunchDescription:
    """Arguments, the node, and what brings it to work."""
    return LaunchDescription([*_arguments(), OpaqueFunction(function=_segmenter)])


def _arguments() -> list[DeclareLaunchArgument]:
    known = {declared.key: declared for declared in declarations()}
    arguments = []
    for name, key in SETTINGS.items():
        declared = known[key]
        choices = ["", *declared.choices] if declared.choices else None
        text = f"{declared.says} Not given: what params_file says for {key}."
        arguments.append(DeclareLaunchArgument(name, default_value="", description=text, choices=choices))
    yes_no = ["true", "false"]
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
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            description="Least severe messages that the node logs.",
            choices=["debug", "info", "warn", "error", "fatal"],
        ),
    ]


def _segmenter(context: LaunchContext) -> list[Any]:
    names = (*SETTINGS, "image_topic", "camera_info_topic", "namespace", "use_sim_time", "log_level")
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    changes = {key: _typed(key, given[name]) for name, key in SETTINGS.items() if given[name]}
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
        ],
        remappings=_remappings(given),
        arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
        output="screen",
    )
    return [node, *_autostart(node)]


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
    remappings = []
    for name, topics in wanted.items():
        if topics and len(topics) != len(prefixes):
            argument = "image_topic" if name == "image" else "camera_info_topic"
            names, got = ", ".join(prefix + name for prefix in prefixes), ", ".join(topics)
            raise ValueError(f"{argument} wants {len(prefixes)} topics for {names}, got {len(topics)}: {got}")
        remappings += [(f"{prefix}{name}", topic) for prefix, topic in zip(prefixes, topics, strict=False)]
    return remappings


def _beside(images: list[str], namespace: str) -> list[str]:
    """Where drivers publish CameraInfo; none where it may be another camera's or the one that this node publishes."""
    infos = [topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info" for topic in images]
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
