# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A GPU through torch: its caching allocators, its pinned memory, a stream of its own. NOT YET RUN ON A GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from vss_ros.core.errors import StageError
from vss_ros.runtimes.tensorrt.device import Gpu


class TorchDevice:
    """Torch's first CUDA device; see `Device`.

    Attributes:
        where: its tensors are.
    """

    def __init__(self) -> None:
        self.where = torch.device("cuda", 0)
        self._stream = torch.cuda.Stream(self.where)  # TensorRT synchronises more on the default stream
        self._pool = torch.cuda.graph_pool_handle()  # graphs of one stream never run at once, and share their scratch

    def about(self) -> Gpu:
        found = torch.cuda.get_device_properties(self.where)
        return Gpu(found.name, f"{found.major}.{found.minor}", found.multi_processor_count)

    def stream(self) -> int:
        torch.cuda.set_stream(self._stream)
        return int(self._stream.cuda_stream)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        self.stream()  # the allocator gives freed memory to later work of the same stream
        return torch.empty(shape, dtype=getattr(torch, dtype), device=self.where)

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        self.stream()
        host = torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), pin_memory=True)
        host.numpy()[...] = array
        return host.to(self.where, non_blocking=True)

    def download(self, array: Tensor) -> npt.NDArray[Any]:
        self.stream()
        host = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
        host.copy_(array, non_blocking=True)
        self._stream.synchronize()
        return host.numpy()

    def pinned(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        return torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=True).numpy()

    def send(self, host: npt.NDArray[Any], array: Tensor) -> None:
        self.stream()
        array.copy_(torch.from_numpy(host), non_blocking=True)  # torch asks the driver whether memory is pinned

    def fetch(self, array: Tensor, host: npt.NDArray[Any]) -> None:
        self.stream()
        torch.from_numpy(host).copy_(array, non_blocking=True)

    def wait(self) -> None:
        self._stream.synchronize()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread may allocate meanwhile, as one that builds engines does
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()

        def replay() -> None:
            self.stream()
            graph.replay()

        return replay

    def address(self, array: Tensor) -> int:
        if not array.is_contiguous():
            raise StageError(f"an engine wants contiguous tensors, got strides {array.stride()}; copy the tensor")
        return array.data_ptr()

    def dtype(self, array: Tensor) -> str:
        return str(array.dtype).removeprefix("torch.")
