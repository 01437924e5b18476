# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A GPU through cuda-python, where there is no torch. NOT YET RUN ON A GPU."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt.device import Gpu


def cuda_runtime() -> Any:
    """The module of the CUDA runtime's functions, under its new name or its old one."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime
    return runtime


class DeviceArray:
    """Contiguous memory of a GPU, freed with this object and its parts; `array[slot] = other` queues a copy.

    Attributes:
        shape: as numpy's.
        dtype: numpy's.
        address: where it begins.
    """

    def __init__(
        self, device: CudaDevice, shape: tuple[int, ...], dtype: np.dtype[Any], part_of: tuple[Any, int] | None = None
    ) -> None:
        self._device, self.shape, self.dtype = device, tuple(shape), dtype
        if part_of is not None:
            self._whole, self.address = part_of
            return
        self.address = device.allocate(self.nbytes)
        weakref.finalize(self, device.free, self.address)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize

    def __getitem__(self, slot: int) -> DeviceArray:
        if not 0 <= slot < self.shape[0]:
            raise IndexError(f"a slot of 0 to {self.shape[0] - 1} was wanted, got {slot}")
        at = self.address + slot * (self.nbytes // self.shape[0])
        return DeviceArray(self._device, self.shape[1:], self.dtype, (self, at))

    def __setitem__(self, slot: int, other: DeviceArray) -> None:
        if other.shape != self.shape[1:] or other.dtype != self.dtype or not 0 <= slot < self.shape[0]:
            raise ValueError(
                f"slot {slot} of {self.shape} {self.dtype} wants {self.shape[1:]}, got {other.shape} {other.dtype}"
            )
        self._device.copy(self[slot].address, other.address, other.nbytes, "DeviceToDevice")


class Replay:
    """An instantiated graph, freed with this object."""

    def __init__(self, device: CudaDevice, ready: Any) -> None:
        self._device, self._ready = device, ready
        weakref.finalize(self, device.forget, ready)

    def __call__(self) -> None:
        self._device.launch(self._ready)


class CudaDevice:
    """The CUDA runtime's current device; see `Device`. `upload` and `download` are of pageable memory, and wait.

    Args:
        cudart: cuda-python's module of the CUDA runtime, or a stand-in.

    Raises:
        BackendError: there is no GPU, or CUDA refuses a call.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._number = self._call("cudaGetDevice")
        self._stream = self._call("cudaStreamCreate")  # TensorRT synchronises more on the default stream
        weakref.finalize(self, cudart.cudaStreamDestroy, self._stream)  # arrays and graphs keep this object

    def _call(self, name: str, *arguments: Any) -> Any:
        """One function's result.

        Raises:
            BackendError: CUDA's own words for why not.
        """
        code, *results = getattr(self._cudart, name)(*arguments)
        if int(code) != 0:
            _, said = self._cudart.cudaGetErrorString(code)
            reason = said.decode() if isinstance(said, bytes) else said
            raise BackendError(f"{name} of the CUDA runtime failed: {reason}; see the GPU's state with nvidia-smi")
        return results[0] if results else None

    def about(self) -> Gpu:
        found = self._call("cudaGetDeviceProperties", self._number)
        return Gpu(found.name.decode().rstrip("\0"), f"{found.major}.{found.minor}", found.multiProcessorCount)

    def stream(self) -> int:
        return int(self._stream)

    def allocate(self, size: int) -> int:
        """Address of new memory of `size` bytes."""
        return int(self._call("cudaMalloc", max(size, 1)))

    def free(self, address: int) -> None:
        self._cudart.cudaFree(address)  # when the process ends CUDA may be gone before: then there is nothing to free

    def copy(self, target: int, source: int, size: int, way: str) -> None:
        """Queue a copy between addresses; `way` is the end of a `cudaMemcpyKind`'s name."""
        kind = getattr(self._cudart.cudaMemcpyKind, f"cudaMemcpy{way}")
        self._call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def empty(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        return DeviceArray(self, shape, np.dtype(dtype))

    def upload(self, array: npt.NDArray[Any]) -> DeviceArray:
        array = np.ascontiguousarray(array)
        made = DeviceArray(self, array.shape, array.dtype)
        self.copy(made.address, array.ctypes.data, array.nbytes, "HostToDevice")
        return made

    def download(self, array: DeviceArray) -> npt.NDArray[Any]:
        host = np.empty(array.shape, array.dtype)
        self.fetch(array, host)
        self.wait()
        return host

    def pinned(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        address = int(self._call("cudaMallocHost", max(size, 1)))
        room = (ctypes.c_ubyte * size).from_address(address)
        weakref.finalize(room, self._cudart.cudaFreeHost, address)  # arrays keep the object that their memory is of
        return np.frombuffer(memoryview(room), dtype).reshape(shape)

    def send(self, host: npt.NDArray[Any], array: DeviceArray) -> None:
        self.copy(array.address, host.ctypes.data, host.nbytes, "HostToDevice")

    def fetch(self, array: DeviceArray, host: npt.NDArray[Any]) -> None:
        self.copy(host.ctypes.data, array.address, host.nbytes, "DeviceToHost")

    def wait(self) -> None:
        self._call("cudaStreamSynchronize", self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        # ThreadLocal: another thread may allocate meanwhile, as one that builds engines does
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        except BaseException:
            self._cudart.cudaStreamEndCapture(self._stream)  # or the stream takes no more work
            raise
        graph = self._call("cudaStreamEndCapture", self._stream)
        ready = self._call("cudaGraphInstantiateWithFlags", graph, 0)
        self._call("cudaGraphDestroy", graph)  # the instance does not need it
        return Replay(self, ready)

    def launch(self, ready: Any) -> None:
        """Queue an instantiated graph."""
        self._call("cudaGraphLaunch", ready, self._stream)

    def forget(self, ready: Any) -> None:
        """Free an instantiated graph."""
        self._cudart.cudaGraphExecDestroy(ready)

    def address(self, array: DeviceArray) -> int:
        return array.address

    def dtype(self, array: DeviceArray) -> str:
        return array.dtype.name
