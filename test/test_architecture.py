# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The house rules that a machine can check: floors, sizes, and what imports where torch and rclpy are absent."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vss_ros"
FILES = sorted(PACKAGE.rglob("*.py"))
OWN_TREE = [path for folder in ("vss_ros", "test", "bench", "launch") for path in sorted((ROOT / folder).rglob("*.py"))]

FLOORS = {
    "core": 0,
    "attention": 1,
    "data": 1,
    "nets": 2,
    "methods": 3,
    "runtimes": 4,
    "assemble": 5,
    "evaluate": 6,
    "doctor": 6,
    "train": 7,
    "ros": 8,
    "cli": 9,
}


def part_of(module: str) -> str | None:
    """The floor's name in `vss_ros.<part>...`, None for other packages and for the package itself."""
    names = module.split(".")
    return names[1] if names[0] == "vss_ros" and len(names) > 1 else None


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_lower_floors(path: Path) -> None:
    own = own_part(path)
    if own == "__init__":
        return
    allowed = {name for name, floor in FLOORS.items() if floor < FLOORS[own]} | {own, "__version__"}
    parts = {part_of(module) for module in imports(path)} - {None}
    assert parts <= allowed, f"{own} (floor {FLOORS[own]}) imports {sorted(parts - allowed)}"


def test_the_floor_check_can_fail(tmp_path: Path) -> None:
    climber = tmp_path / "climber.py"
    climber.write_text("from vss_ros.ros.app import x\nimport vss_ros.cli\n")
    assert {part_of(m) for m in imports(climber)} - {None} == {"ros", "cli"}


@pytest.mark.parametrize("path", OWN_TREE, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "a file has at most 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines, at most 60"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_neither_prints_nor_exits(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "exit", "quit", "eval", "exec"}


@pytest.mark.parametrize("path", OWN_TREE, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_names_its_licence(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text or text.startswith("# Copyright 2026 the vss_ros authors\n# SPDX-License-Identifier: Apache-2.0\n")


BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is absent in this test")

sys.meta_path.insert(0, Absent())
import importlib
for module in {modules!r}:
    importlib.import_module(module)
"""


def imports_without(blocked: list[str], modules: list[str]) -> subprocess.CompletedProcess[str]:
    code = BARE.format(blocked=set(blocked), modules=modules)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def modules_of(*parts: str, but: tuple[str, ...] = ()) -> list[str]:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES]
    return [n.removesuffix(".__init__") for n in names if part_of(n) in parts and not n.endswith(but)]


def test_a_robot_without_torch_and_ros_can_run() -> None:
    modules = [
        *modules_of("core", "data", "evaluate", "doctor", "assemble", "cli"),
        *modules_of("attention", but=("training", "tiled")),
        "vss_ros.methods.single.plan",
        "vss_ros.methods.lmanet.plan",
        "vss_ros.methods.stt.plan",
        "vss_ros.methods.arseg.plan",
        "vss_ros.methods.ssltm.plan",
        "vss_ros.runtimes.onnx",
        "vss_ros.ros.app",
    ]
    done = imports_without(["torch", "onnx", "rclpy", "cv_bridge", "sensor_msgs"], modules)
    assert done.returncode == 0, done.stderr


def test_core_is_numpy_only() -> None:
    blocked = ["torch", "onnx", "onnxruntime", "rclpy", "cv2", "yaml", "rosbags", "av", "PIL", "typer", "rich", "scipy"]
    done = imports_without(blocked, modules_of("core"))
    assert done.returncode == 0, done.stderr


def test_the_bare_import_check_can_fail() -> None:
    assert "absent in this test" in imports_without(["torch"], ["vss_ros.nets.erfnet"]).stderr
