# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is installed, what is missing, and how to get it: the answers behind `vss doctor`."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    ("av", False, "video files and topics", "pip install av"),
    ("vision_msgs.msg", False, "class names for planners", "apt install ros-<distro>-vision-msgs"),
    ("cv_bridge", False, "nothing here; other nodes use it", ""),
)
_RAW_1080P_BYTES = 1920 * 1080 * 3
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_JETSON = Path("/etc/nv_tegra_release")
_ASK_RMW = "from rclpy.utilities import get_rmw_implementation_identifier as rmw; print(rmw())"


def examine() -> list[Finding]:
    """Every finding, in the order a reader wants them."""
    packages = (_package(*entry) for entry in _PACKAGES)
    machine = (_python(), *packages, _torch(), _gpu(), _tensorrt(), _engines(), _kernel())
    carriers = transports()
    return [*machine, *_models(), *carriers.values(), _transport(carriers), _socket_buffer()]


def _python() -> Finding:
    good = sys.version_info >= (3, 10)
    return Finding("python", platform.python_version(), good, True, "" if good else "use Python 3.10 or newer")


def _package(name: str, needed: bool, purpose: str, remedy: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a binary built for another numpy raises far more than ImportError
        return Finding(f"{name} ({purpose})", f"no: {_line(error)}", False, needed, remedy)
    version = getattr(module, "__version__", None) or _installed(name) or "yes"
    return Finding(f"{name} ({purpose})", str(version), True, needed)


def _torch() -> Finding:
    """By what pip wrote down: the import takes seconds, and a robot does without."""
    version, what = _installed("torch"), "torch (training and export)"
    if version is None:
        return Finding(what, "no", False, False, "pip install torch onnx")
    return Finding(what, version, True, False)


def _gpu() -> Finding:
    """What the driver itself says."""
    command = shutil.which("nvidia-smi")
    if command is None:
        found = "a Jetson's" if _JETSON.exists() else "none: there is no nvidia-smi; the CPU does the work"
        return Finding("GPU", found, True, False)
    query = [command, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20)
        said, good = (asked.stdout or asked.stderr).strip(), asked.returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, good = str(error), False
    if not good:
        remedy = "install the driver again, or restart the machine if it was just updated"
        return Finding("GPU", f"nvidia-smi says: {said.splitlines()[0] if said else 'nothing'}", False, False, remedy)
    return Finding("GPU", "; ".join(said.splitlines()), True, False)


def _tensorrt() -> Finding:
    from vss_ros.runtimes.tensorrt import api

    what = "TensorRT (the network on an NVIDIA GPU)"
    try:
        return Finding(what, api.library(api.bindings()), True, False)
    except VssError:
        return Finding(what, "no", False, False, "only with a GPU: JetPack brings it, elsewhere pip install tensorrt")


def _engines() -> Finding:
    from vss_ros.runtimes.tensorrt.cache import EngineCache, default_folder

    try:
        folder = default_folder()
        found = EngineCache(folder).entries() if folder.exists() else []
    except VssError as error:
        return Finding("engine cache", str(error), False, False, "remove the folder; engines are then built anew")
    size = sum(entry.bytes for entry in found) / 1e6
    return Finding("engine cache", f"{len(found)} engines, {size:.0f} MB in {folder}", True, False)


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
            findings.append(Finding(f"model {card.name}", f"complete, sha256 of {len(card.stages)} files", True, False))
        except VssError as error:
            findings.append(Finding(f"model {folder.name}", str(error), False, True, "copy the model folder again"))
    return findings or [Finding("models", "none installed", False, True, "install the package with its models/ folder")]


def transports() -> dict[str, Finding]:
    """What can carry the node's topics, by the names that `vss node --transport` takes."""
    return {"rclpy": _rclpy(), "dds": _dds()}


def _transport(found: Mapping[str, Finding]) -> Finding:
    there = [name for name, finding in found.items() if finding.good]
    if not there:
        return Finding("transport", "none: the node cannot run", False, True, "get one of the two above")
    return Finding("transport", f"{' or '.join(there)}; auto takes {there[0]}", True, True)


def _rclpy() -> Finding:
    """rclpy and its RMW, asked in another process: rcl ends the one that imports it where the RMW is not installed."""
    what, distro = "transport rclpy (the ROS 2 node)", os.environ.get("ROS_DISTRO")
    if importlib.util.find_spec("rclpy") is None:
        remedy = f"use the Python of ROS 2 {distro}" if distro else "source /opt/ros/<distro>/setup.bash"
        return Finding(what, "no: rclpy does not import", False, False, remedy)
    try:
        asked = subprocess.run([sys.executable, "-c", _ASK_RMW], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, f"no: {_line(error)}", False, False, "source /opt/ros/<distro>/setup.bash anew")
    rmw = os.environ.get("RMW_IMPLEMENTATION")
    if asked.returncode != 0:
        if rmw and rmw in asked.stderr:
            package = f"ros-{distro or '<distro>'}-{rmw.replace('_', '-')}"
            return Finding(what, f"no: {rmw} does not load", False, False, f"apt install {package}")
        said = asked.stderr.strip().splitlines()[-1:] or ["rclpy does not import"]
        remedy = f"use the Python that ROS 2 {distro or '<distro>'} was built for; this is {platform.python_version()}"
        return Finding(what, f"no: {said[0]}", False, False, remedy)
    domain, reach = os.environ.get("ROS_DOMAIN_ID", "0"), os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    return Finding(what, f"{distro}, {asked.stdout.strip()}, domain {domain}, {reach}", True, False)


def _dds() -> Finding:
    """The wheel that carries the topics where ROS is not installed."""
    what, remedy = "transport dds (the node without ROS)", "pip install 'cyclonedds==11.0.*'"
    try:
        importlib.import_module("cyclonedds.core")
    except Exception as error:  # its C library raises far more than ImportError
        if platform.machine() != "x86_64" or sys.version_info >= (3, 14):
            here = f"{platform.machine()} with Python {platform.python_version()}"
            remedy = f"take ROS 2 and rclpy: the wheel is for x86_64 and Python 3.10 to 3.13, this is {here}"
        return Finding(what, f"no: {_line(error)}", False, False, remedy)
    version = _installed("cyclonedds") or "of unknown version"
    good = version.startswith("11.0.")
    return Finding(
        what, f"cyclonedds {version}" + ("" if good else "; 11.0 is wanted"), good, False, remedy * (not good)
    )


def _socket_buffer(wanted: int = _RAW_1080P_BYTES) -> Finding:
    """Best-effort pictures are lost whole where the kernel grants a socket less than one of them."""
    what = f"socket buffer (a raw 1080p picture has {_RAW_1080P_BYTES} bytes)"
    try:
        granted = int(_RMEM_MAX.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Finding(what, "unknown on this system", True, False)
    if granted >= wanted:
        return Finding(what, f"{granted} bytes", True, False)
    enough = 1 << (wanted - 1).bit_length()
    remedy = f"sudo sysctl -w net.core.rmem_max={enough}, or use compressed pictures"
    return Finding(what, f"{granted} bytes", False, False, remedy)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
