# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A bag played through the live node, which is started first; ends when the bag ends.

`ros2 launch vss_ros replay.launch.py bag:=drive image_topic:=/camera/image_raw record:=labels`; the arguments of
segment.launch.py are taken as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handler import EventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchContext, LaunchDescription
from vss_ros.core.share import share_folder

_FIRST_FRAME_S = "1.0"  # player and node need a moment to find each other; what is played before is lost
_LAST_FRAMES_S = 3.0  # after the bag's end, for frames that are still in work


def generate_launch_description() -> LaunchDescription:
    """Arguments, the node, player and recorder."""
    segment = Path(__file__).resolve().parent / "segment.launch.py"
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="Folder or file of the bag to play."),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay; 1 is as recorded."),
            DeclareLaunchArgument(
                "loop",
                default_value="false",
                description="Play the bag again and again; the memory is reset at each start.",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument(
                "record", default_value="", description="Folder of a new bag for labels, confidence and class names."
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(segment))),
            OpaqueFunction(function=_player_and_recorder),
        ]
    )


def _player_and_recorder(context: LaunchContext) -> list[Any]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "record", "namespace")}
    switches = [f"--{name}" for name in ("loop",) if LaunchConfiguration(name).perform(context) == "true"]
    if LaunchConfiguration("use_sim_time").perform(context) == "true":
        switches += ["--clock", "100"]
    switches += ["--rate", given["rate"], "--delay", _FIRST_FRAME_S, "--disable-keyboard-controls"]
    play = ExecuteProcess(cmd=["ros2", "bag", "play", given["bag"], *switches], output="screen")
    stop = EmitEvent(event=Shutdown(reason="the bag has ended"))
    actions = [
        # frames that are played before the node listens would be lost
        RegisterEventHandler(OnStateTransition(goal_state="active", entities=[play], handle_once=True)),
        RegisterEventHandler(
            OnProcessExit(target_action=play, on_exit=[TimerAction(period=_LAST_FRAMES_S, actions=[stop])])
        ),
        RegisterEventHandler(EventHandler(matcher=_is_end_of_node, entities=[OpaqueFunction(function=_end_too)])),
    ]
    if given["record"]:
        actions.append(_recorder(given["record"], given["namespace"].strip("/")))
    return actions


def _is_end_of_node(event: Any) -> bool:
    return isinstance(event, ProcessExited) and "segmenter" in event.process_name


def _end_too(context: LaunchContext) -> list[Any]:
    # a second shutdown would end the launch with an error
    return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason="the node has ended"))]


def _recorder(folder: str, namespace: str) -> ExecuteProcess:
    qos = str(share_folder("config") / "rosbag_qos_overrides.yaml")
    topics = [f"/{namespace}/{name}" if namespace else f"/{name}" for name in ("labels", "confidence", "label_info")]
    # newer releases want --topics, older ones do not know it
    selection = topics if os.environ.get("ROS_DISTRO") in ("humble", "iron") else ["--topics", *topics]
    return ExecuteProcess(
        cmd=["ros2", "bag", "record", "--output", folder, "--qos-profile-overrides-path", qos, *selection],
        output="screen",
    )
