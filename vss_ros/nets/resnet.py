# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""ResNet without its classifier, as the backbone of segmentation networks.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, but a bottleneck strides in its 3x3
convolution; deep stem and dilated layers as in Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
Tensors are `(B, C, H, W)` float32; where a size is odd, half of it is rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.nets.layers import ConvNormRelu

_WIDTHS = (64, 128, 256, 512)  # of the 3x3 convolutions in layers 1 to 4
_EXPANSION = 4  # of a bottleneck's output over its width


@dataclass(frozen=True)
class Layout:
    """The shape of a ResNet.

    Attributes:
        blocks: residual blocks in layers 1 to 4.
        bottleneck: blocks are 1x1, 3x3, 1x1 convolutions; else two 3x3.
        deep_stem: three 3x3 convolutions instead of one 7x7.
        dilated: layers 3 and 4 keep stride 8 and dilate by 2 and by 4; else they are of strides 16 and 32.
        undilated: 3x3 convolutions at the start of each dilated layer that are not dilated.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = False
    deep_stem: bool = False
    dilated: bool = False
    undilated: int = 0

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the outputs of layers 1 to 4."""
        return tuple(width * (_EXPANSION if self.bottleneck else 1) for width in _WIDTHS)


def _conv_norm(channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))


class Block(nn.Module):
    """Convolutions with ReLU between them, added to the input; a 1x1 convolution fits it where shapes differ."""

    def __init__(self, convs: list[nn.Sequential], channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        fits = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if fits else _conv_norm(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs[:-1]:
            y = F.relu(conv(y))
        return F.relu(self.convs[-1](y) + self.shortcut(x))


def basic_block(channels_in: int, width: int, stride: int, dilations: Sequence[int]) -> Block:
    """Two 3x3 convolutions; `dilations` is of both."""
    first = _conv_norm(channels_in, width, 3, stride, dilations[0])
    return Block([first, _conv_norm(width, width, 3, 1, dilations[1])], channels_in, width, stride)


def bottleneck_block(channels_in: int, width: int, stride: int, dilations: Sequence[int]) -> Block:
    """A 3x3 convolution between two 1x1; `dilations` is of the one."""
    channels = width * _EXPANSION
    middle = _conv_norm(width, width, 3, stride, dilations[0])
    convs = [_conv_norm(channels_in, width, 1), middle, _conv_norm(width, channels, 1)]
    return Block(convs, channels_in, channels, stride)


class ResNet(nn.Module):
    """`(B, 3, H, W)` to `layer4`'s `(B, C, h, w)`: stride 8 where the layout is dilated, else 32."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.stem = _deep_stem() if layout.deep_stem else ConvNormRelu(3, 64, 7, stride=2)
        channels = 128 if layout.deep_stem else 64
        layers = []
        for number, (count, width) in enumerate(zip(layout.blocks, _WIDTHS, strict=True), start=1):
            dilation = 2 ** (number - 2) if layout.dilated and number > 2 else 1
            stride = 1 if number == 1 or dilation > 1 else 2
            layers.append(_layer(layout, channels, width, count, stride, dilation))
            channels = layout.channels[number - 1]
        self.layer1, self.layer2, self.layer3, self.layer4 = layers

    def forward(self, image: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.stride8(image)))

    def stride8(self, image: Tensor) -> Tensor:
        """`layer2`'s output `(B, C, H/8, W/8)`."""
        return self.layer2(self.layer1(F.max_pool2d(self.stem(image), 3, stride=2, padding=1)))


def _deep_stem() -> nn.Sequential:
    return nn.Sequential(ConvNormRelu(3, 64, 3, stride=2), ConvNormRelu(64, 64, 3), ConvNormRelu(64, 128, 3))


def _layer(layout: Layout, channels: int, width: int, count: int, stride: int, dilation: int) -> nn.Sequential:
    make, each = (bottleneck_block, 1) if layout.bottleneck else (basic_block, 2)  # 3x3 convolutions of a block
    dilations = [1 if conv < layout.undilated else dilation for conv in range(count * each)]
    blocks = []
    for number in range(count):
        own = dilations[number * each : (number + 1) * each]
        blocks.append(make(channels, width, stride if number == 0 else 1, own))
        channels = width * _EXPANSION if layout.bottleneck else width
    return nn.Sequential(*blocks)
