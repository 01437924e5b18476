# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Arrays and the stream of a GPU, as far as running engines needs them; torch's or those of cuda-python."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from vss_ros.core.errors import BackendError
from vss_ros.core.memory import Array


@dataclass(frozen=True)
class Gpu:
    """What engines depend on: name, compute capability such as `8.7`, number of multiprocessors."""

    name: str
    capability: str
    processors: int


class Device(Protocol):
    """One GPU with one stream. Arrays have `shape` and `itemsize`, and take another one by `array[slot] = other`."""

    def about(self) -> Gpu: ...

    def stream(self) -> int:
        """Handle of the stream; from now on the calling thread's copies into arrays are queued on it as well."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    def upload(self, array: npt.NDArray[Any]) -> Array: ...

    def download(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, after all that was queued before."""
        ...

    def address(self, array: Array) -> int:
        """Where a contiguous array begins.

        Raises:
            StageError: it is not contiguous.
        """
        ...

    def dtype(self, array: Array) -> str:
        """Numpy's name of an array's dtype."""
        ...


@functools.cache
def open_device() -> Device:
    """The first GPU, through torch if it sees one, else through cuda-python.

    Raises:
        BackendError: neither is installed, or there is no GPU.
    """
    try:
        import torch
    except ImportError as error:
        without_torch = str(error)
    else:
        if torch.cuda.is_available():
            from vss_ros.runtimes.tensorrt.device_torch import TorchDevice

            return TorchDevice()
        without_torch = f"torch {torch.__version__} sees no GPU"
    from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice, cuda_runtime

    try:
        cudart = cuda_runtime()
    except ImportError as error:
        raise BackendError(
            f"backend 'tensorrt' wants torch with CUDA or cuda-python for its arrays, got: {without_torch}; {error}; "
            "pip install cuda-python, or use runtime.backend onnx"
        ) from error
    return CudaDevice(cudart)
