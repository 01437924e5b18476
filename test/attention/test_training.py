# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The differentiable form against the definition, and its gradients against finite differences."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vss_ros.attention import training  # noqa: E402
from vss_ros.attention.reference import local_attention  # noqa: E402
from vss_ros.attention.training import local_attention_dense  # noqa: E402
from vss_ros.core.errors import AttentionError  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402

SHAPES = [(5, 7, 2, 3, 4, 3, 5), (1, 1, 1, 2, 2, 2, 3), (9, 10, 1, 4, 8, 2, 7), (3, 17, 1, 4, 8, 1, 21)]


def random(h: int, w: int, heads: int, dk: int, dv: int, slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(h * w)
    shapes = (h, w, heads, dk), (slots, h, w, heads, dk), (slots, h, w, heads, dv)
    return tuple(rng.standard_normal(shape) for shape in shapes)  # type: ignore[return-value]


def batched(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[Any, Any, Any]:
    """The same picture twice, as a batch."""
    return (
        torch.from_numpy(np.stack([query, query])),
        *(torch.from_numpy(np.stack([x, x], axis=1)) for x in (keys, values)),
    )


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition(shape: tuple[int, ...], border: Border) -> None:
    query, keys, values = random(*shape[:6])
    look = Look(shape[6], border, scale=0.7)
    wanted = local_attention(query, keys, values, look)
    got = local_attention_dense(*batched(query, keys, values), look)
    assert np.abs(got.numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("sink", [None, -np.inf, 0.7, np.array([0.3, -1.0], np.float64)])
def test_windows_per_slot_and_sinks_equal_the_definition(border: Border, sink: Any) -> None:
    query, keys, values = random(9, 10, 2, 3, 4, 3)
    look = Look((3, 7, 5), border, scale=0.7)
    got = local_attention_dense(*batched(query, keys, values), look, sink=sink)
    wanted = local_attention(query, keys, values, look, sink=sink)
    assert np.abs(got.numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("sink", [None, 0.7])
@pytest.mark.parametrize("shape", [(9, 10), (300,), (0,)])
def test_centres_equal_the_definition(shape: tuple[int, ...], sink: float | None, border: Border) -> None:
    _, keys, values = random(9, 10, 2, 3, 4, 2)
    rng = np.random.default_rng(0)
    query, centres = rng.standard_normal((*shape, 2, 3)), rng.integers(-6, 16, (*shape, 2))
    look = Look((3, 5), border, scale=0.7)
    wanted = local_attention(query, keys, values, look, centres=centres, sink=sink)
    stacked = torch.from_numpy(np.stack([centres, centres]))
    got = local_attention_dense(*batched(query, keys, values), look, centres=stacked, sink=sink)
    assert got.shape == (2, *shape, 2, 4)
    assert np.abs(got.numpy() - wanted).max(initial=0) < 1e-12


def test_each_picture_of_a_batch_has_its_own_centres() -> None:
    query, keys, values = random(5, 6, 1, 3, 4, 2)
    centres = np.random.default_rng(0).integers(-1, 7, (2, 5, 6, 2))
    got = local_attention_dense(*batched(query, keys, values), Look(3), centres=centres)
    for n in range(2):
        wanted = local_attention(query, keys, values, Look(3), centres=centres[n])
        assert np.abs(got[n].numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize("centres", [None, np.full((2, 5, 6, 2), 2)])
def test_a_sink_may_come_from_a_stage_as_a_batch(centres: Any) -> None:
    query, keys, values = random(5, 6, 3, 3, 4, 2)
    sinks = torch.arange(6, dtype=torch.float64).view(2, 3)
    got = local_attention_dense(*batched(query, keys, values), Look(3), centres=centres, sink=sinks)
    for n in range(2):
        cells = None if centres is None else centres[n]
        wanted = local_attention(query, keys, values, Look(3), centres=cells, sink=sinks[n].numpy())
        assert np.abs(got[n].numpy() - wanted).max() < 1e-12


def test_nan_outside_the_windows_reaches_neither_result_nor_gradient() -> None:
    query, keys, values = (torch.from_numpy(x).requires_grad_() for x in random(4, 5, 1, 2, 3, 1))
    trap = torch.zeros(1, 4, 5, 1, 1, dtype=torch.float64)
    trap[0, 0, 0] = torch.nan
    centres = torch.full((1, 6, 2), 3)
    centres[0, 0] = -1  # whose windows hold the corner, but for the clamp
    centres[0, 0, 1] = -2
    some = query.reshape(1, 20, 1, 2)[:, :6]
    arguments = some, (keys + trap)[:, None], (values + trap)[:, None], Look(3, Border.MASK)
    out = local_attention_dense(*arguments, centres=centres)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(query.grad).all()
    assert (out[0, 0] == 0).all()


def test_leaves_out_what_is_not_valid() -> None:
    query, keys, values = (torch.from_numpy(x) for x in random(4, 5, 1, 2, 3, 3))
    valid = np.array([True, False, True])
    arguments = query[None], keys[:, None], values[:, None]
    got = local_attention_dense(*arguments, Look(3), valid=valid)
    wanted = local_attention_dense(query[None], keys[[0, 2], None], values[[0, 2], None], Look(3))
    assert torch.equal(got, wanted)
    look = Look((3, 5, 7))
    got = local_attention_dense(*arguments, look, valid=valid)
    wanted = local_attention_dense(query[None], keys[[0, 2], None], values[[0, 2], None], Look((3, 7)))
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("with_sink", [False, True])
def test_gradients(with_sink: bool, centred: bool, border: Border) -> None:
    query, keys, values = (torch.from_numpy(x).requires_grad_() for x in random(3, 4, 1, 2, 2, 2))
    sinks = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    centres = torch.from_numpy(np.random.default_rng(0).integers(-3, 6, (1, 3, 4, 2))) if centred else None

    def attend(*tensors: Any) -> Any:
        sink = tensors[3] if with_sink else None
        return local_attention_dense(*tensors[:3], Look((3, 1), border), centres=centres, sink=sink)

    inputs = query[None], keys[:, None], values[:, None], sinks
    assert torch.autograd.gradcheck(attend, inputs if with_sink else inputs[:3])


def test_a_sink_can_be_learned_in_half_precision() -> None:
    query, keys, values = (torch.from_numpy(x).bfloat16() for x in random(3, 4, 2, 2, 2, 2))
    sinks = torch.nn.Parameter(torch.zeros(2))
    out = local_attention_dense(query[None], keys[:, None], values[:, None], Look(3), sink=sinks)
    out.float().abs().sum().backward()
    assert out.dtype == torch.bfloat16 and sinks.grad is not None and (sinks.grad != 0).all()


def test_refuses_what_it_does_not_define() -> None:
    arguments = [torch.from_numpy(x) for x in random(3, 4, 1, 2, 2, 2)]
    query, keys, values = arguments[0][None], arguments[1][:, None], arguments[2][:, None]
    with pytest.raises(AttentionError, match="at least one valid slot"):
        local_attention_dense(query, keys, values, Look(3), valid=np.zeros(2, bool))
    with pytest.raises(AttentionError, match="one for each of the 2 slots"):
        local_attention_dense(query, keys, values, Look((3, 5, 7)))
    with pytest.raises(AttentionError, match=r"centres wants \(1, 3, 4, 2\) int, got \(3, 4, 2\)"):
        local_attention_dense(query, keys, values, Look(3), centres=torch.zeros(3, 4, 2, dtype=torch.int64))
    with pytest.raises(AttentionError, match=r"centres wants .* torch\.float32"):
        local_attention_dense(query, keys, values, Look(3), centres=torch.zeros(1, 3, 4, 2))
    with pytest.raises(AttentionError, match=r"sink wants a number, \(1,\) or \(1, 1\), got \(2,\)"):
        local_attention_dense(query, keys, values, Look(3), sink=torch.zeros(2))


@pytest.mark.parametrize("border", list(Border))
def test_a_list_of_different_cells_is_read_as_about_any_centres(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    numbers = torch.stack([torch.randperm(90)[:40] for _ in range(2)])
    cells = torch.stack([numbers // 10, numbers % 10], dim=2)
    shapes = (2, 40, 2, 3), (3, 2, 9, 10, 2, 3), (3, 2, 9, 10, 2, 4)
    arrays = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    look, more = Look((3, 7, 5), border, 0.7), {"sink": 0.3, "valid": np.array([True, False, True])}

    def read() -> list[Any]:
        seen = local_attention_dense(*arrays, look, centres=cells, **more)
        return [seen, *torch.autograd.grad(seen.square().sum(), arrays)]

    tiled = read()
    monkeypatch.setattr(training, "_are_cells", lambda *x: False)
    for got, wanted in zip(tiled, read(), strict=True):
        assert (got - wanted).abs().max() < 1e-12


def test_a_cell_listed_twice_or_outside_is_not_a_place_for_a_query() -> None:
    query, keys = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 3, 4, 1, 1)
    for cells, wanted in (([[0, 0], [2, 3]], True), ([[1, 1], [1, 1]], False), ([[0, 0], [0, 4]], False)):
        assert training._are_cells(query, keys, torch.tensor([cells])) == wanted
