# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""SSLTM's networks: windows over near frames, contexts of categories, and the dictionary of what these are elsewhere.

Source: Lao et al., CVPR 2023; the object attention is that of Yuan et al., "Object-Contextual Representations for
Semantic Segmentation", ECCV 2020. Features are `(B, C, h, w)`, queries, keys and values `(B, h, w, heads, channels)`,
contexts `(B, classes, C)`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.core.errors import CardError
from vss_ros.core.frame import UNLABELLED
from vss_ros.methods.ssltm.plan import SSLTM
from vss_ros.nets.layers import ConvNormRelu, tapped
from vss_ros.nets.stages import Decode, Encode, HostNet

_PLACES = ("layer3", "smooth8")  # parts of encoders whose auxiliary heads see cells as large as the features
_COARSE_WEIGHT = 0.4
_DROPOUT = 0.05
_ABSENT = -1e4  # a logit that no softmax sees; float16 holds it
_SPREAD = 0.02  # of weights that are added to something


class EncodeAndProject(Encode):
    """The host's encoder; query, key and value of every cell; contexts of the categories by a first guess at labels.

    Args:
        encoder: the host's.
        mean: of each RGB channel in 0..1.
        std: of each RGB channel in 0..1.
        plan: widths.
        channels: of the features.
        coarse: the guess: logits `(B, classes, h, w)` of what the encoder gives at `place`.
        place: part of the encoder; empty = its output.
    """

    def __init__(
        self,
        encoder: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        plan: SSLTM,
        channels: int,
        coarse: nn.Module,
        place: str,
    ) -> None:
        super().__init__(encoder, mean, std)
        self.in_heads, self.place = (plan.heads, plan.width // plan.heads), place
        self.reduce = nn.Identity() if channels == plan.width else ConvNormRelu(channels, plan.width, 1)
        self.norm = nn.LayerNorm(plan.width)
        self.project = nn.Linear(plan.width, 3 * plan.width)
        self.coarse = coarse

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        with tapped(self.encoder, [self.place] if self.place else []) as maps:
            features = self.features(image)
        tokens = self.reduce(features)
        guess = self.coarse(maps.get(self.place, features))
        projected = self.project(self.norm(tokens.permute(0, 2, 3, 1)))
        query, key, value = (x.reshape(*x.shape[:3], *self.in_heads) for x in projected.chunk(3, dim=3))
        return {
            "features": features,
            "tokens": tokens,
            "query": query,
            "key": key,
            "value": value,
            "context": contexts(guess, tokens),
            "coarse": guess,
            # a plan can give a stage tensors alone: these are its yes and its no
            "there": torch.ones_like(features[:, :1, 0, 0]),
            "absent": torch.zeros_like(features[:, :1, 0, 0]),
        }


def contexts(coarse: Tensor, tokens: Tensor) -> Tensor:
    """What a category looks like in a picture: C[k] = sum over cells p of softmax_p(coarse[k]) tokens(p).

    Args:
        coarse: logits `(B, K, h, w)`.
        tokens: `(B, C, h, w)`.

    Returns:
        `(B, K, C)`.
    """
    found = coarse.flatten(2).softmax(dim=2) @ tokens.flatten(2).transpose(1, 2)
    # changes nothing; without it the exporter does not know of how many pictures, and would have the file ask
    return found.reshape(tokens.shape[0], coarse.shape[1], tokens.shape[1])


def windows(x: Tensor, block: int) -> Tensor:
    """Cut frames into squares of `block` x `block` cells that do not overlap; beyond the border there are zeros.

    Args:
        x: `(B, T, h, w, heads, d)`.
        block: side length in cells.

    Returns:
        `(B, squares, heads, T * block * block, d)`: the same square of all frames lies together.
    """
    height, width = x.shape[2:4]
    x = F.pad(x, (0, 0, 0, 0, 0, -width % block, 0, -height % block))
    batch, frames, height, width, heads, channels = x.shape
    x = x.reshape(batch, frames, height // block, block, width // block, block, heads, channels)
    x = x.permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(batch, -1, heads, frames * block * block, channels)


def joined(x: Tensor, block: int, height: int, width: int) -> Tensor:
    """The frame `(B, height, width, heads, d)` that `windows` has cut: `(B, squares, heads, block * block, d)`."""
    batch, _, heads, _, channels = x.shape
    columns = (width + block - 1) // block
    x = x.reshape(batch, -1, columns, heads, block, block, channels).permute(0, 1, 4, 2, 5, 3, 6)
    return x.reshape(batch, -1, columns * block, heads, channels)[:, :height, :width]


def window_attention(query: Tensor, keys: Tensor, values: Tensor, valid: Tensor, bias: Tensor, block: int) -> Tensor:
    """Each cell reads the square that it lies in, of all frames, by softmax(q . k / sqrt(d) + bias).

    Cells beyond the border do not exist, and neither do frames that are not valid.

    Args:
        query: `(B, h, w, heads, d)`.
        keys: `(B, T, h, w, heads, d)`.
        values: `(B, T, h, w, heads, d)`.
        valid: `(B, T)`, above 0 where there is a frame; of one at least.
        bias: `(heads, block * block, T * block * block)`.
        block: side length of the squares in cells.

    Returns:
        `(B, h, w, heads, d)`.
    """
    height, width, _, channels = query.shape[1:]
    there = windows(valid[:, :, None, None, None, None].expand(-1, -1, height, width, 1, 1), block)
    asked = windows(query.unsqueeze(1), block) * channels**-0.5
    logits = asked @ windows(keys, block).transpose(3, 4) + bias
    weights = logits.masked_fill(there.transpose(3, 4) <= 0, _ABSENT).softmax(dim=4)
    return joined(weights @ windows(values, block), block, height, width)


def relative_places(block: int, device: torch.device | None = None) -> Tensor:
    """`(block * block, block * block)` int64: which of (2 block - 1)^2 displacements leads from cell i to cell j."""
    numbers = torch.arange(block, device=device)
    cells = torch.stack(torch.meshgrid(numbers, numbers, indexing="ij")).flatten(1)
    row, column = cells[:, None, :] - cells[:, :, None] + block - 1
    return row * (2 * block - 1) + column


class MixFeedForward(nn.Sequential):
    """The feed-forward network of a transformer with a 3x3 convolution in it, through which squares meet.

    Source: Xie et al., "SegFormer", NeurIPS 2021.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.activate = nn.GELU()
        self.contract = nn.Conv2d(hidden, width, 1)


class Near(nn.Module):
    """One transformer block over windows of the last frames: z = x + MSA(LN(x)), z + MixFFN(LN(z))."""

    def __init__(self, plan: SSLTM) -> None:
        super().__init__()
        self.ages, self.block = plan.ages, plan.block
        displacements = (2 * plan.block - 1) ** 2
        self.bias = nn.Parameter(torch.empty(plan.frames, displacements, plan.heads))
        nn.init.trunc_normal_(self.bias, std=_SPREAD)
        self.project = nn.Linear(plan.width, plan.width)
        self.norm = nn.LayerNorm(plan.width)
        self.feed_forward = MixFeedForward(plan.width, plan.hidden)

    def forward(self, tokens: Tensor, query: Tensor, key: Tensor, value: Tensor, **past: Tensor) -> dict[str, Tensor]:
        """The plan gives `key_1`, `value_1` and `valid_1` of the previous frame in `past`, and so on for older ones."""
        keys = torch.stack([key, *(past[f"key_{age}"] for age in self.ages)], dim=1)
        values = torch.stack([value, *(past[f"value_{age}"] for age in self.ages)], dim=1)
        of_past = [past[f"valid_{age}"] for age in self.ages]
        valid = torch.cat([torch.ones_like(of_past[0]), *of_past], dim=1)
        seen = window_attention(query, keys, values, valid, self._position_bias(), self.block)
        seen = self.project(seen.reshape(*query.shape[:3], tokens.shape[1]))
        x = tokens + seen.permute(0, 3, 1, 2)
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return {"near": x + self.feed_forward(normed)}

    def _position_bias(self) -> Tensor:
        """`(heads, block * block, T * block * block)`: one number for each age, displacement and head."""
        # no buffer: a training averages those too, and whole numbers come out rounded
        places = relative_places(self.block, self.bias.device)
        bias = self.bias[:, places]  # (T, queries, keys, heads)
        return bias.permute(3, 1, 0, 2).flatten(2)


class Far(nn.Module):
    """Object attention over the reference frame's contexts; what was seen is added to the host's features.

    Args:
        plan: widths.
        channels: of the features.
    """

    def __init__(self, plan: SSLTM, channels: int) -> None:
        super().__init__()
        width, narrow = plan.width, plan.context_width
        shape = plan.classes, plan.clusters, width
        self.dictionary = nn.Parameter(_SPREAD * torch.randn(shape)) if plan.clusters else None
        self.project_query = nn.Conv2d(width, narrow, 1)
        self.project_key = nn.Linear(width, narrow)
        self.project_value = nn.Linear(width, narrow)
        self.widen = nn.Conv2d(narrow, width, 1)
        self.join = nn.Conv2d(2 * width, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(_DROPOUT)

    def enriched(self, context: Tensor) -> Tensor:
        """C'[k] = C[k] + sum_j softmax_j(C[k] . G[k, j] / sqrt(C)) G[k, j], with the dictionary G of all videos."""
        if self.dictionary is None:
            return context
        logits = context.unsqueeze(2) @ self.dictionary.transpose(1, 2) * context.shape[2] ** -0.5
        return context + (logits.softmax(dim=3) @ self.dictionary).squeeze(2)

    def look_up(self, near: Tensor, context: Tensor) -> Tensor:
        """What each cell sees in the contexts: `(B, width, h, w)`."""
        query = self.project_query(near)
        batch, narrow, height, width = query.shape
        key, value = self.project_key(context), self.project_value(context)
        logits = query.flatten(2).transpose(1, 2) @ key.transpose(1, 2) * narrow**-0.5
        seen = (logits.softmax(dim=2) @ value).transpose(1, 2)
        return self.widen(seen.reshape(batch, narrow, height, width))

    def forward(self, raw: Tensor, near: Tensor, context: Tensor) -> dict[str, Tensor]:
        seen = self.look_up(near, self.enriched(context))
        added = self.norm(self.join(torch.cat([seen, near], dim=1)))
        return {"features": F.relu(raw + self.dropout(added))}


def extra_losses(
    stages: nn.ModuleDict, image: Tensor, labels: Tensor, outputs: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """What training adds to the loss of the labels: that of the coarse guess, and that of the dictionary.

    Args:
        stages: those of `build_stages`.
        image: `(B, H, W, 3)` uint8 RGB.
        labels: `(B, H, W)` uint8, 255 = unlabelled.
        outputs: of the labelled frame, by stage.
    """
    now, far = outputs["encode"], stages["far"]
    assert isinstance(far, Far)
    losses = {"coarse": _COARSE_WEIGHT * coarse_loss(now["coarse"], labels)}
    if far.dictionary is not None:
        losses["dictionary"] = dictionary_loss(far.dictionary, now["context"], labels)
    return losses


def coarse_loss(coarse: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits `(B, K, h, w)`, enlarged, mean over the labelled pixels; 0 where there are none."""
    logits = F.interpolate(coarse.float(), size=labels.shape[1:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels.long(), ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp_min(1)


def dictionary_loss(dictionary: Tensor, context: Tensor, labels: Tensor) -> Tensor:
    """L_gcc: the squared distance from a context to the nearest entry of its class; only the dictionary learns of it.

    Args:
        dictionary: `(K, entries, C)`.
        context: `(B, K, C)`.
        labels: `(B, H, W)` uint8; classes that a picture does not show are left out.

    Returns:
        Mean over channels, and over classes and pictures; 0 where there are no labels.
    """
    shown = torch.stack([(labels == label).flatten(1).any(dim=1) for label in range(len(dictionary))], dim=1)
    apart = (context.detach().float().unsqueeze(2) - dictionary).square().mean(dim=3).amin(dim=2)
    return (apart * shown).sum() / shown.sum().clamp_min(1)


def _coarse_head(net: HostNet, classes: int) -> tuple[nn.Module, str]:
    """A head of the form that the host's auxiliary one has, and its place; without such a one a 1x1 on the features."""
    for place in _PLACES:
        if place in net.auxiliary:
            head = net.auxiliary.get_submodule(place)
            if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Conv2d):
                return copy.deepcopy(head), place
    return nn.Conv2d(net.feature_channels, classes, 1), ""


def _classes_of(decoder: nn.Module) -> int:
    convolutions = [m for m in decoder.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    return convolutions[-1].out_channels


def build_stages(plan: SSLTM, net: HostNet, *, mean: Sequence[float], std: Sequence[float]) -> nn.ModuleDict:
    """`encode`, `near`, `far` and `decode` of SSLTM on `net`."""
    classes = _classes_of(net.decoder)
    if plan.classes != classes:
        raise CardError(f"ssltm wants classes of {classes}, as many as there are labels, got {plan.classes}")
    channels = net.feature_channels
    return nn.ModuleDict(
        {
            "encode": EncodeAndProject(net.encoder, mean, std, plan, channels, *_coarse_head(net, classes)),
            "near": Near(plan),
            "far": Far(plan, channels),
            "decode": Decode(net.decoder),
        }
    )
