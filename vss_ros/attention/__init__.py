# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Local attention: one public function, one definition (`reference.py`) and one fast kernel (`cpu.py`)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vss_ros.attention import cpu, reference
from vss_ros.attention.check import Read, checked
from vss_ros.core.look import Look

__all__ = ["explain", "local_attention"]

log = logging.getLogger(__name__)

Kernel = Callable[[Read], None]


def local_attention(
    query: npt.NDArray[np.float32],
    keys: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    look: Look,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    threads: int | None = None,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """What each query recalls from its window in all slots of a memory.

    Paul et al., "Local Memory Attention for Fast Video Semantic Segmentation", IROS 2021, eq. 5 and 6: one softmax
    over all valid slots and all displacements of an odd window centred on the query, and the weighted sum of the
    values found there. `Look` says how large the windows are and what lies outside the picture.

    Args:
        query: `(h, w, heads, dk)` float32.
        keys: `(T, h, w, heads, dk)` float32, read in place: a ring buffer in any slot order.
        values: `(T, h, w, heads, dv)` float32, read in place.
        look: window, border rule and scale of the logits.
        valid: `(T,)` bool, which slots take part; the others are never read. None = all.
        threads: of the CPU kernel; None = one per physical core. The result does not depend on it.
        out: `(h, w, heads, dv)` float32, C-contiguous, where to write; None = a new array.

    Returns:
        `(h, w, heads, dv)` float32; `out` where it was given.

    Raises:
        AttentionError: shapes, dtypes or options do not fit, or no slot is valid.
    """
    read = checked(query, keys, values, look, valid=valid, threads=threads, out=out)
    kernel, _ = _chosen()
    kernel(read)
    return read.out


def explain() -> tuple[str, str]:
    """The kernel that reads use, and why the faster one was refused (an empty string if it was not)."""
    kernel, why = _chosen()
    return f"cpu {cpu.instruction_set()}" if kernel is cpu.attend else "reference", why


@functools.cache
def _chosen() -> tuple[Kernel, str]:
    """The kernel to use and why it is not the faster one; decided, and logged, once per process."""
    try:
        cpu.instruction_sets()
    except OSError as error:
        why = f"{error}; install a C++17 compiler and run `python setup.py build_ext --inplace`, or pip install again"
        log.warning("local attention uses the slow numpy reference: %s", why)
        return _attend_by_definition, why
    return cpu.attend, ""


def _attend_by_definition(read: Read) -> None:
    read.out[...] = reference.local_attention(read.query, read.keys, read.values, read.look, valid=read.valid)
