# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training runs the same `step` as the robot; what nobody asks for is not computed.

A clip is unrolled frame by frame. Stages and reads return deferred tensors, so that the decoder of a frame that is
only remembered never runs, although the plan calls it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.attention.training import local_attention_dense
from vss_ros.core.errors import TrainError
from vss_ros.core.look import Look
from vss_ros.core.memory import Bank, MemoryView
from vss_ros.core.method import Host, KeyframeMethod, StepInput, TemporalMethod


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

    def __init__(self, slots: int, every: int = 1) -> None:
        self._past: deque[dict[str, Tensor]] = deque(maxlen=slots)
        self._pushed_at: deque[int] = deque(maxlen=slots)  # number of the push that each of them came with
        self._pushes, self._every = 0, every

    def read(self) -> MemoryView:
        count = len(self._past)
        names = self._past[0] if count else ()
        tensors = {name: torch.stack([slot[name] for slot in self._past]) for name in names}
        return MemoryView(tensors, np.ones(count, bool), 1 + self._pushes - np.array(self._pushed_at, np.int64))

    def push(self, **tensors: Any) -> None:
        self._pushes += 1
        if not self._pushed_at or self._pushes - self._pushed_at[-1] >= self._every:
            self._past.append({name: force(tensor) for name, tensor in tensors.items()})
            self._pushed_at.append(self._pushes)

    def clear(self) -> None:
        self._past.clear()
        self._pushed_at.clear()


class Asked(Mapping[str, Tensor]):
    """Outputs of a stage as tensors; looking at one computes it."""

    def __init__(self, outputs: DeferredOutputs) -> None:
        self._outputs = outputs

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = force(self._outputs[name])
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


@dataclass(frozen=True, slots=True)
class LastFrame:
    """What a clip's last frame gave.

    Attributes:
        logits: `(B, classes, H, W)`.
        outputs: of every stage that the plan ran for it, by stage name; training may ask for more than the plan does.
    """

    logits: Tensor
    outputs: Mapping[str, Mapping[str, Tensor]]


def unroll(
    plan: TemporalMethod, host: Host, stages: nn.ModuleDict, images: Tensor, motion: Tensor | None = None
) -> Tensor:
    """Logits `(B, classes, H, W)` of a clip's last frame; arguments and errors as in `last_frame`."""
    return last_frame(plan, host, stages, images, motion).logits


def last_frame(
    plan: TemporalMethod, host: Host, stages: nn.ModuleDict, images: Tensor, motion: Tensor | None = None
) -> LastFrame:
    """Run the plan over a clip; of its last frame everything is kept.

    Args:
        plan: the method.
        host: the host it stands on.
        stages: the method's modules by stage name.
        images: `(T, B, H, W, 3)` uint8 RGB, oldest first.
        motion: for a method with keyframes, `(T, B, h, w, 2)` float32 px `(dx, dy)` to where things were in the clip's
            first frame; positions divide the picture evenly. None = nothing moved.

    Raises:
        TrainError: the clip has no frame.
    """
    if len(images) == 0:
        raise TrainError("a clip wants at least one frame, got none")

    outputs: dict[str, Asked] = {}

    def run(stage: str, /, **inputs: Any) -> DeferredOutputs:
        given = DeferredOutputs(Deferred(lambda: stages[stage](**{k: force(v) for k, v in inputs.items()})))
        outputs[stage] = Asked(given)
        return given

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
            return local_attention_dense(force(query), _of_slots(keys), _of_slots(values), look, **more)

        return Deferred(read)

    memory: dict[str, Bank] = {spec.name: ClipBank(spec.slots, spec.every) for spec in plan.banks(host)}
    for number in range(len(images)):
        outputs.clear()
        published = plan.step(_step_input(plan, host, images, motion, number), memory, run, attend)
    # plans return labels and confidence; the logits beside them come from the same, still deferred, stage
    return LastFrame(force(published["logits"]), outputs)


def _of_slots(x: Any) -> Tensor:
    """`(slots, B, ...)`: a bank gives it so, a stage puts the batch first."""
    tensor: Tensor = x.value().transpose(0, 1) if isinstance(x, Deferred) else x
    return tensor


def _step_input(plan: TemporalMethod, host: Host, images: Tensor, motion: Tensor | None, number: int) -> StepInput:
    """Frame `number` of a clip; for a method with keyframes also which it is, and its motion in cells."""
    if not isinstance(plan, KeyframeMethod):
        return StepInput(images[number])
    size = images.shape[2:4]
    rows, columns = (length // plan.motion_stride(host) for length in size)
    if motion is None:
        cells = torch.zeros(images.shape[1], rows, columns, 2, device=images.device)
    else:
        scale = torch.tensor([columns / size[1], rows / size[0]], device=images.device)
        field = F.interpolate(motion[number].movedim(3, 1), size=(rows, columns), mode="nearest-exact")
        cells = field.movedim(1, 3) * scale
    return StepInput(images[number], cells, number % plan.period == 0)
