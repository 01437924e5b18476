# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""BiSeNet: a deep path for context, a shallow one for detail, and a module that weighs their channels.

Source: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", ECCV 2018, with a
ResNet as its context path. Tensors are `(B, C, H, W)` float32; H and W must be multiples of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.nets.layers import ConvNormRelu, Enlarge, initialise
from vss_ros.nets.resnet import Layout, ResNet

FEATURE_CHANNELS = 256
PATH_CHANNELS = 128  # of either path
STRIDE = 8


class ChannelGate(nn.Module):
    """A weight in 0..1 for each channel, `(B, C, 1, 1)`, of the channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(_mean(x))).sigmoid()


class Refine(nn.Module):
    """Attention refinement: features reduced to the path's width, each channel weighed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormRelu(channels, PATH_CHANNELS, 3)
        self.gate = ChannelGate(PATH_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.gate(x)


class FuseFeatures(nn.Module):
    """Feature fusion: both paths joined, then each channel amplified by its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvNormRelu(2 * PATH_CHANNELS, FEATURE_CHANNELS, 1)
        self.gate = ChannelGate(FEATURE_CHANNELS)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        x = self.conv(torch.cat([detail, context], dim=1))
        return x * self.gate(x) + x


class Encoder(nn.Module):
    """Both paths and their fusion: `(B, 3, H, W)` to `(B, 256, H/8, W/8)`."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            ConvNormRelu(3, 64, 7, stride=2),
            ConvNormRelu(64, 64, 3, stride=2),
            ConvNormRelu(64, 64, 3, stride=2),
            ConvNormRelu(64, PATH_CHANNELS, 1),
        )
        self.backbone = ResNet(layout)
        self.overall = ConvNormRelu(layout.channels[3], PATH_CHANNELS, 1)
        self.refine32 = Refine(layout.channels[3])
        self.refine16 = Refine(layout.channels[2])
        self.smooth16 = ConvNormRelu(PATH_CHANNELS, PATH_CHANNELS, 3)
        self.smooth8 = ConvNormRelu(PATH_CHANNELS, PATH_CHANNELS, 3)
        self.fuse = FuseFeatures()

    def forward(self, image: Tensor) -> Tensor:
        return self.fuse(self.detail(image), self._context(image))

    def _context(self, image: Tensor) -> Tensor:
        """`(B, 128, H/8, W/8)` out of maps of strides 8 (for its size alone), 16 and 32."""
        map8 = self.backbone.stride8(image)
        map16 = self.backbone.layer3(map8)
        map32 = self.backbone.layer4(map16)
        coarse = self.refine32(map32) + self.overall(_mean(map32))
        middle = self.refine16(map16) + self.smooth16(_enlarged(coarse, map16))
        return self.smooth8(_enlarged(middle, map8))


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Twice the size, or one less where half of the finer map's size was rounded up."""
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


class Decoder(nn.Sequential):
    """One more convolution (`reduce`), 1x1 classifier at 1/8 of the picture, bilinear to its size."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.reduce = ConvNormRelu(FEATURE_CHANNELS, FEATURE_CHANNELS, 3)
        self.classify = nn.Conv2d(FEATURE_CHANNELS, classes, 1)
        self.enlarge = Enlarge(STRIDE)


class BiSeNet(nn.Module):
    """`(B, 3, H, W)` to `(B, classes, H, W)` logits; subclasses say of which depth."""

    layout: Layout
    feature_channels = classified_channels = FEATURE_CHANNELS
    stride = classified_stride = STRIDE

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(self.layout)
        self.decoder = Decoder(classes)
        self.auxiliary = nn.ModuleDict({name: _auxiliary_head(classes) for name in ("smooth8", "smooth16")})
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image))


def _auxiliary_head(classes: int) -> nn.Module:
    """Logits of the size of the map that it is fed."""
    return nn.Sequential(ConvNormRelu(PATH_CHANNELS, 64, 3), nn.Conv2d(64, classes, 1))


class BiSeNet18(BiSeNet):
    layout = Layout((2, 2, 2, 2))


class BiSeNet34(BiSeNet):
    layout = Layout((3, 4, 6, 3))
