# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg's networks: the host twice, for full and for altered resolution, and the fusion between them (CReFF).

Source: Hu et al., CVPR 2023. Features are `(B, C, h, w)`; motion is `(B, h, w, 2)` cells `(dx, dy)` to where things
were in the keyframe.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.methods.arseg.plan import ARSeg
from vss_ros.nets.stages import Decode, Encode, HostNet, split_at_classifier


def warp(features: Tensor, motion: Tensor) -> Tensor:
    """Features as they would be if everything had moved on: those at p + motion(p), bilinear, 0 outside the picture."""
    height, width = features.shape[2:]
    columns = torch.arange(width, device=motion.device, dtype=motion.dtype)
    rows = torch.arange(height, device=motion.device, dtype=motion.dtype).unsqueeze(1)
    # -1 and 1 are the picture's edges, not the centres of its outermost cells: zero motion is the identity
    x = (2 * (columns + motion[..., 0]) + 1) / width - 1
    y = (2 * (rows + motion[..., 1]) + 1) / height - 1
    return F.grid_sample(features, torch.stack([x, y], dim=3), mode="bilinear", align_corners=False)


def _projection(channels: int) -> nn.Conv2d:
    """Depthwise 3x3."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    nn.init.kaiming_normal_(conv.weight, a=1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _one_head(x: Tensor) -> Tensor:
    """`(B, C, h, w)` to `(B, h, w, 1, C)`."""
    return x.permute(0, 2, 3, 1).unsqueeze(3)


class Keyframe(Encode):
    """The host up to its classifier, at the picture's own size."""

    def __init__(self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float], head: nn.Module) -> None:
        super().__init__(encoder, mean, std)
        self.head = head

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"features": self.head(self.features(image))}


class EncodeSmall(Keyframe):
    """The same at a smaller size, enlarged to a keyframe's, and what its cells ask the keyframe.

    Args:
        encoder: a host's.
        mean: of each RGB channel in 0..1.
        std: of each RGB channel in 0..1.
        head: from its output to what its classifier reads.
        plan: how small the picture is, and who goes where motion leads.
        net: strides and channels of the host.
    """

    def __init__(
        self,
        encoder: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        head: nn.Module,
        plan: ARSeg,
        net: HostNet,
    ) -> None:
        super().__init__(encoder, mean, std, head)
        self.percent, self.moves_windows = plan.percent, plan.motion == "offset"
        self.stride, self.classified_stride = net.stride, net.classified_stride
        self.query = _projection(net.classified_channels)

    def forward(self, image: Tensor, motion: Tensor | None = None) -> dict[str, Tensor]:
        picture = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        cells = picture.shape[2] // self.classified_stride, picture.shape[3] // self.classified_stride
        small = self.head(self.encoder(self._smaller(picture)))
        own = F.interpolate(small, size=cells, mode="bilinear", align_corners=True)
        found = {"own": own, "query": _one_head(self.query(own))}
        if motion is not None and self.moves_windows:
            found["centres"] = self._centres(motion)
        return found

    def _smaller(self, picture: Tensor) -> Tensor:
        """The picture at the plan's scale, its sides the nearest that are whole cells of the host."""
        if self.percent == 100:
            return picture
        height, width = picture.shape[2] * self.percent, picture.shape[3] * self.percent  # in 1/100 px
        cell = 100 * self.stride
        size = (height + cell // 2) // cell * self.stride, (width + cell // 2) // cell * self.stride
        return F.interpolate(picture, size=size, mode="bilinear", align_corners=True)

    def _centres(self, motion: Tensor) -> Tensor:
        """`(B, h, w, 2)` int32 row and column of the nearest cell that each cell was at in the keyframe."""
        columns = torch.arange(motion.shape[2], device=motion.device)
        rows = torch.arange(motion.shape[1], device=motion.device).unsqueeze(1)
        return torch.stack([rows + motion[..., 1], columns + motion[..., 0]], dim=3).round().int()


class Project(nn.Module):
    """Keys and values of the keyframe's features, once per keyframe."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.value = _projection(channels), _projection(channels)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"key": _one_head(self.key(features)), "value": _one_head(self.value(features))}


class WarpAndProject(Project):
    """Keys and values of the keyframe's features, moved to where things are now; in front of them, the only slot."""

    def forward(self, keyframe: Tensor, motion: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        moved = super().forward(warp(keyframe, motion))
        return {name: x.unsqueeze(1) for name, x in moved.items()}


class Fuse(nn.Module):
    """The enlarged features, and what they found in the keyframe."""

    def forward(self, own: Tensor, seen: Tensor) -> dict[str, Tensor]:
        return {"features": own + seen.squeeze(3).permute(0, 3, 1, 2)}


def build_stages(plan: ARSeg, net: HostNet, *, mean: Sequence[float], std: Sequence[float]) -> nn.ModuleDict:
    """`keyframe`, `encode`, `project`, `fuse` and `decode` of AR-Seg; both resolutions start from `net`'s weights."""
    head, classifier = split_at_classifier(net.decoder)
    small = copy.deepcopy(net.encoder), mean, std, copy.deepcopy(head)
    project = WarpAndProject if plan.motion == "warp" else Project
    return nn.ModuleDict(
        {
            "keyframe": Keyframe(net.encoder, mean, std, head),
            "encode": EncodeSmall(*small, plan, net),
            "project": project(net.classified_channels),
            "fuse": Fuse(),
            "decode": Decode(classifier),
        }
    )


def name_in_host(name: str) -> str:
    """What a weight of these stages is called in a model of the host alone, which both resolutions start from."""
    stage, _, rest = name.partition(".")
    if stage not in ("keyframe", "encode"):
        return name
    part, _, rest_of_part = rest.partition(".")
    return f"decode.decoder.{rest_of_part}" if part == "head" else f"encode.{rest}"


def extra_losses(
    stages: nn.ModuleDict, image: Tensor, labels: Tensor, outputs: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Feature similarity training: fused features are to be those that the frozen host sees at full resolution."""
    if "fuse" not in outputs:
        return {}
    with torch.no_grad():
        wanted = stages["keyframe"](image)["features"].float()
    return {"similarity": F.mse_loss(outputs["fuse"]["features"].float(), wanted)}
