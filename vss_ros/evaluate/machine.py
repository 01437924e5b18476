# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where figures were measured, so that they can be measured again."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from vss_ros.attention import explain
from vss_ros.core.cpus import usable_cpus

_PACKAGES = ("vss_ros", "numpy", "onnxruntime", "opencv-python-headless", "torch")
_CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """CPU, cores, system, the attention kernel, and versions of what computes (None = not installed)."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "attention": explain()[0],
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def cpu_name(info: Path = _CPU_INFO) -> str:
    """The processor's name as the kernel knows it, or its architecture."""
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "") or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
