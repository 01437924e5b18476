# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What colcon and pip install: commands that exist, and every file that is read at run time."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parents[1]


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_every_command_can_be_called(declared: dict[str, Any]) -> None:
    commands = dict(entry.split(" = ") for entry in declared["entry_points"]["console_scripts"])
    assert {"vss", "segmenter", "doctor"} == set(commands), "doctor is for `ros2 run vss_ros doctor`"
    for name, target in commands.items():
        module, function = target.split(":")
        if name != "segmenter" or importlib.util.find_spec("rclpy") is not None:
            assert callable(getattr(importlib.import_module(module), function))


def test_layouts_and_parameters_are_installed(declared: dict[str, Any]) -> None:
    installed = {f"{folder}/{Path(file).name}" for folder, files in declared["data_files"] for file in files}
    for name in ("vss.rviz", "foxglove_layout.json", "segmenter.yaml", "rosbag_qos_overrides.yaml"):
        assert f"share/vss_ros/config/{name}" in installed
    assert all((ROOT / file).is_file() for _, files in declared["data_files"] for file in files)
