# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""ERFNet: an encoder to 1/8 of the picture and a light decoder back to every pixel.

Source: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic Segmentation",
T-ITS 2018, table I. Tensors are `(B, C, H, W)` float32; H and W must be multiples of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURE_CHANNELS = 128
STRIDE = 8
_EPS = 1e-3  # of every batch norm, as in the paper's own training


class Downsampler(nn.Module):
    """Half the size: a strided convolution beside a max pool, which passes `channels_in` maps on."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out - channels_in, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels_out, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(torch.cat([self.conv(x), F.max_pool2d(x, 2)], dim=1)))


class NonBottleneck1D(nn.Module):
    """Residual block of two factorised 3x3 convolutions; the second pair is dilated."""

    def __init__(self, channels: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.norm1 = nn.BatchNorm2d(channels, eps=_EPS)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.norm2 = nn.BatchNorm2d(channels, eps=_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1x3_1(F.relu(self.conv3x1_1(x)))))
        y = self.norm2(self.conv1x3_2(F.relu(self.conv3x1_2(y))))
        return F.relu(self.dropout(y) + x)


class Upsampler(nn.Module):
    """Twice the size by a transposed convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.BatchNorm2d(channels_out, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class ERFNet(nn.Module):
    """`(B, 3, H, W)` RGB in 0..1 to `(B, classes, H, W)` logits; `encode` and `decode` are its two halves.

    Args:
        classes: number of output channels.
    """

    feature_channels = FEATURE_CHANNELS
    stride = STRIDE
    classified_channels = 16
    classified_stride = 2

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            Downsampler(3, 16),
            Downsampler(16, 64),
            *[NonBottleneck1D(64, dropout=0.03) for _ in range(5)],
            Downsampler(64, FEATURE_CHANNELS),
            *[NonBottleneck1D(FEATURE_CHANNELS, dilation=d, dropout=0.3) for d in (2, 4, 8, 16) * 2],
        )
        self.decoder = nn.Sequential(
            Upsampler(FEATURE_CHANNELS, 64),
            *[NonBottleneck1D(64) for _ in range(2)],
            Upsampler(64, 16),
            *[NonBottleneck1D(16) for _ in range(2)],
            nn.ConvTranspose2d(16, classes, 2, stride=2),
        )
        self.auxiliary = nn.ModuleDict()  # it has none

    def encode(self, image: Tensor) -> Tensor:
        """Features `(B, 128, H/8, W/8)` of a picture `(B, 3, H, W)`."""
        return self.encoder(image)

    def decode(self, features: Tensor) -> Tensor:
        """Logits `(B, classes, H, W)` of features `(B, 128, H/8, W/8)`."""
        return self.decoder(features)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))
