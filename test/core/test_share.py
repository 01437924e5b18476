# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from vss_ros.core import share
from vss_ros.core.errors import ConfigError
from vss_ros.core.share import share_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """The package as if installed in an empty site-packages, with nothing in any prefix."""
    package = tmp_path / "env" / "lib" / "python3" / "site-packages" / "vss_ros" / "core"
    package.mkdir(parents=True)
    monkeypatch.setattr(share, "__file__", str(package / "share.py"))
    monkeypatch.setattr(share.sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(share.site, "USER_BASE", str(tmp_path / "user"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    return tmp_path


def test_a_checkout_uses_its_own_folder():
    assert share_folder("config") == ROOT / "config"


def test_pip_install_finds_the_prefix_the_code_lies_under(nowhere):
    folder = nowhere / "env" / "share" / "vss_ros" / "models"
    folder.mkdir(parents=True)
    assert share_folder("models") == folder


def test_a_folder_of_that_name_in_site_packages_is_somebody_elses(nowhere):
    (nowhere / "env" / "lib" / "python3" / "site-packages" / "models").mkdir()
    with pytest.raises(ConfigError, match="'models' folder was wanted"):
        share_folder("models")


def test_ament_prefixes_are_searched_in_order(nowhere, monkeypatch):
    second, third = nowhere / "second", nowhere / "third"
    for prefix in (second, third):
        (prefix / "share" / "vss_ros" / "launch").mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{nowhere / 'first'}:{second}:{third}")
    assert share_folder("launch") == second / "share" / "vss_ros" / "launch"


@pytest.mark.parametrize("prefix", ["prefix", "user"])
def test_interpreter_and_user_prefix_are_searched_last(nowhere, prefix):
    folder = nowhere / prefix / "share" / "vss_ros" / "config"
    folder.mkdir(parents=True)
    assert share_folder("config") == folder


def test_the_running_codes_prefix_wins_over_a_sourced_workspace(nowhere, monkeypatch):
    own = nowhere / "env" / "share" / "vss_ros" / "config"
    other = nowhere / "other"
    for folder in (own, other / "share" / "vss_ros" / "config"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(other))
    assert share_folder("config") == own


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="config, models, launch, got 'weights'"):
        share_folder("weights")
