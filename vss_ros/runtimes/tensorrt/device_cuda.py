# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A GPU through cuda-python, where there is no torch. NOT YET RUN ON A GPU."""

from __future__ import annotations

import math
import weakref
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
    """Contiguous memory of a GPU, freed with this object; `array[slot] = other` queues a copy.

    Attributes:
        shape: as numpy's.
        dtype: numpy's.
        address: where it begins.
    """

    def __init__(self, device: CudaDevice, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._device, self.shape, self.dtype = device, tuple(shape), dtype
        self.address = device.allocate(self.nbytes)
        weakref.finalize(self, device.free, self.address)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize

    def __setitem__(self, slot: int, other: DeviceArray) -> None:
        if other.shape != self.shape[1:] or other.dtype != self.dtype or not 0 <= slot < self.shape[0]:
            raise ValueError(
                f"slot {slot} of {self.shape} {self.dtype} wants {self.shape[1:]}, got {other.shape} {other.dtype}"
            )
        self._device.copy(self.address + slot * other.nbytes, other.address, other.nbytes, "DeviceToDevice")


class CudaDevice:
    """The CUDA runtime's current device; see `Device`. Host memory is pageable here, so copies wait for it.

    Args:
        cudart: cuda-python's module of the CUDA runtime, or a stand-in.

    Raises:
        BackendError: there is no GPU, or CUDA refuses a call.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._number = self._call("cudaGetDevice")
        self._stream = self._call("cudaStreamCreate")  # TensorRT synchronises more on the default stream

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
        self.copy(host.ctypes.data, array.address, array.nbytes, "DeviceToHost")
        self._call("cudaStreamSynchronize", self._stream)
        return host

    def address(self, array: DeviceArray) -> int:
        return array.address

    def dtype(self, array: DeviceArray) -> str:
        return array.dtype.name
