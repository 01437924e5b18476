# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The GPU kernels without a GPU: interpreted, and compiled for the GPUs we ship to."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vss_ros.attention import build_ptx, ptx_loader
from vss_ros.attention.triton_launch import why_not
from vss_ros.attention.triton_plan import Tiles, tiles
from vss_ros.core.errors import AttentionError

ROOT = Path(__file__).parents[2]
TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not TRITON, reason="Triton is not installed (see requirements-test.txt)")


def spilled_bytes(ptx: str) -> int:
    """What ptxas, which comes with Triton, says about registers that do not suffice."""
    import triton

    (target,) = re.findall(r"^\.target (\w+)", ptx, re.MULTILINE)
    command = [triton.knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target}", "--output-file=/dev/null", "/dev/stdin"]
    done = subprocess.run(command, input=ptx, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return sum(int(count) for count in re.findall(r"(\d+) bytes spill", done.stderr))


@needs_triton
def test_every_mode_under_the_interpreter() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test/attention/test_triton_interpreted.py",
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1"}  # its products are tiny
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout), "it skipped itself"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package, built anew."""
    folder = tmp_path_factory.mktemp("ptx")
    build_ptx.build(folder)
    return folder


@needs_triton
def test_the_package_holds_what_the_source_gives(built: Path) -> None:
    import triton

    committed, fresh = ptx_loader.index(), ptx_loader.index(built)
    if committed["triton"] != triton.__version__:
        pytest.skip(f"the files were built by Triton {committed['triton']}, installed is {triton.__version__}")
    remedy = "run python -m vss_ros.attention.build_ptx vss_ros/attention/ptx"
    assert committed == fresh, remedy
    for entry in fresh["kernels"]:
        ours, theirs = (gzip.decompress((folder / entry["file"]).read_bytes()) for folder in (ptx_loader.FOLDER, built))
        assert ours == theirs, f"{entry['file']} is old; {remedy}"


@needs_triton
def test_shipped_kernels_do_not_spill(built: Path) -> None:
    texts = {path.name: gzip.decompress(path.read_bytes()).decode() for path in built.glob("*.ptx.gz")}
    assert {name: spilled_bytes(ptx) for name, ptx in texts.items()} == dict.fromkeys(texts, 0)
    assert not [name for name, ptx in texts.items() if str(ROOT) in ptx or ".file" in ptx], "paths of this machine"


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    ("dtype", "dk", "dv"),
    [("float16", 128, 2048), ("bfloat16", 64, 96), ("bfloat16", 512, 512), ("float32", 128, 128)],
)
def test_other_channels_do_not_spill(dtype: str, dk: int, dv: int, capability: int) -> None:
    kernel = build_ptx.compile_read(dtype, tiles(dtype, dk, dv, capability), capability)
    assert spilled_bytes(kernel.asm["ptx"]) == 0
    assert kernel.metadata.shared <= 99 * 1024  # of GPUs of capability 8.6 and 8.9
    if capability == 90:
        assert "wgmma.mma_async" in kernel.asm["ptx"]


@needs_triton
def test_orin_runs_the_ptx_of_8_0() -> None:
    cut = tiles("float16", 16, 64)
    orin, oldest = (build_ptx.compile_read("float16", cut, capability).asm["ptx"] for capability in (87, 80))
    assert orin.replace("sm_87", "sm_80") == oldest
    assert spilled_bytes(orin) == 0


@needs_triton
def test_ptxas_refuses_what_is_newer_than_the_files_version_says(built: Path) -> None:
    """So that the drivers of that version know every instruction of the files that it takes."""
    (file,) = (x["file"] for x in ptx_loader.index(built)["kernels"] if "read_float16_16_64_sm90" in x["file"])
    ptx = gzip.decompress((built / file).read_bytes()).decode()
    with pytest.raises(AssertionError, match=r"requires PTX ISA \.version 8\.0 or later"):
        spilled_bytes(ptx.replace(".version 8.0\n", ".version 7.4\n"))


@needs_triton
def test_the_count_of_spills_can_fail() -> None:
    starved = Tiles(32, 128, 128, 2, 32, warps=4, stages=2, registers=64)
    assert spilled_bytes(build_ptx.compile_read("float16", starved, 80).asm["ptx"]) > 0


@needs_triton
def test_refuses_a_triton_that_launches_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = build_ptx.compile_merge("float16", tiles("float16", 16, 64), 80)
    monkeypatch.setitem(
        kernel.asm, "ptx", kernel.asm["ptx"].replace(".u64 .ptr .global .align 1 merge_parts_param_6", "")
    )
    with pytest.raises(AttentionError, match="5 parameters and two unused scratch pointers"):
        build_ptx._entry(kernel, "float16", tiles("float16", 16, 64), 80)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> Any:
        return None

    if TRITON:
        assert why_not("cuda") == ""
        assert why_not("cpu") == "the GPU kernel wants tensors on a CUDA device, got cpu"
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert why_not("cuda") == "Triton is not installed"


@pytest.mark.skipif(TRITON, reason="Triton is installed")
def test_building_wants_triton(tmp_path: Path) -> None:
    with pytest.raises(AttentionError, match="building PTX wants Triton, which is not installed"):
        build_ptx.build(tmp_path)
