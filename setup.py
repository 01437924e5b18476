# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package for colcon (ament_python) and for pip; tool settings are in pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup
from setuptools.command.develop import develop

NAME = "vss_ros"
ROOT = Path(__file__).resolve().parent
KERNEL = f"{NAME}/attention/kernel"


def share_files(folder: str, pattern: str) -> list[tuple[str, list[str]]]:
    """Files below `folder`, to be installed in the same folders under `share/vss_ros`."""
    by_folder: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).glob(pattern)):
        if path.is_file():
            relative = path.relative_to(ROOT)
            by_folder.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(by_folder.items())


class Develop(develop):
    """`colcon build --symlink-install`: its scripts find their python as setup.cfg asks for all other installs."""

    def write_script(self, script_name: str, contents: str, *rest: Any) -> None:
        super().write_script(script_name, contents.replace(sys.executable, "/usr/bin/env python3", 1), *rest)


# Plain C behind ctypes, no Python headers used. Not -ffast-math: it breaks the exponential. Instruction sets beyond
# the platform's own are chosen inside the source, so that one build serves every machine of the platform.
attention_kernel = Extension(
    f"{NAME}.attention._kernel",
    sources=[f"{KERNEL}/local_attention.cpp"],
    depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / KERNEL).glob("*.h")),
    language="c++",
    extra_compile_args=[
        *("-std=c++17", "-O3", "-g0", "-pthread", "-fvisibility=hidden", "-Wno-psabi"),
        *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"),
    ],
    extra_link_args=["-pthread"],
    optional=True,  # without a compiler the package works with its numpy reference
)

setup(
    name=NAME,
    version="0.1.0",
    description="Streaming video semantic segmentation for robots: a frame in, a label for every pixel out",
    maintainer="vss_ros authors",
    maintainer_email="vss_ros@example.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        f"{NAME}.attention": ["kernel/*.cpp", "kernel/*.h", "ptx/*.gz", "ptx/index.json"],
        f"{NAME}.evaluate": ["report.html.j2"],
    },
    cmdclass={"develop": Develop},
    ext_modules=[attention_kernel],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *share_files("launch", "*.launch.py"),
        *share_files("config", "**/*"),
        *share_files("models", "*/*"),
    ],
    install_requires=["numpy", "setuptools"],
    entry_points={
        "console_scripts": [
            f"vss = {NAME}.cli:main",
            f"segmenter = {NAME}.ros.rclpy_face:main",
            f"doctor = {NAME}.cli:main_doctor",
        ]
    },
    zip_safe=False,
)
