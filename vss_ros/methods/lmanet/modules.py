# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""LMANet's networks: projections of the encoder's features, and four fusions with what was read.

Source: Paul et al., IROS 2021, section III and the ERFNet and PSPNet variants of the appendix. Tensors at the seam to
the read are channels-last `(B, h, w, heads, channels)`, because the kernel reads the ring in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.core.errors import CardError
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.nets.stages import Decode, Encode, HostNet

_EPS = 1e-3
_GATE_CHANNELS = 256  # that the bottleneck's gates are computed of


def _channels_last(x: Tensor) -> Tensor:
    """`(B, C, h, w)` to `(B, h, w, 1, C)`: one head."""
    return x.permute(0, 2, 3, 1).unsqueeze(3)


def _convolve_together(x: Tensor, *convs: nn.Conv2d) -> tuple[Tensor, ...]:
    """Outputs of several 3x3 convolutions of one input, computed as one.

    A convolution of few channels runs at a fraction of the machine's rate. The weights stay apart, with their own
    names in the exported file; runtimes join them once when they load it.
    """
    weight = torch.cat([conv.weight for conv in convs])
    bias = torch.cat([conv.bias for conv in convs if conv.bias is not None])
    return F.conv2d(x, weight, bias, padding=1).split([conv.out_channels for conv in convs], dim=1)


class EncodeAndCompare(Encode):
    """The host's encoder, and query and key by one 3x3 convolution each; values are its raw features themselves."""

    def __init__(
        self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float], plan: LMANet, channels: int
    ) -> None:
        super().__init__(encoder, mean, std)
        self.key_query = nn.Conv2d(channels, plan.key_channels, 3, padding=1)
        self.key_memory = nn.Conv2d(channels, plan.key_channels, 3, padding=1)
        self.key_memory.load_state_dict(self.key_query.state_dict())  # equal at first: like finds like from the start

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.features(image)
        query, key = _convolve_together(features, self.key_query, self.key_memory)
        return {
            "features": features,
            "query": _channels_last(query),
            "own_value": features,
            "key": _channels_last(key),
            "value": _channels_last(features),
        }


class EncodeAndProject(EncodeAndCompare):
    """Values too are made of the raw features by a 3x3 convolution each."""

    def __init__(
        self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float], plan: LMANet, channels: int
    ) -> None:
        super().__init__(encoder, mean, std, plan, channels)
        self.value_query = nn.Conv2d(channels, plan.value_channels, 3, padding=1)
        self.value_memory = nn.Conv2d(channels, plan.value_channels, 3, padding=1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.features(image)
        query, own_value, key, value = _convolve_together(
            features, self.key_query, self.value_query, self.key_memory, self.value_memory
        )
        return {
            "features": features,
            "query": _channels_last(query),
            "own_value": own_value,
            "key": _channels_last(key),
            "value": _channels_last(value),
        }


class Concatenate(nn.Module):
    """The frame's own value beside what it saw in memory, each normalised: the paper's ablation."""

    def __init__(self, value_channels: int, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.norm_own = nn.BatchNorm2d(value_channels, eps=_EPS)
        self.norm_seen = nn.BatchNorm2d(value_channels, eps=_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def both(self, own_value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Both `(B, value_channels, h, w)`; `seen` comes from the read as `(B, h, w, 1, value_channels)`."""
        own = F.relu(self.dropout(self.norm_own(own_value)))
        return own, F.relu(self.dropout(self.norm_seen(seen.squeeze(3).permute(0, 3, 1, 2))))

    def forward(self, own_value: Tensor, seen: Tensor) -> dict[str, Tensor]:
        return {"features": torch.cat(self.both(own_value, seen), dim=1)}


class Fuse(Concatenate):
    """Gated sum of the frame's own value and of what it saw in memory, as wide as both, then the encoder's width.

    On ERFNet the two widths are the same; other hosts get a 1x1 convolution between them, because 3x3 convolutions of
    BiSeNet's width would cost twice as much.
    """

    def __init__(self, value_channels: int, feature_channels: int, *, dropout: float = 0.3) -> None:
        super().__init__(value_channels, dropout=dropout)
        width = 2 * value_channels
        self.expand_own = nn.Conv2d(value_channels, width, 3, padding=1)
        self.expand_seen = nn.Conv2d(value_channels, width, 3, padding=1)
        self.gate_own = nn.Conv2d(width, width, 3, padding=1)
        self.gate_seen = nn.Conv2d(width, width, 3, padding=1)
        self.widen = nn.Identity() if width == feature_channels else nn.Conv2d(width, feature_channels, 1)
        self.norm = nn.BatchNorm2d(feature_channels, eps=_EPS)

    def forward(self, own_value: Tensor, seen: Tensor) -> dict[str, Tensor]:
        own, seen = self.both(own_value, seen)
        gate_own, gate_seen = _convolve_together(torch.cat([own, seen], dim=1), self.gate_own, self.gate_seen)
        fused = self.expand_own(own) * gate_own.sigmoid() + self.expand_seen(seen) * gate_seen.sigmoid()
        return {"features": F.relu(self.norm(self.widen(fused)))}


class FuseAsResidual(Concatenate):
    """The host's features and, added to them, the gated value of what was seen in memory.

    At first nothing is added: an untrained memory leaves the trained host as it is, and the frame's own features need
    not pass through the narrower value.
    """

    def __init__(self, value_channels: int, feature_channels: int, *, dropout: float = 0.3) -> None:
        super().__init__(value_channels, dropout=dropout)
        width = 2 * value_channels
        self.expand_seen = nn.Conv2d(value_channels, width, 3, padding=1)
        self.gate_seen = nn.Conv2d(width, width, 3, padding=1)
        self.widen = nn.Identity() if width == feature_channels else nn.Conv2d(width, feature_channels, 1)
        self.norm = nn.BatchNorm2d(feature_channels, eps=_EPS)
        nn.init.zeros_(self.norm.weight)

    def forward(self, raw: Tensor, own_value: Tensor, seen: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        own, seen = self.both(own_value, seen)
        added = self.expand_seen(seen) * self.gate_seen(torch.cat([own, seen], dim=1)).sigmoid()
        return {"features": F.relu(raw + self.norm(self.widen(added)))}


class FuseThroughBottleneck(nn.Module):
    """Gated sum of the values as they are; the gates are computed of few channels, because PSPNet's are 2048."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, _GATE_CHANNELS, 1)
        self.norm_gate = nn.BatchNorm2d(_GATE_CHANNELS, eps=_EPS)
        self.gate_own = nn.Conv2d(_GATE_CHANNELS, channels, 1)
        self.gate_seen = nn.Conv2d(_GATE_CHANNELS, channels, 1)
        self.norm = nn.BatchNorm2d(channels, eps=_EPS)

    def forward(self, own_value: Tensor, seen: Tensor) -> dict[str, Tensor]:
        seen = seen.squeeze(3).permute(0, 3, 1, 2)
        # the paper narrows both by the same weights and adds: the sum narrowed is the same at half the cost
        narrow = F.relu(self.norm_gate(self.narrow(own_value + seen)))
        fused = own_value * self.gate_own(narrow).sigmoid() + seen * self.gate_seen(narrow).sigmoid()
        return {"features": F.relu(self.norm(fused))}


def _fusion(plan: LMANet, channels: int) -> nn.Module:
    if plan.fusion == "gated":
        return Fuse(plan.value_channels, channels)
    if plan.fusion == "residual":
        return FuseAsResidual(plan.value_channels, channels)
    if plan.fusion == "bottleneck":
        if plan.value_channels != channels:
            raise CardError(
                f"fusion by bottleneck wants value_channels of {channels}, the host's own, got {plan.value_channels}"
            )
        return FuseThroughBottleneck(channels)
    if 2 * plan.value_channels != channels:
        raise CardError(
            f"fusion by concatenation wants value_channels of {channels // 2}, half of the host's {channels}, "
            f"got {plan.value_channels}"
        )
    return Concatenate(plan.value_channels)


def build_stages(plan: LMANet, net: HostNet, *, mean: Sequence[float], std: Sequence[float]) -> nn.ModuleDict:
    """`encode`, `fuse` and `decode` of LMANet on `net`."""
    channels = net.feature_channels
    encode = EncodeAndCompare if plan.fusion == "bottleneck" else EncodeAndProject
    return nn.ModuleDict(
        {
            "encode": encode(net.encoder, mean, std, plan, channels),
            "fuse": _fusion(plan, channels),
            "decode": Decode(net.decoder),
        }
    )
