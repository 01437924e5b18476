# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The one place that looks at the shapes of a local-attention call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Look

Array = npt.NDArray[Any]


def check(query: Array, keys: Array, values: Array, look: Look, valid: Array | None) -> npt.NDArray[np.bool_]:
    """Refuse what the operator does not define; returns `(T,)` validity.

    Raises:
        AttentionError: ranks, shapes or dtypes do not fit, or no slot is valid.
    """
    if query.ndim != 4 or keys.ndim != 5 or values.ndim != 5:
        raise AttentionError(
            "local attention wants query (h, w, heads, dk), keys (T, h, w, heads, dk), values (T, h, w, heads, dv), "
            f"got {query.shape}, {keys.shape}, {values.shape}; add the missing axes"
        )
    if min(query.shape) < 1 or values.shape[-1] < 1:
        raise AttentionError(f"local attention wants no empty axis, got query {query.shape}, values {values.shape}")
    if keys.shape[1:] != query.shape or values.shape[:-1] != keys.shape[:-1]:
        raise AttentionError(
            f"local attention wants keys (T, *{query.shape}) and values (T, *{query.shape[:-1]}, dv), "
            f"got {keys.shape} and {values.shape}; all must be of one picture size"
        )
    dtypes = {query.dtype, keys.dtype, values.dtype}
    if len(dtypes) != 1 or query.dtype not in (np.float32, np.float64):
        raise AttentionError(
            f"local attention wants float32 throughout, got {', '.join(sorted(map(str, dtypes)))}; convert first"
        )
    slots = keys.shape[0]
    if len(look.windows) not in (1, slots):
        raise AttentionError(f"local attention wants 1 or {slots} windows, got {len(look.windows)}")
    if valid is None:
        valid = np.ones(slots, bool)
    if valid.shape != (slots,) or valid.dtype != np.bool_:
        raise AttentionError(f"valid wants ({slots},) bool, got {valid.shape} {valid.dtype}")
    if not valid.any():
        raise AttentionError(
            f"local attention wants at least one valid slot, got none of {slots}; skip the read while memory is empty"
        )
    return valid
