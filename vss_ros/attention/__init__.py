# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Local attention: one public function, one definition (`reference.py`), a fast kernel (`cpu.py`) and its stand-ins."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention import cpu, numba_kernel, reference
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
    centres: npt.NDArray[np.integer[Any]] | None = None,
    sink: float | npt.NDArray[np.float32] | None = None,
    threads: int | None = None,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """What each query recalls from its window in all slots of a memory.

    Paul et al., "Local Memory Attention for Fast Video Semantic Segmentation", IROS 2021, eq. 5 and 6: one softmax
    over all valid slots and all displacements of an odd window centred on the query, and the weighted sum of the
    values found there. `Look` says how large the windows are and what lies outside the picture.

    With `centres` a window may lie elsewhere, for example where motion says that the cell came from, and the queries
    may be a list of those that matter. A query with no position of its windows in the picture recalls 0, whatever
    the border rule.

    Args:
        query: `(h, w, heads, dk)` float32. With centres the h and w of the queries need not be those of the keys, and
            a list `(N, heads, dk)` will do, even an empty one.
        keys: `(T, h, w, heads, dk)` float32, read in place: a ring buffer in any slot order.
        values: `(T, h, w, heads, dv)` float32, read in place.
        look: window, border rule and scale of the logits.
        valid: `(T,)` bool, which slots take part; the others are never read. None = all.
        centres: `(h, w, 2)` or, of a list, `(N, 2)` int32 or int64: row and column of the cell that each query's
            windows are about, in the picture or outside. None = the query's own cell.
        sink: a logit with value 0 that joins every softmax (LMANet's null logit), one for all heads or `(heads,)`
            float32. None or -inf = none.
        threads: of the CPU kernel; None = one per physical core. The result does not depend on it.
        out: `(h, w, heads, dv)` or `(N, heads, dv)` float32, C-contiguous, where to write; None = a new array.

    Returns:
        `(h, w, heads, dv)` or `(N, heads, dv)` float32; `out` where it was given.

    Raises:
        AttentionError: shapes, dtypes or options do not fit, or no slot is valid.
    """
    read = checked(query, keys, values, look, valid=valid, centres=centres, sink=sink, threads=threads, out=out)
    kernel, _ = _chosen()
    kernel(read)
    return read.out


def explain() -> tuple[str, str]:
    """The kernel that reads use, and why the faster one was refused (an empty string if it was not)."""
    kernel, why = _chosen()
    if kernel is cpu.attend:
        return f"cpu {cpu.instruction_set()}", why
    return "numba" if kernel is numba_kernel.attend else "reference", why


@functools.cache
def _chosen() -> tuple[Kernel, str]:
    """The kernel to use and why it is not the faster one; decided, and logged, once per process."""
    try:
        cpu.instruction_sets()
    except OSError as error:
        why = f"{error}; install a C++17 compiler and run `python setup.py build_ext --inplace`, or pip install again"
    else:
        return cpu.attend, ""
    if numba_kernel.is_there():
        log.warning("local attention uses numba, which compiles for some seconds now and is slower after: %s", why)
        return numba_kernel.attend, why
    log.warning("local attention uses the slow numpy reference: %s", why)
    return _attend_by_definition, why


def _attend_by_definition(read: Read) -> None:
    arrays = read.query, read.keys, read.values
    read.out[...] = reference.local_attention(
        *arrays, read.look, valid=read.valid, centres=read.centres, sink=read.sinks
    )
