# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The only place that looks at what local attention was called with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Look

FloatArray = npt.NDArray[np.float32]

_AXES = {"query": "(h, w, heads, dk)", "keys": "(T, h, w, heads, dk)", "values": "(T, h, w, heads, dv)"}


@dataclass(frozen=True, slots=True)
class Read:
    """One checked read of the memory: shapes agree, at least one slot is valid, the last axes lie side by side.

    Attributes:
        query: `(h, w, heads, dk)` float32.
        keys: `(T, h, w, heads, dk)` float32.
        values: `(T, h, w, heads, dv)` float32.
        look: windows (one, or one per slot), border rule and scale.
        valid: `(T,)` bool.
        threads: at least 1, or None for the kernel's own choice.
        out: `(h, w, heads, dv)` float32, C-contiguous, shares no memory with the others.
    """

    query: FloatArray
    keys: FloatArray
    values: FloatArray
    look: Look
    valid: npt.NDArray[np.bool_]
    threads: int | None
    out: FloatArray


def checked(
    query: FloatArray,
    keys: FloatArray,
    values: FloatArray,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None,
    threads: int | None,
    out: FloatArray | None,
) -> Read:
    """A call of `local_attention`, refused or made uniform.

    Raises:
        AttentionError: something does not fit; the message says what was wanted, what came and what to do.
    """
    _check_kind("query", query)
    _check_kind("keys", keys)
    _check_kind("values", values)
    h, w, heads, dk = query.shape
    slots, dv = keys.shape[0], values.shape[-1]
    _check_shape(
        "keys", keys, (slots, h, w, heads, dk), "the query and the keys come from the same encoder and picture"
    )
    _check_shape("values", values, (slots, h, w, heads, dv), "push key and value of one frame together")
    _check_look(look, slots)
    if threads is not None and threads < 1:
        raise AttentionError(f"threads wants at least 1, got {threads}; pass None for one per core")
    return Read(
        query=_rows(query),
        keys=_rows(keys),
        values=_rows(values),
        look=look,
        valid=_checked_valid(valid, slots),
        threads=threads,
        out=_checked_out(out, (h, w, heads, dv), (query, keys, values)),
    )


def _check_kind(name: str, array: Any) -> None:
    axes = _AXES[name]
    if not isinstance(array, np.ndarray):
        raise AttentionError(
            f"{name} wants a numpy array {axes}, got {type(array).__name__}; convert it, e.g. tensor.numpy()"
        )
    if array.dtype != np.float32:
        raise AttentionError(f"{name} wants float32, got {array.dtype}; convert it with astype(numpy.float32)")
    if array.ndim != axes.count(",") + 1 or 0 in array.shape:
        raise AttentionError(
            f"{name} wants {axes}, none of them 0, got {array.shape}; channels come last, and heads are 1 where unused"
        )


def _check_shape(name: str, array: FloatArray, wanted: tuple[int, ...], remedy: str) -> None:
    if array.shape != wanted:
        raise AttentionError(f"{name} wants {_AXES[name]} = {wanted}, got {array.shape}; {remedy}")


def _check_look(look: Look, slots: int) -> None:
    if len(look.windows) not in (1, slots):
        raise AttentionError(
            f"a look wants one window, or one for each of the {slots} slots, got {len(look.windows)}; "
            "give as many windows as the bank has slots"
        )
    if not math.isfinite(look.scale):
        raise AttentionError(f"a look wants a finite scale, got {look.scale}; LMANet uses 1.0")


def _checked_valid(valid: npt.NDArray[np.bool_] | None, slots: int) -> npt.NDArray[np.bool_]:
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
