# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the GPU kernels ahead of time, without a GPU, for machines without Triton.

    python -m vss_ros.attention.build_ptx vss_ros/attention/ptx

writes one gzipped PTX file per kernel and `index.json`, which says how to launch each; `ptx_loader.py` reads both. The
files of the package are committed, because a robot builds the package from source and has no Triton.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vss_ros.attention import triton_kernel
from vss_ros.attention.triton_plan import MERGE_POINTERS, MERGE_SCALARS, READ_POINTERS, READ_SCALARS, Tiles, tiles
from vss_ros.core.errors import AttentionError

log = logging.getLogger(__name__)

DTYPES = {"float16": "fp16", "bfloat16": "bf16"}  # and what Triton calls them
SHIPPED_DTYPE = "float16"  # of memories on a GPU; bfloat16 is for those who call Triton themselves
CHANNELS = (  # (dk, dv)
    *((16, 64), (32, 128)),  # LMANet, the first on ERFNet
    (32, 32),  # STT, each head
    *((16, 16), (64, 64), (256, 256), (512, 512)),  # AR-Seg on ERFNet, PSPNet in its CamVid form, BiSeNet, PSPNet
)
CAPABILITIES = (80, 90)  # 8.0 also serves every later GPU (Orin is 8.7); 9.0 has matrix instructions of its own

GRIDS = {
    "local_read": "x = ceil(rows / 8) * ceil(query_width / 8) for rows = ceil(queries / query_width), "
    "y = heads * ceil(dv / dv_block), z = parts",
    "merge_parts": "x = ceil(queries * heads / 16), y = ceil(dv / dv_block), z = 1",
}


def ptx_version(capability: int) -> int:
    """The oldest version of PTX, 74 for 7.4, that has all that a GPU is told: drivers refuse files that are newer.

    7.4 is of CUDA 11.4 (JetPack 5), 8.0 of CUDA 12.0.
    """
    return 80 if capability >= 90 else 74


def compile_read(dtype: str, cut: Tiles, capability: int) -> Any:
    """`local_read` compiled; `.asm["ptx"]`, `.asm["cubin"]` and `.metadata` are Triton's.

    Raises:
        AttentionError: Triton is not installed, or interprets.
    """
    pointers, scalars = _types(READ_POINTERS, dtype), dict(READ_SCALARS)
    options = {**cut.read_options(), "ptx_version": ptx_version(capability)}
    return _compiled("local_read", pointers, scalars, cut.read_constants(), capability, options)


def compile_merge(dtype: str, cut: Tiles, capability: int) -> Any:
    """`merge_parts` compiled, as `compile_read`."""
    pointers, scalars = _types(MERGE_POINTERS, dtype), dict(MERGE_SCALARS)
    options = {**cut.merge_options(), "ptx_version": ptx_version(capability)}
    return _compiled("merge_parts", pointers, scalars, cut.merge_constants(), capability, options)


def build(folder: Path, *, capabilities: tuple[int, ...] = CAPABILITIES) -> dict[str, Any]:
    """Write all variants and their index into `folder`; returns the index.

    Raises:
        AttentionError: as `compile_read`, or Triton launches kernels in a way that the loader does not know.
    """
    triton = _triton()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ptx.gz"):
        old.unlink()
    entries = []
    for entry, ptx in _variants(capabilities):
        (folder / entry["file"]).write_bytes(gzip.compress(ptx.encode(), mtime=0))
        entries.append(entry)
        log.info("%s: %d bytes of shared memory", entry["file"], entry["shared_bytes"])
    index = {"triton": triton.__version__, "grids": GRIDS, "kernels": entries}
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return index


def _variants(capabilities: tuple[int, ...]) -> Iterator[tuple[dict[str, Any], str]]:
    dtype = SHIPPED_DTYPE
    for capability in capabilities:
        for dk, dv in CHANNELS:
            cut = tiles(dtype, dk, dv, capability)
            for kernel in (compile_read(dtype, cut, capability), compile_merge(dtype, cut, capability)):
                yield _entry(kernel, dtype, cut, capability), kernel.asm["ptx"]


def _entry(kernel: Any, dtype: str, cut: Tiles, capability: int) -> dict[str, Any]:
    """What the loader has to know about one PTX file."""
    about, ptx = kernel.metadata, kernel.asm["ptx"]
    declared = re.search(rf"\.entry {about.name}\((.*?)\)", ptx, re.DOTALL)
    parameters = re.findall(r"\.param \.(\w+)", declared.group(1) if declared else "")
    own = len(READ_POINTERS) + len(READ_SCALARS) if about.name == "local_read" else 5
    if parameters[own:] != ["u64", "u64"] or about.global_scratch_size or about.profile_scratch_size:
        raise AttentionError(
            f"{about.name} wants {own} parameters and two unused scratch pointers, got {parameters}; "
            "build with the Triton version of requirements-test.txt"
        )
    return {
        "file": f"{about.name}_{dtype}_{cut.dk}_{cut.dv}_sm{capability}.ptx.gz",
        "entry": about.name,
        "dtype": dtype,
        "capability": capability,
        "target": re.findall(r"\.target (\w+)", ptx)[0],
        "ptx_version": re.findall(r"\.version (\S+)", ptx)[0],
        "tiles": asdict(cut),
        "threads": 32 * about.num_warps,
        "shared_bytes": about.shared,
        "parameters": parameters,  # the last two are Triton's scratch pointers, null
    }


def _types(pointers: Mapping[str, str], dtype: str) -> dict[str, str]:
    return {name: f"*{DTYPES.get(dtype, 'fp32') if kind == 'any' else kind}" for name, kind in pointers.items()}


def _compiled(
    name: str,
    pointers: dict[str, str],
    scalars: dict[str, str],
    constants: dict[str, int],
    capability: int,
    options: dict[str, int],
) -> Any:
    triton = _triton()
    kernel = getattr(triton_kernel, name)
    if not isinstance(kernel, triton.JITFunction):
        raise AttentionError("building PTX wants Triton's compiler, got its interpreter; unset TRITON_INTERPRET")
    signature = {**pointers, **scalars, **dict.fromkeys(constants, "constexpr")}
    aligned = {(at,): [["tt.divisibility", 16]] for at in range(len(pointers))}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    with triton.knobs.compilation.scope():
        triton.knobs.compilation.disable_line_info = True  # else paths of this machine end up in the file
        triton.knobs.compilation.always_compile = True  # the cache does not know that
        return triton.compile(
            source, target=triton.backends.compiler.GPUTarget("cuda", capability, 32), options=options
        )


def _triton() -> Any:
    try:
        return importlib.import_module("triton")
    except ImportError as missing:
        raise AttentionError("building PTX wants Triton, which is not installed; pip install triton") from missing


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to; PTX files in it are replaced")
    parser.add_argument("--capabilities", type=int, nargs="+", default=CAPABILITIES, help="default: %(default)s")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(options.out, capabilities=tuple(options.capabilities))


if __name__ == "__main__":
    main()
