# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Mean teacher: pictures without labels are labelled by the running average of the network that is being trained.

Source: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017; strong views and confident labels
as in Sohn et al., "FixMatch", NeurIPS 2020; regions mixed as in Yun et al., "CutMix", ICCV 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.core.frame import UNLABELLED
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.train.objective import autocast
from vss_ros.train.unroll import unroll

_RAMP = 0.3  # share of a phase over which the weight grows to 1
_FIRST = 1 / 3  # share of a phase in which less certain labels will do
CERTAIN, _CERTAIN_FIRST = 0.95, 0.90  # probability from which on a label is believed


@dataclass(frozen=True)
class MeanTeacher:
    """The loss of clips without labels.

    Attributes:
        plan: the method.
        host: the host it stands on.
        student: the stages that are being trained.
        teacher: their running average.
    """

    plan: TemporalMethod
    host: Host
    student: nn.ModuleDict
    teacher: nn.ModuleDict

    def __call__(self, images: Tensor, done: float) -> Tensor:
        """Cross entropy between what the student makes of a strong view and what the teacher is certain of.

        Args:
            images: `(T, B, H, W, 3)` uint8 RGB, oldest first: the weak view.
            done: share of the phase that is over, 0..1.
        """
        labels = pseudo_labels(self._taught(images), _CERTAIN_FIRST if done < _FIRST else CERTAIN)
        images, labels = cut_and_mix(recoloured(images), labels)
        with autocast(images.device.type):
            logits = unroll(self.plan, self.host, self.student, images)
        # over all pixels, not the believed ones: a teacher that is certain of little shall not push as hard
        believed = F.cross_entropy(logits.float(), labels.long(), ignore_index=UNLABELLED, reduction="sum")
        return ramp(done) * believed / labels.numel()

    @torch.no_grad()
    def _taught(self, images: Tensor) -> Tensor:
        """The teacher's logits; its norms and dropout stand still."""
        self.teacher.eval()
        with autocast(images.device.type):
            return unroll(self.plan, self.host, self.teacher, images).float()


def ramp(done: float) -> float:
    """exp(-5 (1 - x)^2) with x from 0 to 1 over the first part of a phase (Laine and Aila, ICLR 2017)."""
    return math.exp(-5 * (1 - min(done / _RAMP, 1.0)) ** 2)


def pseudo_labels(logits: Tensor, certain: float) -> Tensor:
    """`(B, H, W)` uint8 of `(B, K, H, W)` logits; 255 where no class has a probability above `certain`."""
    probability, labels = logits.softmax(dim=1).max(dim=1)
    return torch.where(probability > certain, labels.to(torch.uint8), UNLABELLED)


def recoloured(images: Tensor) -> Tensor:
    """A strong view of `(T, B, H, W, 3)` uint8: contrast, brightness and saturation of each clip, a fifth of them grey.

    All frames of a clip are treated alike; random numbers are torch's.
    """
    clips = images.shape[1]
    pictures = images.float()
    gain, saturation = (1 + 0.5 * (2 * torch.rand(1, clips, 1, 1, 1) - 1) for _ in range(2))
    offset = 32.0 * (2 * torch.rand(1, clips, 1, 1, 1) - 1)
    saturation = saturation * (torch.rand(1, clips, 1, 1, 1) >= 0.2)
    gain, offset, saturation = (x.to(images.device) for x in (gain, offset, saturation))
    grey = pictures.mean(dim=-1, keepdim=True)
    return ((grey + (pictures - grey) * saturation) * gain + offset).clamp(0, 255).to(torch.uint8)


def cut_and_mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Put a rectangle of each clip's neighbour in the batch into it, at one place in all frames; a quarter of the area.

    Args:
        images: `(T, B, H, W, 3)` uint8.
        labels: `(B, H, W)` uint8 of the last frame.
    """
    height, width = labels.shape[1:]
    tall, wide = height // 2, width // 2
    top, left = (int(torch.randint(0, space + 1, ())) for space in (height - tall, width - wide))
    images, labels = images.clone(), labels.clone()
    rows, columns = slice(top, top + tall), slice(left, left + wide)
    images[:, :, rows, columns] = images.roll(1, dims=1)[:, :, rows, columns]
    labels[:, rows, columns] = labels.roll(1, dims=0)[:, rows, columns]
    return images, labels
