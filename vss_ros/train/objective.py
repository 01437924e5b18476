# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a training step minimises: the segmentation loss, auxiliary heads, and what the method adds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.core.method import Host, TemporalMethod
from vss_ros.nets.layers import tapped
from vss_ros.train.losses import cross_entropy, segmentation_loss
from vss_ros.train.unroll import last_frame

Outputs = Mapping[str, Mapping[str, Tensor]]
# (stages, image (B, H, W, 3) uint8, labels (B, H, W) uint8, outputs by stage) -> weighted losses by name
ExtraLosses = Callable[[nn.ModuleDict, Tensor, Tensor, Outputs], dict[str, Tensor]]

AUXILIARY = "auxiliary"  # the entry of the stages that holds the host's heads for training; no plan runs it


def nothing_more(stages: nn.ModuleDict, image: Tensor, labels: Tensor, outputs: Outputs) -> dict[str, Tensor]:
    """Of a method that the segmentation loss is enough for."""
    return {}


def extra_losses_of(method: str) -> ExtraLosses:
    """`extra_losses` of the method's modules, where it has one."""
    modules = importlib.import_module(f"vss_ros.methods.{method}.modules")
    losses: ExtraLosses = getattr(modules, "extra_losses", nothing_more)
    return losses


def names_in_host_of(method: str) -> Callable[[str], str]:
    """What the method's weights are called in a model of its host alone; their own names where it says nothing."""
    modules = importlib.import_module(f"vss_ros.methods.{method}.modules")
    names: Callable[[str], str] = getattr(modules, "name_in_host", str)
    return names


@dataclass(frozen=True)
class Objective:
    """Losses of a batch of clips.

    Attributes:
        plan: the method.
        host: the host it stands on.
        stages: modules by stage name, and the host's auxiliary heads under `auxiliary` where it has some.
        class_weights: `(K,)` float32 of the cross entropies.
        jaccard: weight of the soft Jaccard loss.
        auxiliary: weight of the mean of the auxiliary heads' losses; 0 does not run them.
        extra: what the method adds.
    """

    plan: TemporalMethod
    host: Host
    stages: nn.ModuleDict
    class_weights: Tensor
    jaccard: float = 0.0
    auxiliary: float = 0.0
    extra: ExtraLosses = nothing_more

    def __call__(self, images: Tensor, labels: Tensor, motion: Tensor | None = None) -> dict[str, Tensor]:
        """Weighted losses by name; their sum is to be minimised.

        Args:
            images: `(T, B, H, W, 3)` uint8 RGB, oldest first.
            labels: `(B, H, W)` uint8 of the last frame; 255 is left out.
            motion: as in `last_frame`.
        """
        heads = self._heads()
        encoder = self.stages["encode"].get_submodule("encoder") if heads else nn.Identity()
        with autocast(images.device.type):
            with tapped(encoder, heads) as maps:
                last = last_frame(self.plan, self.host, self.stages, images, motion)
            losses = {"labels": segmentation_loss(last.logits, labels, self.class_weights, self.jaccard)}
            if heads:
                each = [self._auxiliary_loss(head(maps[name]).float(), labels) for name, head in heads.items()]
                losses[AUXILIARY] = self.auxiliary * torch.stack(each).mean()
            return losses | self.extra(self.stages, images[-1], labels, last.outputs)

    def _heads(self) -> dict[str, nn.Module]:
        if self.auxiliary == 0 or AUXILIARY not in self.stages:
            return {}
        heads = self.stages[AUXILIARY]
        assert isinstance(heads, nn.ModuleDict)
        return dict(heads.items())

    def _auxiliary_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of a map of logits the cross entropy; of one vector a picture: which classes does it show."""
        if logits.ndim == 4:
            logits = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
            return cross_entropy(logits, labels, self.class_weights)
        shown = torch.stack([(labels == label).flatten(1).any(1) for label in range(logits.shape[1])], dim=1)
        return F.binary_cross_entropy_with_logits(logits, shown.float())


def autocast(device: str) -> torch.autocast:
    """bfloat16 where it can be used; float16 would want its gradients scaled, so such a GPU trains in float32."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cpu" or torch.cuda.is_bf16_supported())
