# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""PSPNet: a dilated ResNet, and a head that sees the whole picture in four coarse grids.

Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017, in two forms: the authors' later one for street scenes
(`PSPNet18`, `PSPNet50`, `PSPNet101`) and the one that Hu et al., CVPR 2023 (AR-Seg) take for CamVid
(`PSPNet18CamVid`), which decodes back to every pixel. Tensors are `(B, C, H, W)` float32; H and W must be multiples
of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.nets.layers import ConvNormRelu, Enlarge, initialise
from vss_ros.nets.resnet import Layout, ResNet

BINS = (1, 2, 3, 6)  # grids of the pyramid


def average_grid(x: Tensor, bins: int) -> Tensor:
    """Means of `(B, C, h, w)` over a grid of `bins` x `bins` cells that cover it: adaptive average pooling, exactly.

    ONNX has pooling windows of a fixed size only. Here each axis is a product with a 0/1 matrix made of the size at
    hand, so that one file serves all sizes.
    """
    return _average_rows(_average_rows(x, bins).transpose(2, 3), bins).transpose(2, 3)


def _average_rows(x: Tensor, bins: int) -> Tensor:
    """`(B, C, h, w)` to `(B, C, h, bins)`; cell i covers entries floor(i w / bins) to ceil((i + 1) w / bins) - 1."""
    length = x.shape[3]
    cell = torch.arange(bins, device=x.device).unsqueeze(1)
    entry = torch.arange(length, device=x.device).unsqueeze(0)
    inside = (entry >= cell * length // bins) & (entry < ((cell + 1) * length + bins - 1) // bins)
    # 0 and 1 are exact in half precision, and a sum over one axis stays within its range
    return (x @ inside.to(x.dtype).T) / inside.sum(dim=1)


class Pyramid(nn.Module):
    """The features, and beside them their means over each grid, projected and stretched to the same size.

    Args:
        projections: one for each grid, in the order of `BINS`.
    """

    def __init__(self, projections: list[nn.Module]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)

    def forward(self, features: Tensor) -> Tensor:
        levels = [features]
        for bins, project in zip(BINS, self.projections, strict=True):
            level = project(average_grid(features, bins))
            levels.append(F.interpolate(level, size=features.shape[2:], mode="bilinear", align_corners=True))
        return torch.cat(levels, dim=1)


class StreetDecoder(nn.Sequential):
    """Pyramid, reduction to 512 channels (`reduce`), 1x1 classifier at 1/8 of the picture, bilinear to its size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        projections: list[nn.Module] = [ConvNormRelu(channels, channels // len(BINS), 1) for _ in BINS]
        self.reduce = nn.Sequential(Pyramid(projections), ConvNormRelu(2 * channels, 512, 3), nn.Dropout2d(0.1))
        self.classify = nn.Conv2d(512, classes, 1)
        self.enlarge = Enlarge(8, align_corners=True)


class PixelDecoder(nn.Sequential):
    """Pyramid, reduction to 64 channels at every pixel (`reduce`), 1x1 classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        projections: list[nn.Module] = [nn.Conv2d(channels, 512, 1, bias=False) for _ in BINS]
        join = nn.Conv2d(channels + 512 * len(BINS), 1024, 1)
        self.reduce = nn.Sequential(
            *(Pyramid(projections), join, nn.ReLU(inplace=True), nn.Dropout2d(0.3)),
            *_double(1024, 256),
            *_double(256, 64),
            *_double(64, 64),
        )
        self.classify = nn.Conv2d(64, classes, 1)


def _double(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Twice the size."""
    return [
        Enlarge(2),
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.PReLU(),
        nn.Dropout2d(0.15),
    ]


class PSPNet(nn.Module):
    """`(B, 3, H, W)` to `(B, classes, H, W)` logits; subclasses say of which depth."""

    layout: Layout
    feature_channels: int
    stride = 8
    classified_channels = 512
    classified_stride = 8

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = ResNet(self.layout)
        self.decoder = self._decoder(classes)
        self.auxiliary = nn.ModuleDict({"layer3": self._auxiliary_head(self.layout.channels[2], classes)})
        initialise(self)

    def _decoder(self, classes: int) -> nn.Module:
        return StreetDecoder(self.feature_channels, classes)

    def _auxiliary_head(self, channels: int, classes: int) -> nn.Module:
        """Logits `(B, classes, H/8, W/8)`."""
        return nn.Sequential(ConvNormRelu(channels, 256, 3), nn.Dropout2d(0.1), nn.Conv2d(256, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image))


class PSPNet18(PSPNet):
    layout = Layout((2, 2, 2, 2), dilated=True, undilated=1)
    feature_channels = 512


class PSPNet50(PSPNet):
    layout = Layout((3, 4, 6, 3), bottleneck=True, deep_stem=True, dilated=True)
    feature_channels = 2048


class PSPNet101(PSPNet):
    layout = Layout((3, 4, 23, 3), bottleneck=True, deep_stem=True, dilated=True)
    feature_channels = 2048


class PSPNet18CamVid(PSPNet):
    layout = Layout((2, 2, 2, 2), dilated=True, undilated=2)
    feature_channels = 512
    classified_channels = 64
    classified_stride = 1

    def _decoder(self, classes: int) -> nn.Module:
        return PixelDecoder(self.feature_channels, classes)

    def _auxiliary_head(self, channels: int, classes: int) -> nn.Module:
        """Logits `(B, classes)` of which classes the picture shows."""
        parts = nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, channels), nn.ReLU()
        return nn.Sequential(*parts, nn.Linear(channels, classes))
