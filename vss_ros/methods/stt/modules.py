# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""STT's networks: which cells become queries, what they ask, and the transformer that answers in their place.

Source: Li et al., ACM Multimedia 2021. Features are `(B, C, h, w)`; queries are lists `(B, N, ...)` of the same
length for every picture of a batch, in raster order, so that neighbours in a list are neighbours in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vss_ros.core.errors import CardError
from vss_ros.methods.stt.plan import STT
from vss_ros.nets import bisenet, pspnet
from vss_ros.nets.layers import ConvNormRelu
from vss_ros.nets.stages import Decode, Encode, HostNet

_HEAD_CHANNELS = 128  # of the slim head
_DROPOUT = 0.1


def neighbouring_similarity(query: Tensor, radius: int) -> Tensor:
    """The paper's D_NSM: how little a cell's query says of the queries around it; large where a picture is complex.

    With the n = (2 radius + 1)^2 queries q_i of the neighbourhood, the cell's own q among them, and
    p = softmax_i(q_i . q), it is KL(uniform || p) + mean_i(1 - cos(q_i, q)). Beyond the border the border's cells
    repeat.

    Args:
        query: `(B, d, h, w)`; computed in at least float32, for the products of wide queries are large.
        radius: of the neighbourhood in cells.

    Returns:
        `(B, h, w)`, 0 or more but for rounding; 0 where all are equal.
    """
    query = query.to(torch.promote_types(query.dtype, torch.float32))
    height, width = query.shape[2:]
    length = query.square().sum(dim=1, keepdim=True).sqrt()
    unit = query / length.clamp_min(1e-12)
    around_unit, around_length = (F.pad(x, (radius,) * 4, mode="replicate") for x in (unit, length))
    side = 2 * radius + 1
    cosines, lengths = [], []
    for dy in range(side):
        for dx in range(side):
            rows, columns = slice(dy, dy + height), slice(dx, dx + width)
            cosines.append((unit * around_unit[:, :, rows, columns]).sum(dim=1))
            lengths.append(around_length[:, 0, rows, columns])
    cosine = torch.stack(cosines, dim=1)
    similarity = F.log_softmax(cosine * torch.stack(lengths, dim=1) * length, dim=1)
    return -math.log(side**2) - similarity.mean(dim=1) + (1 - cosine).mean(dim=1)


def most_complex(scores: Tensor, percent: int) -> Tensor:
    """Which cells have the largest scores; of equal ones those that come first, row by row.

    Args:
        scores: `(B, h, w)`.
        percent: of all cells, rounded down.

    Returns:
        `(B, N, 2)` int32, row and column, row by row.
    """
    width, scores = scores.shape[2], scores.flatten(1)
    cells = scores.shape[1]
    count = cells * percent // 100
    least = scores.topk(count, dim=1).values[:, -1:]
    above, equal = scores > least, scores == least
    room = count - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.int().cumsum(dim=1) <= room))
    # runtimes differ in how they order equal entries: these all differ, and put the chosen ones first, row by row
    order = chosen.float() * cells - torch.arange(cells, device=scores.device)
    number = order.topk(count, dim=1).indices
    row = torch.div(number, width, rounding_mode="trunc")
    return torch.stack([row, number - row * width], dim=2).int()


def _rows(x: Tensor) -> Tensor:
    """The cells of `(B, C, h, w)` as `(B * h * w, C)`."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _numbers(positions: Tensor, like: Tensor) -> Tensor:
    """Which of `_rows(like)` the positions `(B, N, 2)` are: `(B, N)` int64."""
    height, width = like.shape[2:]
    picture = torch.arange(len(positions), device=positions.device).unsqueeze(1)
    row, column = positions.long().unbind(dim=2)
    return (picture * height + row) * width + column


class EncodeAndSelect(Encode):
    """The host's encoder; key and value of every cell; features and query of the cells that are most complex.

    Args:
        encoder: the host's.
        mean: of each RGB channel in 0..1.
        std: of each RGB channel in 0..1.
        plan: widths, and how queries are chosen.
        reduce: from the encoder's output to the transformer's width.
    """

    def __init__(
        self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float], plan: STT, reduce: nn.Module
    ) -> None:
        super().__init__(encoder, mean, std)
        self.plan, self.reduce = plan, reduce
        self.project_query = nn.Conv2d(plan.width, plan.width, 1)
        self.project_key = nn.Conv2d(plan.width, plan.width, 1)
        self.project_value = nn.Conv2d(plan.width, plan.width, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.features(image)
        tokens = self.reduce(features)
        query = self.project_query(tokens)
        positions = self.select(query)
        numbers = _numbers(positions, tokens)
        # as embeddings: their gradient is a sum of rows, and in a file they are one Gather
        own, query = (F.embedding(numbers, _rows(x)) for x in (tokens, query))
        return {
            "features": features if self.plan.head == "host" else tokens,
            "positions": positions,
            "own": own,
            "query": query.reshape(*positions.shape[:2], *self.plan.per_head),
            "key": self._heads(self.project_key(tokens)),
            "value": self._heads(self.project_value(tokens)),
        }

    @torch.no_grad()
    def select(self, query: Tensor) -> Tensor:
        """`(B, N, 2)` int32 of queries `(B, width, h, w)`: a choice, which no gradient goes through."""
        if self.plan.normalise:
            query = F.normalize(query.float(), dim=1)
        return most_complex(neighbouring_similarity(query, self.plan.neighbours), self.plan.percent)

    def _heads(self, x: Tensor) -> Tensor:
        """`(B, width, h, w)` to `(B, h, w, heads, width / heads)`."""
        x = x.permute(0, 2, 3, 1)
        return x.reshape(*x.shape[:3], *self.plan.per_head)


class Fuse(nn.Module):
    """The transformer encoder's layer on the queries that were chosen; its results take their places in the map.

    Where the host's features have another width than the transformer, its results are widened and added to them.

    Args:
        plan: widths, and what becomes of the other cells.
        channels: of the features.
    """

    def __init__(self, plan: STT, channels: int) -> None:
        super().__init__()
        width = plan.width
        self.normalises_all = plan.unselected == "normalised"
        self.project = nn.Linear(width, width)
        self.norm_seen = nn.LayerNorm(width)
        self.expand = nn.Linear(width, plan.hidden)
        self.contract = nn.Linear(plan.hidden, width)
        self.norm = nn.LayerNorm(width)
        self.widen = None if channels == width else nn.Linear(width, channels)
        self.dropout = nn.Dropout(_DROPOUT)
        if self.widen is not None and self.normalises_all:
            raise CardError(
                f"unselected cells can be normalised where features are {width} wide as the transformer is, "
                f"these are {channels}; set width to {channels}, or unselected to kept"
            )

    def transform(self, own: Tensor, seen: Tensor) -> Tensor:
        """X = LN(Q + MH), LN(X + FFH(X)): `own` are the features Q and `seen` what the heads saw, both `(n, width)`."""
        x = self.norm_seen(own + self.dropout(self.project(seen)))
        return self.norm(x + self.dropout(self.contract(F.relu(self.expand(x)))))

    def forward(self, raw: Tensor, positions: Tensor, own: Tensor, seen: Tensor) -> dict[str, Tensor]:
        batch, channels, height, width = raw.shape
        rows, numbers = _rows(raw), _numbers(positions, raw).flatten()
        found = self.transform(own.reshape(-1, own.shape[2]), seen.reshape(-1, own.shape[2]))
        if self.widen is not None:
            found = F.embedding(numbers, rows) + self.widen(found)
        if self.normalises_all:
            rows = self.norm(rows)
        rows = rows.index_put((numbers,), found.to(rows.dtype))
        return {"features": rows.view(batch, height, width, channels).permute(0, 3, 1, 2)}


class SlimHead(nn.Sequential):
    """3x3 convolution of few channels, classifier, and the host's way back to the picture's size."""

    def __init__(self, width: int, classes: int, enlarge: nn.Module) -> None:
        super().__init__()
        self.reduce = ConvNormRelu(width, _HEAD_CHANNELS, 3)
        self.dropout = nn.Dropout2d(_DROPOUT)
        self.classify = nn.Conv2d(_HEAD_CHANNELS, classes, 1)
        self.enlarge = enlarge


def _to_width(channels: int, width: int) -> nn.Module:
    return nn.Identity() if channels == width else ConvNormRelu(channels, width, 1)


def _slim(plan: STT, net: HostNet) -> tuple[nn.Module, nn.Module]:
    """From the encoder's output to the transformer's width, behind PSPNet's pyramid, and the head of that width."""
    decoder, channels = net.decoder, net.feature_channels
    if isinstance(decoder, pspnet.StreetDecoder):
        pyramid = decoder.reduce[0]
        reduce: nn.Module = nn.Sequential(pyramid, _to_width(2 * channels, plan.width))
    elif isinstance(decoder, bisenet.Decoder):
        reduce = _to_width(channels, plan.width)
    else:
        raise CardError(
            f"a slim head wants bisenet* or pspnet18, 50 or 101, got {type(net).__name__}; set head to host"
        )
    return reduce, SlimHead(plan.width, decoder.classify.out_channels, decoder.enlarge)


def build_stages(plan: STT, net: HostNet, *, mean: Sequence[float], std: Sequence[float]) -> nn.ModuleDict:
    """`encode`, `fuse` and `decode` of STT on `net`."""
    if plan.head == "slim":
        channels = plan.width
        reduce, decoder = _slim(plan, net)
    else:
        channels = net.feature_channels
        reduce, decoder = _to_width(channels, plan.width), net.decoder
    return nn.ModuleDict(
        {
            "encode": EncodeAndSelect(net.encoder, mean, std, plan, reduce),
            "fuse": Fuse(plan, channels),
            "decode": Decode(decoder),
        }
    )
