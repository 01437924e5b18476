# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is installed, what is missing, and how to get it: the answers behind `vss doctor`."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from dataclasses import dataclass

from vss_ros.core.errors import VssError


@dataclass(frozen=True)
class Finding:
    """One line of the report; a `needed` one that is not `good` makes the exit code 1."""

    what: str
    found: str
    good: bool
    needed: bool
    remedy: str = ""


_PACKAGES = (  # name to import, needed, what for, remedy
    ("numpy", True, "everything", "pip install numpy"),
    ("cv2", True, "pictures", "pip install 'opencv-python-headless<5'"),
    ("yaml", True, "cards and settings", "pip install pyyaml"),
    ("onnxruntime", True, "the network on the CPU", "pip install onnxruntime"),
    ("rosbags", True, "bags", "pip install rosbags"),
    ("av", False, "video files", "pip install av"),
    ("torch", False, "training and export", "pip install torch onnx"),
    ("rclpy", False, "the ROS 2 node", "source /opt/ros/<distro>/setup.bash"),
    ("cyclonedds", False, "the node without ROS", "pip install 'cyclonedds==11.0.*'"),
    ("vision_msgs.msg", False, "class names for planners", "apt install ros-<distro>-vision-msgs"),
    ("cv_bridge", False, "nothing here; other nodes use it", ""),
)


def examine() -> list[Finding]:
    """Every finding, in the order a reader wants them."""
    return [_python(), *(_package(*entry) for entry in _PACKAGES), _kernel(), *_models(), _ros(), _socket_buffer()]


def _python() -> Finding:
    good = sys.version_info >= (3, 10)
    return Finding("python", platform.python_version(), good, True, "" if good else "use Python 3.10 or newer")


def _package(name: str, needed: bool, purpose: str, remedy: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a binary built for another numpy raises far more than ImportError
        return Finding(f"{name} ({purpose})", f"no: {error}".splitlines()[0], False, needed, remedy)
    return Finding(f"{name} ({purpose})", str(getattr(module, "__version__", "yes")), True, needed)


def _kernel() -> Finding:
    from vss_ros import attention

    chosen, why = attention.explain()
    good = chosen != "reference"
    return Finding("attention kernel", chosen if good else f"{chosen}: {why}", good, False, "" if good else why)


def _models() -> list[Finding]:
    from vss_ros.assemble import load_card, model_folders

    findings = []
    try:
        folders = model_folders()
    except VssError as error:
        return [Finding("models", str(error), False, True, "install the package with its models/ folder")]
    for folder in folders:
        try:
            card = load_card(folder)
            for stage in card.stages:
                card.stage_path(stage)
            findings.append(Finding(f"model {card.name}", "complete", True, False))
        except VssError as error:
            findings.append(Finding(f"model {folder.name}", str(error), False, True, "copy the model folder again"))
    return findings or [Finding("models", "none installed", False, True, "install the package with its models/ folder")]


def _ros() -> Finding:
    distro = os.environ.get("ROS_DISTRO")
    rmw = os.environ.get("RMW_IMPLEMENTATION", "the distro's default")
    if distro is None:
        return Finding(
            "ROS 2", "not sourced", False, False, "source /opt/ros/<distro>/setup.bash before launching the node"
        )
    return Finding("ROS 2", f"{distro}, rmw: {rmw}, domain {os.environ.get('ROS_DOMAIN_ID', '0')}", True, False)


def _socket_buffer(wanted: int = 4 << 20) -> Finding:
    """Best-effort pictures are lost when the kernel grants less than a frame: 720p rgb8 is 2.8 MB."""
    path = "/proc/sys/net/core/rmem_max"
    try:
        with open(path, encoding="ascii") as file:
            granted = int(file.read())
    except (OSError, ValueError):
        return Finding("socket buffer", "unknown on this system", True, False)
    good = granted >= wanted
    return Finding(
        "socket buffer", f"{granted} bytes", good, False, "" if good else f"sysctl -w net.core.rmem_max={wanted}"
    )
