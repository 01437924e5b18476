# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel for machines without a C++ compiler but with numba: compiled when it is first used, which takes seconds.

One query at a time, in one pass: logits are weighed against the largest one so far, and what was summed before shrinks
whenever a larger one comes. Six to nine times slower than the C++ kernel, on one core two to three times faster than
numpy's dense read, and far faster than its read about given centres.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention.check import Read
from vss_ros.core.look import Border

_ALONE = threading.Lock()  # the simplest of numba's thread pools ends the process when two calls meet
_SOME = {"contract", "reassoc"}  # of fastmath: sums may be vectorised; NaN and infinity stay what they are


def is_there() -> bool:
    """Whether numba is installed and takes the installed numpy."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def attend(read: Read) -> None:
    """Compute `read` into `read.out`.

    Raises:
        ImportError: numba is not there.
    """
    import numba

    _, h, w, heads, dk = read.keys.shape
    query = _plain(read.query).reshape(-1, heads, dk)
    centres = np.indices((h, w), np.int32).transpose(1, 2, 0) if read.centres is None else read.centres
    slots = np.flatnonzero(read.valid)
    windows = np.array([read.look.window_of(slot) for slot in slots.tolist()])
    out = read.out.reshape(len(query), heads, read.values.shape[-1])
    before = numba.get_num_threads()  # of this thread; as many as numba started, unless somebody asked for fewer
    numba.set_num_threads(min(read.threads or before, before))
    try:
        with _ALONE:
            _compiled()(
                *(query, _plain(read.keys), _plain(read.values), out, _plain(centres.reshape(-1, 2)), slots, windows),
                *(read.sinks, np.float32(read.look.scale), read.look.border is Border.ZERO),
            )
    finally:
        numba.set_num_threads(before)


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, or a copy: numba compiles once more for every other order, alignment and right to write."""
    return np.require(array, requirements=["C", "A", "W"])


@functools.cache
def _compiled() -> Callable[..., None]:
    import numba

    @numba.njit(fastmath=_SOME)
    def add(query, key, value, scale, peak, total, sums):
        """One position; the largest logit so far and the sum of weights relative to it."""
        logit = np.float32(0)
        for d in range(len(query)):
            logit += query[d] * key[d]
        logit *= scale
        if logit > peak:
            shrink = np.exp(peak - logit)
            for d in range(len(sums)):
                sums[d] = sums[d] * shrink + value[d]
            return logit, total * shrink + np.float32(1)
        weight = np.exp(logit - peak)
        for d in range(len(sums)):
            sums[d] += weight * value[d]
        return peak, total + weight

    @numba.njit(parallel=True, error_model="numpy")
    def attend_all(query, keys, values, out, centres, slots, windows, sinks, scale, zero):
        h, w, heads = keys.shape[1:4]
        for task in numba.prange(len(query) * heads):
            n, head = task // heads, task % heads
            sums, inside, outside = out[n, head], 0, 0.0
            sums[:] = 0
            # a sink is a logit like others, with value 0; without one nothing has any weight so far
            peak, total = sinks[head], np.float32(1)
            if peak == -np.inf:
                peak, total = np.float32(-1e30), np.float32(0)
            for i in range(len(slots)):
                reach = windows[i] // 2
                top, bottom = max(0, centres[n, 0] - reach), min(h, centres[n, 0] + reach + 1)
                left, right = max(0, centres[n, 1] - reach), min(w, centres[n, 1] + reach + 1)
                seen = max(0, bottom - top) * max(0, right - left)
                inside += seen
                outside += np.float64(windows[i]) ** 2 - seen
                for y in range(top, bottom if seen else top):
                    for x in range(left, right):
                        at = slots[i], y, x, head
                        peak, total = add(query[n, head], keys[at], values[at], scale, peak, total, sums)
            if zero and outside > 0:
                total += outside * np.exp(-peak)  # infinity is right: the outside owns the softmax
            for d in range(len(sums)):
                sums[d] = sums[d] / total if inside else np.float32(0)

    return attend_all
