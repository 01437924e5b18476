# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The losses by hand: two classes, void pixels, batches without labels."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vss_ros.train.losses import class_weights, cross_entropy, segmentation_loss, soft_jaccard_loss  # noqa: E402

VOID = 255


def logits_of(*first: float) -> torch.Tensor:
    """`(1, 2, 1, W)` logits whose softmax gives class 0 these probabilities."""
    likely = torch.tensor(first)
    return torch.stack([likely.log(), (1 - likely).log()])[None, :, None, :]


def labels_of(*labels: int) -> torch.Tensor:
    return torch.tensor(labels, dtype=torch.uint8)[None, None]


def test_jaccard_by_hand() -> None:
    """Class 0: shares 0.8 of 1 + 0.4; class 1: 0.6 of 1 + 0.2."""
    loss = soft_jaccard_loss(logits_of(0.8, 0.4), labels_of(0, 1))
    assert loss.item() == pytest.approx(1 - (0.8 / 1.4 + 0.6 / 1.2) / 2)


def test_jaccard_leaves_void_out() -> None:
    loss = soft_jaccard_loss(logits_of(0.8, 0.4, 0.99), labels_of(0, 1, VOID))
    assert loss.item() == pytest.approx(1 - (0.8 / 1.4 + 0.6 / 1.2) / 2)


def test_jaccard_counts_the_classes_that_are_shown() -> None:
    assert soft_jaccard_loss(logits_of(0.8, 0.4), labels_of(0, 0)).item() == pytest.approx(1 - 1.2 / 2)
    assert soft_jaccard_loss(logits_of(0.8, 0.4), labels_of(VOID, VOID)).item() == 0.0


@pytest.mark.parametrize("labels", [(0, 1, VOID), (0, 0, 0), (VOID, VOID, VOID)])
def test_the_gradient_of_jaccard_is_finite(labels: tuple[int, ...]) -> None:
    logits = (100 * torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]))[None, :, None, :].requires_grad_()
    soft_jaccard_loss(logits, labels_of(*labels)).backward()
    assert logits.grad.isfinite().all()


def test_jaccard_is_added_as_it_is_weighed() -> None:
    logits, labels, weights = logits_of(0.8, 0.4), labels_of(0, 1), torch.ones(2)
    plain = segmentation_loss(logits, labels, weights, 0.0)
    assert plain.item() == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    both = segmentation_loss(logits, labels, weights, 0.5)
    assert both.item() == pytest.approx(plain.item() + 0.5 * soft_jaccard_loss(logits, labels).item())


def test_class_weights_by_hand() -> None:
    assert class_weights([3, 1], 1.02).tolist() == pytest.approx([1 / np.log(1.77), 1 / np.log(1.27)])


def test_a_crop_of_void_alone_costs_nothing_and_teaches_nothing() -> None:
    logits = logits_of(0.8, 0.4).requires_grad_()
    loss = segmentation_loss(logits, labels_of(VOID, VOID), torch.ones(2), 1.0)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()
    assert cross_entropy(logits, labels_of(VOID, 0), torch.ones(2)).item() == pytest.approx(-np.log(0.4), rel=1e-6)
