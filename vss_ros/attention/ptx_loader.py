# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Local attention on a GPU without Triton: the shipped PTX through the CUDA driver, on raw addresses and a stream.

NOT YET RUN ON A GPU: what a driver is told is tested against a stand-in for libcuda, and the kernels themselves in
Triton's interpreter, but no driver has loaded these files so far.
"""

from __future__ import annotations

import ctypes
import functools
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vss_ros.attention.triton_plan import Grid, Read, Tiles
from vss_ros.core.errors import AttentionError

FOLDER = Path(__file__).parent / "ptx"

_LIBRARY = "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _PROCESSORS, _MOST_SHARED = 75, 76, 16, 97  # CUdevice_attribute
_MAX_DYNAMIC_SHARED = 8  # CUfunction_attribute
_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES = 5, 6  # CUjit_option
_TYPES = {"u64": ctypes.c_uint64, "u32": ctypes.c_int32, "f32": ctypes.c_float}


class Driver:
    """The few calls of libcuda that a launch takes, with its errors as sentences.

    Args:
        library: libcuda, or a stand-in; None = the system's.

    Raises:
        AttentionError: there is no NVIDIA driver, or it refuses to start.
    """

    def __init__(self, library: Any = None) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY) if library is None else library
        except OSError as error:
            raise AttentionError(f"the GPU kernel wants an NVIDIA driver, got {error}; use the CPU kernel") from error
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name: str, *arguments: Any) -> None:
        """One call.

        Raises:
            AttentionError: the driver's own words for why not.
        """
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            reason = text.value.decode() if text.value else "unknown error"
            raise AttentionError(f"{name} of the NVIDIA driver failed: {reason} ({code})")

    def attribute(self, number: int, device: ctypes.c_int) -> int:
        """One `CUdevice_attribute`."""
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), device)
        return value.value


class PtxAttention:
    """The kernels of one dtype and numbers of channels, loaded into the primary context of a device.

    That is the context of torch, TensorRT and the CUDA runtime, so their addresses and streams are good here. The
    driver compiles the PTX when it is loaded, once per machine: it keeps the result in ~/.nv.

    Args:
        dtype: of query, keys, values and result; `float16` is shipped.
        dk: key channels.
        dv: value channels.
        device: number of the GPU.
        driver: None = the system's.
        folder: of PTX files and their index.

    Raises:
        AttentionError: no file fits the channels or the GPU, or the driver refuses.
    """

    def __init__(
        self, dtype: str, dk: int, dv: int, *, device: int = 0, driver: Driver | None = None, folder: Path = FOLDER
    ) -> None:
        self._driver = driver or Driver()
        number = ctypes.c_int()
        self._driver.call("cuDeviceGet", ctypes.byref(number), ctypes.c_int(device))
        ask = functools.partial(self._driver.attribute, device=number)
        found = choose(index(folder), dtype, dk, dv, 10 * ask(_CAPABILITY_MAJOR) + ask(_CAPABILITY_MINOR))
        self.tiles = Tiles(**found["local_read"]["tiles"])
        self._processors = ask(_PROCESSORS)
        self._context = ctypes.c_void_p()
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), number)
        self._driver.call("cuCtxSetCurrent", self._context)
        most = ask(_MOST_SHARED)
        self._functions = {name: _Function(self._driver, entry, folder, most) for name, entry in found.items()}

    def parts(self, grid: Grid) -> int:
        """Among how many programs to split the slots of a query."""
        return grid.parts(self.tiles, self._processors)

    def scratch_bytes(self, grid: Grid) -> tuple[int, int]:
        """Sizes of `partial` and `partial_log`, which the caller allocates; 0 where nothing is split."""
        partial, partial_log = grid.partial_floats(self.tiles, self.parts(grid))
        return 4 * partial, 4 * partial_log

    def __call__(self, read: Read, stream: int = 0) -> None:
        """Queue a read; every array of it is an address on the device that is a multiple of 16.

        Raises:
            AttentionError: an address does not fit, or the driver refuses.
        """
        arrays = (read.query, read.keys, read.values, read.table, read.sink, read.out, read.partial, read.partial_log)
        if any(address % 16 for address in (*arrays, read.centres or 0)):
            raise AttentionError("the GPU kernel wants addresses that are multiples of 16, got others; copy the array")
        self._driver.call("cuCtxSetCurrent", self._context)  # of this thread
        programs = read.grid.read_programs(self.tiles, read.parts)
        self._functions["local_read"].launch(programs, read.read_arguments(), stream)
        if read.parts > 1:
            programs = read.grid.merge_programs(self.tiles)
            self._functions["merge_parts"].launch(programs, read.merge_arguments(), stream)


def index(folder: Path = FOLDER) -> dict[str, Any]:
    """What `build_ptx.py` wrote about the files of a folder.

    Raises:
        AttentionError: there is none.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise AttentionError(f"no PTX files in {folder}; run python -m vss_ros.attention.build_ptx {folder}") from error
    return found


def choose(about: dict[str, Any], dtype: str, dk: int, dv: int, capability: int) -> dict[str, dict[str, Any]]:
    """Entries of the index by kernel, the newest that a GPU runs.

    PTX for 8.0 runs on everything later; that for 9.0 uses instructions which are on 9.0 alone (`sm_90a`).

    Args:
        capability: of the GPU, 87 for 8.7.

    Raises:
        AttentionError: none fits; the message says what there is.
    """
    fits = [x for x in about["kernels"] if (x["dtype"], x["tiles"]["dk"], x["tiles"]["dv"]) == (dtype, dk, dv)]
    if not fits:
        there = sorted({f"{x['dtype']} dk {x['tiles']['dk']} dv {x['tiles']['dv']}" for x in about["kernels"]})
        raise AttentionError(
            f"no PTX for {dtype} dk {dk} dv {dv}, only for {', '.join(there)}; add it to CHANNELS of build_ptx.py"
        )
    runs = [x for x in fits if _runs(x, capability)]
    if not runs:
        oldest = min(x["capability"] for x in fits)
        raise AttentionError(
            f"the GPU kernel wants compute capability {oldest / 10} or newer, got {capability / 10}; use the CPU kernel"
        )
    return {x["entry"]: x for x in sorted(runs, key=lambda x: int(x["capability"]))}


def _runs(entry: dict[str, Any], capability: int) -> bool:
    if str(entry["target"]).endswith("a"):
        return int(entry["capability"]) == capability
    return int(entry["capability"]) <= capability


class _Function:
    """One kernel in the current context."""

    def __init__(self, driver: Driver, entry: dict[str, Any], folder: Path, most_shared: int) -> None:
        self._driver, self._entry = driver, entry
        if entry["shared_bytes"] > most_shared:
            raise AttentionError(
                f"{entry['file']} wants {entry['shared_bytes']} bytes of shared memory, the GPU has {most_shared}; "
                "use the CPU kernel"
            )
        self._module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._load(gzip.decompress((folder / entry["file"]).read_bytes()))
        driver.call("cuModuleGetFunction", ctypes.byref(self._function), self._module, str(entry["entry"]).encode())
        shared = ctypes.c_int(entry["shared_bytes"])  # more than 48 KB want to be asked for
        driver.call("cuFuncSetAttribute", self._function, ctypes.c_int(_MAX_DYNAMIC_SHARED), shared)

    def _load(self, ptx: bytes) -> None:
        log = ctypes.create_string_buffer(4096)
        options = (ctypes.c_int * 2)(_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        image = ctypes.create_string_buffer(ptx)  # with the final 0 that the driver wants
        try:
            self._driver.call(
                "cuModuleLoadDataEx", ctypes.byref(self._module), image, ctypes.c_uint(2), options, values
            )
        except AttentionError as error:
            said = log.value.decode(errors="replace").strip()
            raise AttentionError(f"{self._entry['file']} does not load: {error} {said}".strip()) from error

    def launch(self, programs: tuple[int, int, int], arguments: Iterable[Any], stream: int) -> None:
        """Queue `programs` of the kernel; the driver copies the arguments before it returns."""
        held = packed(self._entry["parameters"], arguments)
        addresses = (ctypes.c_void_p * len(held))(*(ctypes.addressof(x) for x in held))
        threads = (int(self._entry["threads"]), 1, 1)
        self._driver.call(
            "cuLaunchKernel",
            self._function,
            *(ctypes.c_uint(count) for count in (*programs, *threads, self._entry["shared_bytes"])),
            ctypes.c_void_p(stream),
            addresses,
            None,
        )


def packed(parameters: list[str], arguments: Iterable[Any]) -> list[Any]:
    """The arguments as the kernel's parameters, and null for the two scratch pointers that Triton adds at the end."""
    values = [*arguments, 0, 0]
    if len(values) != len(parameters):
        raise AttentionError(
            f"the PTX files want {len(parameters) - 2} arguments, got {len(values) - 2}; build them anew"
        )
    return [_TYPES[kind](value) for kind, value in zip(parameters, values, strict=True)]
