# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Torch on a GPU: half precision, channels last, whole steps as CUDA graphs. NOT YET RUN ON A GPU.

What TensorRT is to be measured against, and what a GPU without TensorRT runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vss_ros.core.look import Look
from vss_ros.core.method import Outputs, TemporalMethod
from vss_ros.core.stage import StageSpec
from vss_ros.core.step import Memory
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.tensorrt.device_torch import TorchDevice
from vss_ros.runtimes.torch import attend_on_gpu


class TorchCudaRuntime:
    """Runs stage modules on the first GPU; for one thread at a time.

    Args:
        stages: modules by stage name; they stay as they are, a copy runs.
        specs: the plan's stages.
        half: keep weights and all floats between stages, memory included, in float16; else in float32.
        graphs: replay whole steps as CUDA graphs.
        device: with a stream of its own; None = the first GPU.
    """

    name = "torch"
    spare_slots = 0  # modules make new tensors, which go into the ring by the one copy that also puts them in order

    def __init__(
        self,
        stages: nn.ModuleDict,
        specs: Sequence[StageSpec],
        *,
        half: bool = True,
        graphs: bool = True,
        device: TorchDevice | None = None,
    ) -> None:
        self._device = device or TorchDevice()
        self._float = torch.float16 if half else torch.float32
        self._graphs = graphs
        copied: Any = copy.deepcopy(stages).eval()  # torch's stub of `to` knows no memory format beside the others
        self._stages = copied.to(self._device.where, self._float, memory_format=torch.channels_last)
        self._specs = {spec.name: spec for spec in specs}
        for module in self._stages.modules():
            if any(True for _ in module.parameters(recurse=False)):
                module.register_forward_pre_hook(_in_its_dtype)

    @property
    def specs(self) -> Sequence[StageSpec]:
        """The plan's stages."""
        return tuple(self._specs.values())

    def stepper(self, plan: TemporalMethod, memory: Memory) -> GraphedStep:
        """Runs whole steps, as CUDA graphs where these are wanted."""
        return GraphedStep(plan, memory, self, self._device, records=self._graphs)

    @torch.inference_mode()
    def run(self, stage: str, /, **inputs: Tensor) -> Outputs:
        """One stage, queued; modules work on batches, a stream is a batch of one.

        Raises:
            StageError: the inputs are not those of the stage.
        """
        spec = self._specs[stage]
        spec.check_inputs(inputs)
        self._device.stream()
        outputs = self._stages[stage](**{name: x.unsqueeze(0) for name, x in inputs.items()})
        return {t.name: outputs[t.name].squeeze(0).to(self._on_device(t.dtype)) for t in spec.outputs}

    def run_into(self, stage: str, inputs: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Outputs:
        """The same; nothing is written to `into`, see `spare_slots`."""
        return self.run(stage, **inputs)

    @torch.inference_mode()
    def attend(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        look: Look,
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        centres: Tensor | None = None,
        sink: Tensor | float | None = None,
    ) -> Tensor:
        """One read, queued."""
        self._device.stream()
        return attend_on_gpu(query, keys, values, look, valid=valid, centres=centres, sink=sink)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        return self._device.empty(shape, str(self._on_device(dtype)).removeprefix("torch."))

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        there = self._device.upload(array)
        return there.to(self._on_device(array.dtype.name))

    def download(self, array: Tensor) -> npt.NDArray[Any]:
        return self._device.download(array)

    def _on_device(self, dtype: str) -> torch.dtype:
        found: torch.dtype = self._float if dtype == "float32" else getattr(torch, dtype)
        return found


def _in_its_dtype(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a module with weights is called with, in their dtype: stages normalise pictures in float32."""
    dtype = next(module.parameters(recurse=False)).dtype
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments)
