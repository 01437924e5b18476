# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The differentiable form against the definition, and its gradients against finite differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vss_ros.attention.reference import local_attention  # noqa: E402
from vss_ros.attention.training import local_attention_dense  # noqa: E402
from vss_ros.core.errors import AttentionError  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402

SHAPES = [(5, 7, 2, 3, 4, 3, 5), (1, 1, 1, 2, 2, 2, 3), (9, 10, 1, 4, 8, 2, 7), (3, 17, 1, 4, 8, 1, 21)]


def random(h: int, w: int, heads: int, dk: int, dv: int, slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(h * w)
    shapes = (h, w, heads, dk), (slots, h, w, heads, dk), (slots, h, w, heads, dv)
    return tuple(rng.standard_normal(shape) for shape in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition(shape: tuple[int, ...], border: Border) -> None:
    query, keys, values = random(*shape[:6])
    look = Look(shape[6], border, scale=0.7)
    wanted = local_attention(query, keys, values, look)
    batch = (torch.from_numpy(np.stack([x, x[::1]])) for x in (query,))
    got = local_attention_dense(
        next(batch), *(torch.from_numpy(np.stack([x, x], axis=1)) for x in (keys, values)), look
    )
    assert np.abs(got.numpy() - wanted).max() < 1e-12


def test_leaves_out_what_is_not_valid() -> None:
    query, keys, values = (torch.from_numpy(x) for x in random(4, 5, 1, 2, 3, 3))
    valid = np.array([True, False, True])
    arguments = query[None], keys[:, None], values[:, None]
    got = local_attention_dense(*arguments, Look(3), valid=valid)
    wanted = local_attention_dense(query[None], keys[[0, 2], None], values[[0, 2], None], Look(3))
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("border", list(Border))
def test_gradients(border: Border) -> None:
    query, keys, values = (torch.from_numpy(x).requires_grad_() for x in random(3, 4, 1, 2, 2, 2))
    arguments = query[None], keys[:, None], values[:, None]
    assert torch.autograd.gradcheck(lambda q, k, v: local_attention_dense(q, k, v, Look(3, border)), arguments)


def test_refuses_what_it_does_not_define() -> None:
    arguments = [torch.from_numpy(x) for x in random(3, 4, 1, 2, 2, 2)]
    query, keys, values = arguments[0][None], arguments[1][:, None], arguments[2][:, None]
    with pytest.raises(AttentionError, match="at least one valid slot"):
        local_attention_dense(query, keys, values, Look(3), valid=np.zeros(2, bool))
    with pytest.raises(AttentionError, match="one window for all slots"):
        local_attention_dense(query, keys, values, Look((3, 5)))
