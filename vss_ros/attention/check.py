# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The only place that looks at what local attention was called with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Look

FloatArray = npt.NDArray[np.float32]

Shape = tuple[int, ...]

_AXES = {"keys": "(T, h, w, heads, dk)", "values": "(T, h, w, heads, dv)"}
_QUERY, _LIST = "(h, w, heads, dk)", "(h, w, heads, dk) or, with centres, (N, heads, dk)"
_FARTHEST = 2**30  # cells; a centre beyond lies as far outside of any picture as this one does


@dataclass(frozen=True, slots=True)
class Read:
    """One checked read of the memory: shapes agree, at least one slot is valid, the last axes lie side by side.

    Attributes:
        query: `(h, w, heads, dk)` float32; a list of queries is `(N, heads, dk)`, where N may be 0.
        keys: `(T, h, w, heads, dk)` float32.
        values: `(T, h, w, heads, dv)` float32.
        look: windows (one, or one per slot), border rule and scale.
        valid: `(T,)` bool.
        centres: `(h, w, 2)` or `(N, 2)` int32, C-contiguous, row and column in cells; None = each query's own cell,
            and only then are the h and w of the query those of the keys.
        sinks: `(heads,)` float32, never NaN or +inf; -inf = none.
        threads: at least 1, or None for the kernel's own choice.
        out: `(h, w, heads, dv)` or `(N, heads, dv)` float32, C-contiguous, shares no memory with the others.
    """

    query: FloatArray
    keys: FloatArray
    values: FloatArray
    look: Look
    valid: npt.NDArray[np.bool_]
    centres: npt.NDArray[np.int32] | None
    sinks: FloatArray
    threads: int | None
    out: FloatArray


def checked(
    query: FloatArray,
    keys: FloatArray,
    values: FloatArray,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None,
    centres: npt.NDArray[np.integer[Any]] | None,
    sink: float | FloatArray | None,
    threads: int | None,
    out: FloatArray | None,
) -> Read:
    """A call of `local_attention`, refused or made uniform.

    Raises:
        AttentionError: something does not fit; the message says what was wanted, what came and what to do.
    """
    _check_query(query, centres)
    _check_kind("keys", keys)
    _check_kind("values", values)
    heads, dk = query.shape[-2:]
    slots, h, w = keys.shape[:3]
    dv = values.shape[-1]
    if centres is None:
        h, w = query.shape[:2]
    _check_shape(
        "keys", keys, (slots, h, w, heads, dk), "the query and the keys come from the same encoder and picture"
    )
    _check_shape("values", values, (slots, h, w, heads, dv), "push key and value of one frame together")
    check_look(look, slots)
    if threads is not None and threads < 1:
        raise AttentionError(f"threads wants at least 1, got {threads}; pass None for one per core")
    return Read(
        query=_rows(query),
        keys=_rows(keys),
        values=_rows(values),
        look=look,
        valid=checked_valid(valid, slots),
        centres=None if centres is None else _checked_centres(centres, query.shape[:-2]),
        sinks=_checked_sinks(sink, heads),
        threads=threads,
        out=_checked_out(out, (*query.shape[:-1], dv), (query, keys, values)),
    )


def _check_query(query: Any, centres: Any) -> None:
    _check_float32("query", query, _LIST)
    if centres is None and query.ndim == 3:
        raise AttentionError(
            f"a list of queries {query.shape} wants centres ({len(query)}, 2), got None; say where each one looks"
        )
    lengths = query.shape if centres is None else query.shape[-2:]  # a list may be empty
    if query.ndim not in (3, 4) or 0 in lengths:
        axes = _QUERY if centres is None else _LIST
        raise AttentionError(
            f"query wants {axes}, none of them 0, got {query.shape}; channels come last, and heads are 1 where unused"
        )


def _check_kind(name: str, array: Any) -> None:
    axes = _AXES[name]
    _check_float32(name, array, axes)
    if array.ndim != axes.count(",") + 1 or 0 in array.shape:
        raise AttentionError(
            f"{name} wants {axes}, none of them 0, got {array.shape}; channels come last, and heads are 1 where unused"
        )


def _check_float32(name: str, array: Any, axes: str) -> None:
    if not isinstance(array, np.ndarray):
        raise AttentionError(
            f"{name} wants a numpy array {axes}, got {type(array).__name__}; convert it, e.g. tensor.numpy()"
        )
    if array.dtype != np.float32:
        raise AttentionError(f"{name} wants float32, got {array.dtype}; convert it with astype(numpy.float32)")


def _check_shape(name: str, array: FloatArray, wanted: tuple[int, ...], remedy: str) -> None:
    if array.shape != wanted:
        raise AttentionError(f"{name} wants {_AXES[name]} = {wanted}, got {array.shape}; {remedy}")


def check_shapes(query: Shape, keys: Shape, values: Shape, *, moved: bool) -> None:
    """Refuse the shapes of a read on a GPU that do not belong together; `moved`: each query comes with a centre."""
    if len(keys) != 5 or len(values) != 5 or 0 in keys or 0 in values:
        raise AttentionError(
            "keys and values want (T, h, w, heads, channels), none of them 0, "
            f"got {keys} and {values}; channels come last, and heads are 1 where unused"
        )
    if values[:4] != keys[:4]:
        raise AttentionError(
            f"values wants {keys[:4]} and channels, got {values}; push key and value of one frame together"
        )
    fits = len(query) in (3, 4) if moved else query[:-2] == keys[1:3]
    if not fits and len(query) == 3:
        raise AttentionError(
            f"a list of queries {query} wants centres ({query[0]}, 2), got None; say where each one looks"
        )
    if not fits or query[-2:] != keys[3:]:
        raise AttentionError(
            f"query wants (h, w, heads, dk) = {keys[1:]} or, with centres, (N, heads, dk), "
            f"got {query}; the query and the keys come from the same encoder and picture"
        )


def check_centres(shape: Shape, dtype: str, places: Shape, dtypes: Sequence[str] = ("int32", "int64")) -> None:
    """Refuse centres that are not one (row, column) in whole cells for each of the queries' places."""
    if shape != (*places, 2) or dtype not in dtypes:
        raise AttentionError(
            f"centres wants {(*places, 2)} {' or '.join(dtypes)}, got {shape} {dtype}; "
            "give one (row, column) in cells per query, rounded where motion is not whole"
        )


def check_look(look: Look, slots: int) -> None:
    """Refuse a look that does not fit the number of slots, or whose scale is not finite."""
    if len(look.windows) not in (1, slots):
        raise AttentionError(
            f"a look wants one window, or one for each of the {slots} slots, got {len(look.windows)}; "
            "give as many windows as the bank has slots"
        )
    if not math.isfinite(look.scale):
        raise AttentionError(f"a look wants a finite scale, got {look.scale}; LMANet uses 1.0")


def checked_valid(valid: npt.NDArray[np.bool_] | None, slots: int) -> npt.NDArray[np.bool_]:
    """`(slots,)` bool, at least one of them true; all where `valid` is None."""
    if valid is None:
        return np.ones(slots, np.bool_)
    flags = np.asarray(valid)
    if flags.dtype != np.bool_ or flags.shape != (slots,):
        raise AttentionError(f"valid wants ({slots},) bool, got {flags.shape} {flags.dtype}; pass MemoryView.valid")
    if not flags.any():
        raise AttentionError(
            "local attention wants at least one valid slot, got none; skip the read while the memory is empty"
        )
    return flags


def checked_logits(sink: Any, heads: int) -> tuple[float, ...]:
    """The sink of each head from a number or `(heads,)` on the host; -inf where there is none."""
    logits = np.asarray(-np.inf if sink is None else sink)
    if logits.shape not in ((), (heads,)) or (np.isnan(logits) | np.isposinf(logits)).any():
        raise AttentionError(
            f"sink wants a number or ({heads},), finite or -inf, got {logits.tolist()}; look at the model's weights"
        )
    return tuple(np.broadcast_to(logits, heads).tolist())


def _checked_centres(centres: Any, places: Shape) -> npt.NDArray[np.int32]:
    cells = np.asarray(centres)
    check_centres(cells.shape, str(cells.dtype), places)
    return np.ascontiguousarray(np.clip(cells, -_FARTHEST, _FARTHEST), np.int32)


def _checked_sinks(sink: Any, heads: int) -> FloatArray:
    if sink is None:
        return np.full(heads, -np.inf, np.float32)
    logits = np.asarray(sink)
    if logits.shape not in ((), (heads,)) or logits.dtype.kind not in "fi":
        raise AttentionError(
            f"sink wants a number or ({heads},) float32, got {logits.shape} {logits.dtype}; give one logit per head"
        )
    logits = np.array(np.broadcast_to(logits, heads), np.float32)
    if np.isnan(logits).any() or np.isposinf(logits).any():
        raise AttentionError(f"sink wants finite logits or -inf, got {logits.tolist()}; look at the model's weights")
    return logits


def _checked_out(out: FloatArray | None, shape: tuple[int, ...], inputs: tuple[FloatArray, ...]) -> FloatArray:
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.shape != shape:
        came = f"{out.shape} {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise AttentionError(f"out wants a numpy array {shape} float32, got {came}; pass None for a new array")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise AttentionError("out wants writeable, aligned, C-contiguous memory, got other; pass None for a new array")
    if any(np.may_share_memory(out, array) for array in inputs):
        raise AttentionError("out wants memory of its own, got memory of an input; pass None for a new array")
    return out


def _rows(array: FloatArray) -> FloatArray:
    """The array itself where its channels lie side by side (all other strides are free), else a contiguous copy."""
    return array if array.strides[-1] == array.itemsize or array.shape[-1] == 1 else np.ascontiguousarray(array)
