# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Each thing that is wrong is a finding with its remedy, never the end of the examination."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vss_ros import assemble, doctor
from vss_ros.core.errors import ConfigError


def found(what: str) -> doctor.Finding:
    (finding,) = (f for f in doctor.examine() if f.what.startswith(what))
    return finding


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = (("no_such_package", True, "a test", "pip install it"),)
    monkeypatch.setattr(doctor, "_PACKAGES", packages)
    finding = found("no_such_package")
    assert not finding.good and finding.needed and finding.remedy == "pip install it"


def test_a_damaged_model_is_found(single_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(single_folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "decode.onnx").write_bytes(b"")
    monkeypatch.setattr(assemble, "model_folders", lambda: [single_folder, tmp_path / "damaged"])
    good, bad = doctor._models()
    assert good.good and not bad.good and "decode.onnx wants sha256" in bad.found


def test_no_models_folder_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> list[Path]:
        raise ConfigError("the package's 'models' folder was wanted")

    monkeypatch.setattr(assemble, "model_folders", missing)
    (finding,) = doctor._models()
    assert not finding.good and finding.needed and "install the package" in finding.remedy


def test_a_good_model_says_what_was_checked(single_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "model_folders", lambda: [single_folder])
    (finding,) = doctor._models()
    assert finding.good and finding.found == "complete, sha256 of 2 files"


@pytest.mark.parametrize(("granted", "good"), [("212992", False), ("4194304", False), ("6220800", True)])
def test_small_socket_buffers_have_a_remedy(
    granted: str, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel must grant is a whole raw 1080p picture, and the remedy a round number above it."""
    (tmp_path / "rmem_max").write_text(f"{granted}\n")
    monkeypatch.setattr(doctor, "_RMEM_MAX", tmp_path / "rmem_max")
    finding = doctor._socket_buffer()
    assert finding.good == good and finding.found == f"{granted} bytes" and "6220800" in finding.what
    assert ("sudo sysctl -w net.core.rmem_max=8388608" in finding.remedy) == (not good)


def test_a_system_without_that_buffer_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RMEM_MAX", tmp_path / "absent")
    assert doctor._socket_buffer().good


def test_the_kernel_in_use_is_said() -> None:
    from vss_ros import attention

    chosen, why = attention.explain()
    assert chosen in found("attention kernel").found and why in found("attention kernel").found


def test_torch_is_looked_up_without_its_import() -> None:
    code = "import sys; from vss_ros import doctor; print(doctor._torch().found, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-1] == "False", done.stderr


# The GPU, by a stand-in for nvidia-smi


def stand_in(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "good", "text"),
    [
        ("echo 'NVIDIA Orin, 540.4, 8 MiB'", True, "NVIDIA Orin, 540.4, 8 MiB"),
        ("echo 'Driver/library version mismatch'; exit 18", False, "nvidia-smi says: Driver/library version mismatch"),
        ("exit 9", False, "nvidia-smi says: nothing"),
    ],
)
def test_the_gpu_is_what_its_driver_says(
    script: str, good: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "nvidia-smi", script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    finding = doctor._gpu()
    assert (finding.good, finding.found, bool(finding.remedy)) == (good, text, not good)
    assert not finding.needed, "the node runs on the CPU"


def test_no_gpu_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._gpu().good and "CPU" in doctor._gpu().found


# Transports, by a stand-in for rclpy


def rclpy_that(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> doctor.Finding:
    (folder / "rclpy").mkdir()
    (folder / "rclpy" / "__init__.py").write_text("")
    (folder / "rclpy" / "utilities.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    return doctor.transports()["rclpy"]


def test_rclpy_is_named_with_its_rmw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("ROS_DOMAIN_ID", "62")
    code = "def get_rmw_implementation_identifier():\n    return 'rmw_cyclonedds_cpp'\n"
    finding = rclpy_that(tmp_path, code, monkeypatch)
    assert finding.good and finding.found.startswith("jazzy, rmw_cyclonedds_cpp, domain 62")


def test_an_rmw_that_is_not_installed_does_not_end_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rcl ends a process that imports rclpy then."""
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    code = "import os, sys\nprint('expected rmw_zenoh_cpp', file=sys.stderr, flush=True)\nos._exit(1)\n"
    finding = rclpy_that(tmp_path, code, monkeypatch)
    assert not finding.good and finding.remedy == "apt install ros-jazzy-rmw-zenoh-cpp"


def test_an_rclpy_of_another_python_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    finding = rclpy_that(tmp_path, "raise ImportError('no C extension for this one')", monkeypatch)
    assert finding.found == "no: ImportError: no C extension for this one"
    assert "the Python that ROS 2 jazzy was built for" in finding.remedy


def test_without_any_transport_the_node_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cyclonedds", "cyclonedds.core"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    rclpy, dds = doctor.transports().values()
    assert rclpy.remedy == "source /opt/ros/<distro>/setup.bash" and "cyclonedds==11.0" in dds.remedy
    both = doctor._transport({"rclpy": rclpy, "dds": dds})
    assert not both.good and both.needed
    assert doctor._transport({"rclpy": rclpy, "dds": replace(dds, good=True)}).found == "dds; auto takes dds"


def test_where_there_is_no_wheel_rclpy_is_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cyclonedds", "cyclonedds.core"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "this is aarch64" in doctor.transports()["dds"].remedy
