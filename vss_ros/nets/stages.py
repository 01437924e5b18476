# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The two stages every host has: a picture to features, features to labels and confidence.

Modules work on batches; the exporter takes the batch axis off.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class HostNet(Protocol):
    """A single-frame network as methods take it apart.

    Attributes:
        feature_channels: of the encoder's output.
        stride: picture px per feature cell.
        classified_channels: of the features that the classifier at the decoder's end reads.
        classified_stride: picture px per cell of these.
        encoder: `(B, 3, H, W)` to features `(B, C, h, w)`.
        decoder: features to logits `(B, classes, H, W)`.
        auxiliary: heads for training alone, each on the output of the encoder's part of the same name; they lie
            outside of encoder and decoder, so no exported file has them. `layers.tapped` feeds them.
    """

    feature_channels: int
    stride: int
    classified_channels: int
    classified_stride: int
    encoder: nn.Module
    decoder: nn.Module
    auxiliary: nn.ModuleDict


class Encode(nn.Module):
    """uint8 picture to features; holds mean and std, so that no runtime can disagree about them.

    Args:
        encoder: `(B, 3, H, W)` normalised to `(B, C, h, w)`.
        mean: of each RGB channel in 0..1.
        std: of each RGB channel in 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255.0 * torch.tensor(std).view(1, 3, 1, 1))

    def features(self, image: Tensor) -> Tensor:
        """`(B, C, h, w)` of a picture `(B, H, W, 3)` uint8 RGB."""
        return self.encoder((image.permute(0, 3, 1, 2).float() - self.mean) / self.std)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"features": self.features(image)}


class Decode(nn.Module):
    """Features to `logits` (training reads them), `labels` and `confidence`, both `(B, H, W)` uint8.

    Confidence is the softmax probability of the label at the card's temperature, in 1/255 steps.
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("temperature", torch.ones(1))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        logits = self.decoder(features)
        if self.training:  # nobody reads labels there
            return {"logits": logits}
        with torch.no_grad():
            scaled = logits.float() / self.temperature
            best = scaled.amax(dim=1)
            certainty = 1.0 / (scaled - best.unsqueeze(1)).exp().sum(dim=1)
            confidence = (certainty * 255.0).round().to(torch.uint8)
            labels = logits.argmax(dim=1).to(torch.uint8)
        return {"logits": logits, "labels": labels, "confidence": confidence}


def split_at_classifier(decoder: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """A host's decoder in two: what makes the features that are classified, and what makes logits of them.

    The classifier is the part named `classify`, or else the last one; parts keep their names, and are not copied.
    """
    parts = list(decoder.named_children())
    names = [name for name, _ in parts]
    at = names.index("classify") if "classify" in names else len(names) - 1
    return nn.Sequential(OrderedDict(parts[:at])), nn.Sequential(OrderedDict(parts[at:]))
