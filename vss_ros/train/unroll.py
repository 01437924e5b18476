# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training runs the same `step` as the robot; what nobody asks for is not computed.

A clip is unrolled frame by frame. Stages and reads return deferred tensors, so that the decoder of a frame that is
only remembered never runs, although the plan calls it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vss_ros.attention.training import local_attention_dense
from vss_ros.core.errors import TrainError
from vss_ros.core.look import Look
from vss_ros.core.memory import Bank, MemoryView
from vss_ros.core.method import Host, StepInput, TemporalMethod


class Deferred:
    """A value computed when it is first asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute: Callable[[], Any] | None = compute
        self._value: Any = None

    def value(self) -> Any:
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value


def force(x: Any) -> Any:
    """The tensor behind `x`, deferred or not."""
    return x.value() if isinstance(x, Deferred) else x


class DeferredOutputs(Mapping[str, Any]):
    """Outputs of a stage that has not run yet."""

    def __init__(self, outputs: Deferred) -> None:
        self._outputs = outputs

    def __getitem__(self, name: str) -> Deferred:
        return Deferred(lambda: self._outputs.value()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs.value())

    def __len__(self) -> int:
        return len(self._outputs.value())


class ClipBank:
    """A bank whose slots stay in the autograd graph; tensors are `(B, ...)`, a read stacks them to `(T, B, ...)`."""

    def __init__(self, slots: int) -> None:
        self._past: deque[dict[str, Tensor]] = deque(maxlen=slots)

    def read(self) -> MemoryView:
        count = len(self._past)
        names = self._past[0] if count else ()
        tensors = {name: torch.stack([slot[name] for slot in self._past]) for name in names}
        return MemoryView(tensors, np.ones(count, bool), np.arange(count, 0, -1))

    def push(self, **tensors: Any) -> None:
        self._past.append({name: force(tensor) for name, tensor in tensors.items()})

    def clear(self) -> None:
        self._past.clear()


def unroll(plan: TemporalMethod, host: Host, stages: nn.ModuleDict, images: Tensor) -> Tensor:
    """Logits `(B, classes, H, W)` of a clip's last frame.

    Args:
        plan: the method.
        host: the host it stands on.
        stages: the method's modules by stage name.
        images: `(T, B, H, W, 3)` uint8 RGB, oldest first.

    Raises:
        TrainError: the clip has no frame.
    """
    if len(images) == 0:
        raise TrainError("a clip wants at least one frame, got none")

    def run(stage: str, /, **inputs: Any) -> DeferredOutputs:
        return DeferredOutputs(Deferred(lambda: stages[stage](**{k: force(v) for k, v in inputs.items()})))

    def attend(
        query: Any,
        keys: Any,
        values: Any,
        look: Look,
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        centres: Any = None,
        sink: Any = None,
    ) -> Deferred:
        def read() -> Tensor:
            more = {"valid": valid, "centres": force(centres), "sink": force(sink)}
            return local_attention_dense(force(query), keys, values, look, **more)

        return Deferred(read)

    memory: dict[str, Bank] = {spec.name: ClipBank(spec.slots) for spec in plan.banks(host)}
    for image in images:
        outputs = plan.step(StepInput(image), memory, run, attend)
    # plans return labels and confidence; the logits beside them come from the same, still deferred, stage
    return force(outputs["logits"])
