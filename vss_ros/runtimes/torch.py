# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Plain torch: runs modules as they are, for training's measurements and as the export's reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vss_ros.attention import local_attention
from vss_ros.attention.training import local_attention_dense
from vss_ros.attention.triton_plan import MOST_KEY_CHANNELS
from vss_ros.core.look import Look
from vss_ros.core.method import Outputs
from vss_ros.core.stage import StageSpec


class TorchRuntime:
    """Runs stage modules in float32, or in bfloat16 where accuracy is only watched.

    Args:
        stages: modules by stage name; put into eval mode.
        specs: the plan's stages.
        device: `cpu` or `cuda`.
        autocast: compute the stages in bfloat16.
    """

    name = "torch"

    def __init__(
        self, stages: nn.ModuleDict, specs: Sequence[StageSpec], *, device: str = "cpu", autocast: bool = False
    ) -> None:
        self._stages = stages.eval().to(device)
        self._specs = {spec.name: spec for spec in specs}
        self._device, self._autocast = torch.device(device), autocast

    @torch.inference_mode()
    def run(self, stage: str, /, **inputs: Tensor) -> Outputs:
        """One stage; modules work on batches, a stream is a batch of one.

        Raises:
            StageError: the inputs are not those of the stage.
        """
        spec = self._specs[stage]
        spec.check_inputs(inputs)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            outputs = self._stages[stage](**{name: x.unsqueeze(0) for name, x in inputs.items()})
        types = {t.name: getattr(torch, t.dtype) for t in spec.outputs}
        return {name: outputs[name].squeeze(0).to(dtype) for name, dtype in types.items()}

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
        if self._device.type == "cpu":
            seen = local_attention(
                *(query.numpy(), keys.numpy(), values.numpy(), look),
                valid=valid,
                centres=_array(centres),
                sink=_array(sink),
                threads=torch.get_num_threads(),
            )
            return torch.from_numpy(seen)
        return attend_on_gpu(query, keys, values, look, valid=valid, centres=centres, sink=sink)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype), device=self._device)

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def download(self, array: Tensor) -> npt.NDArray[Any]:
        return array.cpu().numpy()


def attend_on_gpu(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None,
    centres: Tensor | None,
    sink: Tensor | float | None,
) -> Tensor:
    """One read by the Triton kernel; in plain torch where that cannot be used."""
    from vss_ros.attention.triton_launch import attend_triton, why_not  # importing Triton takes a while

    most = MOST_KEY_CHANNELS.get(str(query.dtype).removeprefix("torch."), 0)
    if not why_not(query.device.type) and query.shape[-1] <= most:
        return attend_triton(query, keys, values, look, valid=valid, centres=centres, sink=sink)
    batch = query.unsqueeze(0), keys.unsqueeze(1), values.unsqueeze(1)
    cells = None if centres is None else centres.unsqueeze(0)
    return local_attention_dense(*batch, look, valid=valid, centres=cells, sink=sink).squeeze(0)


def _array(x: Any) -> Any:
    return x.numpy() if isinstance(x, Tensor) else x
