# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The parameters file and the documentation's table agree with the declarations."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vss_ros.core.config import Settings, declarations
from vss_ros.ros.parameter_file import parameters_table, parameters_yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_file_is_what_the_declarations_say():
    written = (ROOT / "config" / "segmenter.yaml").read_text(encoding="utf-8")
    assert written == parameters_yaml(), "run `python -m vss_ros.ros.parameter_file`"


def test_the_file_holds_every_setting_with_its_default_and_type():
    content = yaml.safe_load(parameters_yaml())["/**"]["ros__parameters"]
    settings = Settings().with_values(content)
    assert settings == Settings()
    for declared in declarations():
        value = content[declared.group][declared.name]
        assert type(value) is declared.type, f"ROS tells 0 from 0.0: {declared.key}"


def test_the_documentation_has_the_table():
    text = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")
    assert parameters_table() in text, "put the output of `python -m vss_ros.ros.parameter_file` into docs/ros.md"


@pytest.mark.parametrize("declared", declarations(), ids=lambda d: d.key)
def test_every_setting_is_named_as_ros_wants_it(declared):
    assert declared.key == declared.key.lower() and declared.key.replace(".", "_").replace("_", "a").isalnum()
    assert declared.says.endswith(".")
