# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a phase minimises: the weighted cross entropy, and beside it the soft Jaccard loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vss_ros.core.frame import UNLABELLED


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor, jaccard: float) -> Tensor:
    """Cross entropy plus `jaccard` times the soft Jaccard loss.

    Args:
        logits: `(B, K, H, W)`.
        labels: `(B, H, W)` uint8; 255 is left out.
        weights: `(K,)` float32, of the cross entropy.
        jaccard: 0 for the cross entropy alone.
    """
    loss = cross_entropy(logits.float(), labels, weights)
    if jaccard:
        loss = loss + jaccard * soft_jaccard_loss(logits.float(), labels)
    return loss


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the labelled pixels; 0 where a batch shows none, whose mean would end a run as NaN."""
    if not (labels != UNLABELLED).any():
        return logits.sum() * 0
    return F.cross_entropy(logits, labels.long(), weights, ignore_index=UNLABELLED)


def class_weights(pixels: Sequence[int], balance: float) -> Tensor:
    """`(K,)` float32: ENet's weights 1 / ln(balance + share of pixels) (Paszke et al., 2016, there 1.02)."""
    counts = torch.tensor(pixels, dtype=torch.float32)
    return 1.0 / torch.log(balance + counts / counts.sum())


def soft_jaccard_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean over classes of intersection over union, counted in probabilities (Rahman and Wang, ISVC 2016).

    The cross entropy counts pixels, so a thin class costs it little; this counts classes, as mIoU does.

    Args:
        logits: `(B, K, H, W)` float32.
        labels: `(B, H, W)` uint8; 255 is left out.

    Returns:
        Scalar in 0..1 over the classes that the batch shows; 0 where it shows none.
    """
    seen = labels != UNLABELLED
    truth = F.one_hot(labels.long().where(seen, 0), logits.shape[1]).movedim(-1, 1) * seen[:, None]
    likely = logits.softmax(dim=1) * seen[:, None]
    common = (likely * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    shares = common / (likely.sum((0, 2, 3)) + pixels - common).clamp_min(1e-6)
    return (1 - shares[pixels > 0]).sum() / (pixels > 0).sum().clamp_min(1)
