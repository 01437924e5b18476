# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The CPU in the place of a GPU, to try what is written for one; it says nothing about speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vss_ros.runtimes.tensorrt.device import Gpu


class CpuDevice:
    """As `TorchDevice`, on the CPU. What is recorded is run again at each replay, from the same arrays."""

    where = torch.device("cpu")

    def __init__(self) -> None:
        self.replays = 0

    def stream(self) -> int:
        return 7

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return torch.empty(shape, dtype=getattr(torch, dtype))

    def upload(self, array: npt.NDArray[Any]) -> Any:
        return torch.from_numpy(array.copy())

    def download(self, array: Any) -> npt.NDArray[Any]:
        return np.asarray(array.numpy())

    def pinned(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        return np.empty(shape, dtype)

    def send(self, host: npt.NDArray[Any], array: Any) -> None:
        array.copy_(torch.from_numpy(host))

    def fetch(self, array: Any, host: npt.NDArray[Any]) -> None:
        torch.from_numpy(host).copy_(array)

    def wait(self) -> None:
        pass

    def about(self) -> Gpu:
        return Gpu("no GPU", "0.0", 1)

    def address(self, array: Any) -> int:
        return int(array.data_ptr())

    def dtype(self, array: Any) -> str:
        return str(array.dtype).removeprefix("torch.")

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        def replay() -> None:
            self.replays += 1
            work()

        return replay
