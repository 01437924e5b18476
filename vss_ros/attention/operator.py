# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The public function, and the choice of the kernel behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention.check import check
from vss_ros.attention.reference import reference
from vss_ros.core.look import Look

Array = npt.NDArray[Any]


def local_attention(
    query: Array,
    keys: Array,
    values: Array,
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Local attention."""
    result = reference(query, keys, values, look, check(query, keys, values, look, valid))
    if out is None:
        return result
    out[...] = result
    return out


def explain() -> tuple[str, str]:
    """Kernel in use and why no faster one is."""
    return "reference", "no kernel"
