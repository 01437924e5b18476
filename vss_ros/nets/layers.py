# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Small parts that several networks share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; without stride and with odd kernels the size stays."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Enlarge(nn.Module):
    """`(B, C, h, w)` to `factor` times the size, bilinear.

    Args:
        factor: of height and width.
        align_corners: the corners' centres stay where they are; else the corners do.
    """

    def __init__(self, factor: int, *, align_corners: bool = False) -> None:
        super().__init__()
        self.factor, self.align_corners = factor, align_corners

    def forward(self, x: Tensor) -> Tensor:
        # by size and not by scale: of a scale, ONNX's shape inference does not know what comes out
        size = self.factor * x.shape[2], self.factor * x.shape[3]
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


def initialise(net: nn.Module) -> None:
    """He initialisation of all convolutions (He et al., ICCV 2015): none of these nets starts from ImageNet here."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@contextmanager
def tapped(encoder: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """What parts of an encoder give, by their names: filled each time that the encoder runs within the block.

    Auxiliary heads are fed in this way, so that the encoder of training is the encoder of the robot.
    """
    found: dict[str, Tensor] = {}
    parts = {name: encoder.get_submodule(name) for name in names}
    hooks = [part.register_forward_hook(partial(_keep, found, name)) for name, part in parts.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _keep(found: dict[str, Tensor], name: str, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    found[name] = output
