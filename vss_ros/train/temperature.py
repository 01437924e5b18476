# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One number that the logits are divided by, so that confidences say how often a label is right.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2 (temperature scaling).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.assemble import motion_source
from vss_ros.core.frame import UNLABELLED, Frame, UInt8Array
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.resize import resize
from vss_ros.evaluate.calibration import Calibration
from vss_ros.runtimes.torch import TorchRuntime

_PIXELS_PER_FRAME = 2_000
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found, and the expected calibration error of the stream at temperature 1; None without truth."""

    temperature: float
    ece_before: float | None


class _Listening(nn.Module):
    """A decode stage that keeps its last logits."""

    def __init__(self, decode: nn.Module) -> None:
        super().__init__()
        self.decode = decode
        self.logits = torch.empty(0)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.decode(features)
        self.logits = outputs["logits"]
        return outputs


def fit_on_stream(
    plan: TemporalMethod,
    host: Host,
    stages: nn.ModuleDict,
    video: Iterable[Frame],
    model_size: tuple[int, int],
    device: str = "cpu",
) -> Fit:
    """Stream a labelled video through the stages and fit the temperature to a sample of its pixels.

    Args:
        plan: the method.
        host: the host it stands on.
        stages: with a `decode` stage at temperature 1.
        video: frames, some or all with truth.
        model_size: `(height, width)` px the model runs at.
        device: `cpu` or `cuda`.
    """
    listening = _Listening(stages["decode"])
    runtime = TorchRuntime(nn.ModuleDict({**stages, "decode": listening}), plan.stages(host), device=device)
    motion = motion_source(plan, "flow")
    segmenter = StreamSegmenter(plan, host, runtime, StreamOptions(model_size), resize=resize, motion=motion)
    calibration, rng = Calibration(), np.random.default_rng(0)
    samples = []
    for frame in video:
        result = segmenter(frame)
        if frame.truth is not None:
            calibration.add(frame.truth, result.labels, result.confidence)
            samples.append(_sample(listening.logits[0].float().cpu(), frame.truth, rng))
    if not samples:
        return Fit(1.0, None)
    logits, labels = (torch.cat(parts) for parts in zip(*samples, strict=True))
    return Fit(fit_temperature(logits, labels), calibration.error())


def _sample(logits: Tensor, truth: UInt8Array, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`(N, K)` logits and `(N,)` labels of some labelled pixels of one frame."""
    height, width = logits.shape[1:]
    small = np.asarray(cv2.resize(truth, (width, height), interpolation=cv2.INTER_NEAREST))
    rows, columns = np.nonzero(small != UNLABELLED)
    chosen = rng.permutation(len(rows))[:_PIXELS_PER_FRAME]
    rows, columns = rows[chosen], columns[chosen]
    return logits[:, rows, columns].T.clone(), torch.from_numpy(small[rows, columns].astype(np.int64))


def set_temperature(stages: nn.ModuleDict, temperature: float) -> None:
    """What the decode stage divides its logits by before the softmax of its confidence; exported with it."""
    buffer = stages["decode"].temperature
    assert isinstance(buffer, Tensor)
    buffer.fill_(temperature)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which the labels are likeliest; 1 without pixels.

    Args:
        logits: `(N, K)` float32.
        labels: `(N,)` int64.
    """
    if len(labels) == 0:
        return 1.0
    log_temperature = torch.zeros((), requires_grad=True)  # its exponential stays positive
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        likely = F.cross_entropy(logits / log_temperature.exp(), labels)
        likely.backward()
        return likely

    optimiser.step(loss)
    # logits that are always right would ask for 0, and noise for infinity
    return round(min(max(log_temperature.exp().item(), _LOWEST), _HIGHEST), 4)
