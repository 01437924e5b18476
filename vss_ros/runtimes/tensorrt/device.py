# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Arrays and the stream of a GPU, as far as running engines needs them; torch's or those of cuda-python."""

from __future__ import annotations

from collections.abc import Callable
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
    """One GPU with one stream.

    Arrays have `shape` and `itemsize`; `array[slot]` is a part of one, and `array[slot] = other` queues a copy.
    """

    def about(self) -> Gpu: ...

    def stream(self) -> int:
        """Handle of the stream; from now on the calling thread's copies into arrays are queued on it as well."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    def upload(self, array: npt.NDArray[Any]) -> Array: ...

    def download(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, after all that was queued before."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Memory of the host that the GPU copies from and to by itself."""
        ...

    def send(self, host: npt.NDArray[Any], array: Array) -> None:
        """Queue a copy from memory that `pinned` gave, which must not change until it is done."""
        ...

    def fetch(self, array: Array, host: npt.NDArray[Any]) -> None:
        """Queue a copy to memory that `pinned` gave, which can be read after `wait`."""
        ...

    def wait(self) -> None:
        """Until all that was queued is done."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues, as a CUDA graph that is queued at once by calling the result; it is not done now.

        The addresses that the graph reads and writes are those of now: arrays must stay where they are.
        """
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


def open_device() -> Device:
    """The first GPU with a new stream, through torch if it sees one, else through cuda-python.

    Each runtime wants a stream of its own: what one thread queues while another one records the same stream would
    become part of that graph.

    Raises:
        BackendError: neither is installed, or there is no GPU.
    """
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
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
