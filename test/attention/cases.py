# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Random inputs of local attention, and the measure its kernels are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention import reference
from vss_ros.core.look import Look

Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
TOLERANCE = 1e-5  # of a float32 kernel: largest error over the largest magnitude of the float64 definition


def random(
    h: int, w: int, *, slots: int = 1, heads: int = 1, dk: int = 4, dv: int = 5, seed: int = 0, dtype: Any = np.float32
) -> Arrays:
    """Query, keys and values from a normal distribution."""
    rng = np.random.default_rng(seed)
    shapes = (h, w, heads, dk), (slots, h, w, heads, dk), (slots, h, w, heads, dv)
    query, keys, values = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return query, keys, values


def error(got: npt.NDArray[Any], arrays: Arrays, look: Look, valid: npt.NDArray[np.bool_] | None = None) -> float:
    """Of a kernel's result, against the definition in float64."""
    wanted = reference.local_attention(*(x.astype(np.float64) for x in arrays), look, valid=valid)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())
