# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stand-ins for a GPU: its memory is the host's, its kernel the CPU's, its runtime library a handful of functions.

What is queued is done at once, or while a graph is recorded not at all: then each replay does it, with the addresses
that it was recorded with.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention import local_attention
from vss_ros.attention.triton_plan import LOG2_E, NO_SINK, Grid, Read
from vss_ros.core.errors import BackendError
from vss_ros.core.look import Border, Look
from vss_ros.runtimes.tensorrt.device import Gpu


def at(address: int, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """The host's memory at an address, as an array."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class Stream:
    """Does what is queued, or records it."""

    def __init__(self) -> None:
        self.recorded: list[Callable[[], None]] | None = None

    def queue(self, work: Callable[[], None]) -> None:
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)


STREAM = Stream()


class HostDevice:
    """A `Device` on the host's memory; it has no graphs."""

    STREAM = 77

    def __init__(self, gpu: Gpu | None = None) -> None:
        self.gpu = gpu or Gpu("a GPU", "8.7", 16)

    def about(self) -> Gpu:
        return self.gpu

    def stream(self) -> int:
        return self.STREAM

    def empty(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        room = np.empty(math.prod(shape) * np.dtype(dtype).itemsize + 256, np.uint8)
        start = -room.ctypes.data % 256  # as a GPU's allocator does
        return room[start : start + len(room) - 256].view(dtype).reshape(shape)

    def upload(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        made = self.empty(array.shape, array.dtype.name)
        made[...] = array
        return made

    def download(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.copy()

    def pinned(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        return np.empty(shape, dtype)

    def send(self, host: npt.NDArray[Any], array: npt.NDArray[Any]) -> None:
        array[...] = host

    def fetch(self, array: npt.NDArray[Any], host: npt.NDArray[Any]) -> None:
        host[...] = array

    def wait(self) -> None:
        pass

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        raise BackendError("this GPU has no graphs")

    def address(self, array: npt.NDArray[Any]) -> int:
        assert array.flags.c_contiguous
        return array.ctypes.data

    def dtype(self, array: npt.NDArray[Any]) -> str:
        return array.dtype.name


class HostKernel:
    """What `PtxAttention` does, by the CPU's kernel on addresses of the host's memory; notes its reads."""

    def __init__(self, dtype: str, dk: int, dv: int) -> None:
        self.dtype, self.dk, self.dv = dtype, dk, dv
        self.reads: list[Read] = []

    def parts(self, grid: Grid) -> int:
        return 2 if grid.slots > 1 else 1

    def scratch_bytes(self, grid: Grid) -> tuple[int, int]:
        return (4 * grid.queries * self.dv, 4 * grid.queries) if grid.slots > 1 else (0, 0)

    def __call__(self, read: Read, stream: int = 0) -> None:
        assert stream == HostDevice.STREAM and (read.partial != 0) == (read.parts > 1)
        self.reads.append(read)
        STREAM.queue(lambda: self._do(read))

    def _do(self, read: Read) -> None:
        grid, heads = read.grid, read.grid.heads
        table = at(read.table, (grid.slots, 2), "int32")
        frame, slots = (grid.height, grid.width, heads), int(table[:, 0].max()) + 1
        places = (grid.height, grid.width) if read.centres is None else (grid.queries,)
        query, keys, values, sink = (
            at(address, shape, dtype).astype(np.float32)
            for address, shape, dtype in (
                (read.query, (*places, heads, self.dk), self.dtype),
                (read.keys, (slots, *frame, self.dk), self.dtype),
                (read.values, (slots, *frame, self.dv), self.dtype),
                (read.sink, (heads,), "float32"),
            )
        )
        windows = [1] * slots
        for slot, reach in table:
            windows[slot] = 2 * int(reach) + 1
        seen = local_attention(
            *(query, np.nan_to_num(keys), np.nan_to_num(values)),
            Look(tuple(windows), Border.ZERO if read.zero_border else Border.MASK, read.scale),
            valid=np.isin(np.arange(slots), table[:, 0]),
            centres=None if read.centres is None else at(read.centres, (*places, 2), "int32"),
            sink=np.where(sink <= NO_SINK, -np.inf, sink / LOG2_E).astype(np.float32),
        )
        at(read.out, (*places, heads, self.dv), self.dtype)[...] = seen


class Graphs:
    """What was recorded, by number."""

    def __init__(self) -> None:
        self.held: dict[int, list[Callable[[], None]]] = {}
        self._made = 0

    def begin(self, stream: int, mode: str) -> None:
        assert stream == HostDevice.STREAM and mode == "thread's" and STREAM.recorded is None
        STREAM.recorded = []

    def end(self, stream: int) -> int:
        assert STREAM.recorded is not None
        self._made += 1
        self.held[self._made], STREAM.recorded = STREAM.recorded, None
        return self._made

    def launch(self, graph: int, stream: int) -> None:
        assert stream == HostDevice.STREAM
        for work in self.held[graph]:
            STREAM.queue(work)


def host_cudart(**fails: int) -> SimpleNamespace:
    """cuda-python's module of the CUDA runtime, on the host's memory; `fails` are codes of calls by name."""
    rooms: dict[int, Any] = {}
    graphs = Graphs()
    copies: list[tuple[str, int]] = []
    streams: list[int] = []

    def malloc(size: int) -> int:
        room = ctypes.create_string_buffer(size + 256)
        address = ctypes.addressof(room) + -ctypes.addressof(room) % 256  # as CUDA's
        rooms[address] = room
        return address

    def copy(target: int, source: int, size: int, kind: str, stream: int) -> None:
        assert stream == HostDevice.STREAM
        copies.append((kind, size))
        STREAM.queue(lambda: ctypes.memmove(target, source, size) and None)

    def function(name: str, does: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            if name in fails:
                return fails[name], None
            result = does(*arguments)
            return (0,) if result is None else (0, result)

        return call

    about = SimpleNamespace(name=b"Orin\0\0", major=8, minor=7, multiProcessorCount=16)
    functions = {
        "cudaGetDevice": lambda: 0,
        "cudaStreamCreate": lambda: streams.append(HostDevice.STREAM) or HostDevice.STREAM,
        "cudaStreamDestroy": streams.remove,
        "cudaGetDeviceProperties": lambda number: about,
        "cudaMalloc": malloc,
        "cudaFree": lambda address: rooms.pop(address) and None,
        "cudaMallocHost": malloc,
        "cudaFreeHost": lambda address: rooms.pop(address) and None,
        "cudaStreamBeginCapture": graphs.begin,
        "cudaStreamEndCapture": graphs.end,
        "cudaGraphInstantiateWithFlags": lambda graph, flags: graph,
        "cudaGraphLaunch": graphs.launch,
        "cudaGraphDestroy": lambda graph: None,
        "cudaGraphExecDestroy": lambda graph: graphs.held.pop(graph) and None,
        "cudaMemcpyAsync": copy,
        "cudaStreamSynchronize": lambda stream: None,
        "cudaGetErrorString": lambda code: b"out of memory",
    }
    kinds = SimpleNamespace(**{f"cudaMemcpy{way}": way for way in ("HostToDevice", "DeviceToHost", "DeviceToDevice")})
    made = {name: function(name, does) for name, does in functions.items()}
    modes = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread's")
    seen = {"rooms": rooms, "graphs": graphs.held, "copies": copies, "streams": streams}
    return SimpleNamespace(**made, cudaMemcpyKind=kinds, cudaStreamCaptureMode=modes, **seen)
