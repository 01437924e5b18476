# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Each thing that is wrong is a finding with its remedy, never the end of the examination."""

from __future__ import annotations

import shutil
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


def test_small_socket_buffers_have_a_remedy() -> None:
    finding = doctor._socket_buffer(wanted=1 << 60)
    assert not finding.good and finding.remedy == f"sysctl -w net.core.rmem_max={1 << 60}"
    assert doctor._socket_buffer(wanted=1).good


def test_the_kernel_in_use_is_said() -> None:
    assert found("attention kernel").found
