# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The GPU kernels in Triton's interpreter against loops in float64, in every mode.

Triton decides when it is imported whether it interprets, so `test_triton.py` runs this file in a process of its own;
by hand: TRITON_INTERPRET=1 python -m pytest test/attention/test_triton_interpreted.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("runs in the process that test_triton.py starts", allow_module_level=True)
pytest.importorskip("triton", reason="Triton is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from vss_ros.attention.triton_launch import attend_triton  # noqa: E402  after the skips
from vss_ros.core.errors import AttentionError  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402

Array = npt.NDArray[np.float64]
# the result and the weights are rounded to 11 or 8 bits; values are about 1, results below that
TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


@pytest.fixture(autouse=True)
def bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.7's interpreter keeps bfloat16 as uint16, and multiplies matrices of it as whole numbers."""
    from triton import language as tl
    from triton.runtime import interpreter

    def dot(self: Any, a: Any, b: Any, d: Any, *_: Any) -> Any:
        a, b = (self.create_fp_ext(x, tl.block_type(tl.float32, list(x.data.shape))) for x in (a, b))
        return interpreter.TensorHandle(np.matmul(a.data, b.data) + d.data, d.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)


def window(centre: npt.NDArray[np.int32], size: int) -> Iterator[tuple[int, int]]:
    reach = size // 2
    for y in range(int(centre[0]) - reach, int(centre[0]) + reach + 1):
        for x in range(int(centre[1]) - reach, int(centre[1]) + reach + 1):
            yield y, x


def loops(
    query: Array, keys: Array, values: Array, look: Look, valid: Any, centres: Any, sink: npt.NDArray[np.float64] | None
) -> Array:
    """Every query `(N, heads, dk)` about its centre, one slot and position at a time."""
    _, h, w, heads, _ = keys.shape
    out = np.zeros((*query.shape[:2], values.shape[-1]))
    for n, head in np.ndindex(len(query), heads):
        logits, seen = [], []
        for slot in np.flatnonzero(valid):
            for y, x in window(centres[n], look.window_of(slot)):
                if 0 <= y < h and 0 <= x < w:
                    logits.append(look.scale * query[n, head] @ keys[slot, y, x, head])
                    seen.append(values[slot, y, x, head])
                elif look.border is Border.ZERO:
                    logits.append(0.0)
                    seen.append(np.zeros(values.shape[-1]))
        if sink is not None:
            logits.append(sink[head])
            seen.append(np.zeros(values.shape[-1]))
        if logits:
            weights = np.exp(np.array(logits) - max(logits))
            out[n, head] = weights @ np.array(seen) / weights.sum()
    return out


def cells(h: int, w: int) -> npt.NDArray[np.int32]:
    """`(h, w, 2)`: row and column of each cell."""
    return np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1).astype(np.int32)


def tensors(
    h: int, w: int, *, slots: int = 2, heads: int = 1, dk: int = 16, dv: int = 16, dtype: str = "float32", seed: int = 0
) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (h, w, heads, dk), (slots, h, w, heads, dk), (slots, h, w, heads, dv)
    return [torch.randn(shape, generator=generator).to(getattr(torch, dtype)) for shape in shapes]


def error(arrays: list[Any], look: Look, **options: Any) -> float:
    """Of the kernel, over the largest magnitude of the loops' result on the same (rounded) inputs."""
    query, keys, values = (x.double().numpy() for x in arrays)
    centres = options.get("centres")
    at = cells(*keys.shape[1:3]) if centres is None else centres.numpy()
    sink, valid = options.get("sink"), options.get("valid")
    wanted = loops(
        query.reshape(-1, *query.shape[-2:]),
        keys,
        values,
        look,
        np.ones(len(keys), bool) if valid is None else valid,
        at.reshape(-1, 2),
        None if sink is None else np.broadcast_to(np.asarray(sink, np.float64), keys.shape[3:4]),
    )
    got = attend_triton(*arrays, look, **options)
    assert got.dtype == arrays[0].dtype
    assert got.shape == (*arrays[0].shape[:-1], values.shape[-1])
    return float(np.abs(got.double().numpy().reshape(wanted.shape) - wanted).max() / max(np.abs(wanted).max(), 1e-9))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_dense(dtype: str, border: Border, parts: int) -> None:
    assert error(tensors(9, 11, dtype=dtype), Look(5, border), parts=parts) < TOLERANCES[dtype]


@pytest.mark.parametrize("channels", [256, 512])
def test_the_wide_features_of_arseg(channels: int) -> None:
    arrays = tensors(3, 4, slots=1, dk=channels, dv=channels, dtype="float16")
    assert error(arrays, Look(3, Border.ZERO, scale=channels**-0.5)) < TOLERANCES["float16"]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_slots_of_a_ring_with_windows_of_their_own(parts: int) -> None:
    arrays, valid = tensors(7, 9, slots=4), np.array([True, False, True, True])
    arrays[1][1], arrays[2][1] = torch.nan, torch.inf  # never read
    assert error(arrays, Look((5, 3, 1, 7)), valid=valid, parts=parts) < 1e-5


@pytest.mark.parametrize("border", list(Border))
def test_heads_with_sinks_of_their_own(border: Border) -> None:
    arrays = tensors(5, 6, heads=3)
    assert error(arrays, Look(3, border), sink=[1.0, -2.0, 5.0]) < 1e-5
    assert error(arrays, Look(3, border), sink=torch.tensor([0.5, 0.0, -200.0]), parts=2) < 1e-5
    assert error(arrays, Look(3, border), sink=torch.tensor(0.7)) < 1e-5
    none = attend_triton(*arrays, Look(3, border))
    for sink in (-np.inf, torch.full((3,), -torch.inf)):
        torch.testing.assert_close(attend_triton(*arrays, Look(3, border), sink=sink), none)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("parts", [1, 2])
def test_centres_moved_by_motion(border: Border, parts: int) -> None:
    rng = np.random.default_rng(0)
    centres = torch.from_numpy(cells(9, 10) + rng.integers(-5, 6, (9, 10, 2), dtype=np.int32))
    arrays = tensors(9, 10)
    assert error(arrays, Look(5, border), centres=centres, parts=parts) < 1e-5
    assert error(arrays, Look((1, 3), border), centres=centres, sink=-1.0, parts=parts) < 1e-5


def test_queries_of_another_grid_than_the_keys() -> None:
    _, keys, values = tensors(5, 6)
    query, centres = torch.randn(9, 10, 1, 16), torch.from_numpy(cells(9, 10) // 2)
    assert error([query, keys, values], Look(3), centres=centres) < 1e-5


def test_an_empty_list_reads_nothing() -> None:
    _, keys, values = tensors(5, 6)
    centres = torch.zeros(0, 2, dtype=torch.int32)
    assert attend_triton(torch.zeros(0, 1, 16), keys, values, Look(3), centres=centres).shape == (0, 1, 16)


def test_centres_that_cannot_be() -> None:
    arrays, look = tensors(1, 2), Look(3, Border.MASK)
    for dtype in (torch.int32, torch.int64):
        ends = torch.iinfo(dtype)
        centres = torch.tensor([[[ends.min, ends.max], [ends.max, 0]]], dtype=dtype)
        assert not attend_triton(*arrays, look, centres=centres).any()


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("count", [1, 70])
def test_a_list_of_queries(count: int, border: Border) -> None:
    _, keys, values = tensors(8, 9, heads=2)
    query = torch.randn(count, 2, 16)
    centres = torch.randint(-3, 12, (count, 2), dtype=torch.int32)
    assert error([query, keys, values], Look(5, border), centres=centres, parts=2) < 1e-5


def test_a_window_far_beyond_the_picture() -> None:
    assert error(tensors(3, 40), Look(99, Border.MASK)) < 1e-5
    assert error(tensors(3, 20, slots=1), Look(99, Border.ZERO)) < 1e-5


def test_a_window_beyond_all_numbers_is_the_whole_picture() -> None:
    arrays = tensors(3, 4)
    everything = attend_triton(*arrays, Look(9, Border.MASK))
    torch.testing.assert_close(attend_triton(*arrays, Look(2**40 + 1, Border.MASK)), everything)


def test_the_scale_is_on_the_logits() -> None:
    for scale in (0.25, -2.0, 0.0):
        assert error(tensors(4, 5), Look(3, scale=scale)) < 1e-5


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_channels_that_are_no_powers_of_two(dtype: str) -> None:
    assert error(tensors(3, 4, dk=21, dv=77, dtype=dtype), Look(3)) < TOLERANCES[dtype]
    assert error(tensors(3, 4, dk=1, dv=1, dtype=dtype), Look(3)) < TOLERANCES[dtype]


@pytest.mark.parametrize(("dk", "dv"), [(128, 512), (16, 320)])
def test_value_channels_in_chunks(dk: int, dv: int) -> None:
    look = Look(3, scale=dk**-0.5)
    for parts in (1, 2):
        assert error(tensors(3, 4, dk=dk, dv=dv, dtype="float16"), look, parts=parts) < TOLERANCES["float16"]
    assert error(tensors(2, 3, dk=dk, dv=80), look) < 1e-5


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize("offset", [-300.0, 300.0])
def test_large_logits(offset: float, border: Border) -> None:
    arrays = tensors(4, 5)
    arrays[0][..., 0], arrays[1][..., 0] = 1.0, offset
    if border is Border.ZERO and offset < 0:  # the outside owns all weight where there is one
        corner = attend_triton(*arrays, Look(3, border))[0, 0, 0]
        torch.testing.assert_close(corner, torch.zeros(16))
    else:
        assert error(arrays, Look(3, border)) < 1e-5 + np.spacing(np.float32(abs(offset)))


@pytest.mark.parametrize("parts", [1, 2])
def test_a_query_that_sees_nothing_reads_zeros(parts: int) -> None:
    arrays = tensors(3, 4)
    centres = torch.full((3, 4, 2), 100, dtype=torch.int32)
    for sink in (None, 3.0):
        got = attend_triton(*arrays, Look(5, Border.MASK), centres=centres, sink=sink, parts=parts)
        assert not got.any()
    assert not attend_triton(*arrays, Look(5, Border.ZERO), centres=centres, parts=parts).any()


def test_two_equal_slots_read_as_one() -> None:
    query, keys, values = tensors(6, 7, slots=1)
    once = attend_triton(query, keys, values, Look(3))
    twice = attend_triton(query, keys.repeat(2, 1, 1, 1, 1), values.repeat(2, 1, 1, 1, 1), Look(3), parts=2)
    torch.testing.assert_close(twice, once)


def test_writes_where_it_is_told() -> None:
    arrays = tensors(4, 5, dtype="float16")
    out = torch.full((4, 5, 1, 16), torch.nan)
    assert attend_triton(*arrays, Look(3), out=out) is out
    torch.testing.assert_close(out.half(), attend_triton(*arrays, Look(3)))


def test_arrays_of_any_strides() -> None:
    query, keys, values = tensors(4, 5, heads=2)
    strided = keys.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)
    torch.testing.assert_close(
        attend_triton(query, strided, values, Look(3)), attend_triton(query, keys, values, Look(3))
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"keys": torch.zeros(4, 5, 1, 16)}, r"keys and values want \(T, h, w, heads, channels\)"),
        ({"values": torch.zeros(2, 4, 6, 1, 16)}, r"values wants \(2, 4, 5, 1\) and channels, got \(2, 4, 6, 1, 16\)"),
        ({"query": torch.zeros(4, 6, 1, 16)}, r"query wants .*\(4, 5, 1, 16\) or, .*got \(4, 6, 1, 16\)"),
        ({"query": torch.zeros(7, 1, 16)}, r"a list of queries \(7, 1, 16\) wants centres \(7, 2\), got None"),
        ({"query": torch.zeros(4, 5, 1, 16).half()}, "one dtype of float16, bfloat16, float32, got float16, float32"),
        ({"centres": torch.zeros(4, 5, 2)}, r"centres wants \(4, 5, 2\) int32 or int64, got \(4, 5, 2\) float32"),
        ({"look": Look((3, 3, 3))}, "one for each of the 2 slots, got 3"),
        ({"look": Look(3, scale=float("nan"))}, "a finite scale, got nan"),
        ({"valid": np.array([1, 0])}, r"valid wants \(2,\) bool, got \(2,\) int64"),
        ({"valid": np.zeros(2, bool)}, "at least one valid slot, got none"),
        ({"sink": [1.0, 2.0]}, r"sink wants a number or \(1,\), finite or -inf, got \[1.0, 2.0\]"),
        ({"sink": float("nan")}, "sink wants .* finite or -inf, got nan"),
        ({"sink": torch.zeros(2)}, r"sink wants a number or \(1,\), got shape \(2,\)"),
        ({"out": torch.zeros(4, 5, 1, 8)}, r"out wants contiguous \(4, 5, 1, 16\) torch.float32 or float32 on cpu"),
        ({"parts": 3}, "parts wants 1 to 2, the number of valid slots, got 3"),
    ],
)
def test_refuses(change: dict[str, Any], sentence: str) -> None:
    query, keys, values = tensors(4, 5)
    call = {"query": query, "keys": keys, "values": values, "look": Look(3)} | change
    with pytest.raises(AttentionError, match=sentence):
        attend_triton(**call)


def test_refuses_many_key_channels() -> None:
    with pytest.raises(AttentionError, match="at most 128 key channels in float32, got 129"):
        attend_triton(*tensors(2, 2, dk=129), Look(3))
