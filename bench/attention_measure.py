# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Measures our kernel, its peers and the machine's matrix product on the same inputs, taking turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from attention_peers import Peer, prepared
from attention_problem import Arrays, Size

from vss_ros.attention import cpu, local_attention, reference
from vss_ros.core.look import Border, Look

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

OURS, LISTED, MOVED = "vss_ros", "vss_ros, listed", "vss_ros, moved"
SAMPLE = 41  # one of so many queries is compared with the definition where comparing all would take minutes
SGEMM = 1536  # rows and columns of the matrix product
PATIENCE_S = 5.0  # a peer that has run for so long gets no further turn
REST_S = 0.2  # before each turn on several threads: workers of OpenBLAS and OpenMP spin for 0.1 s after their product


@dataclass(frozen=True)
class Row:
    """One contender at one size; times are the best of its turns, `max_error` is relative to the largest value."""

    size: str
    contender: str
    threads: int
    best_ms: float
    useful_gflop_s: float
    share_of_sgemm: float
    times_ours: float
    border: str
    max_error: float


@dataclass(frozen=True)
class Contender:
    """What takes turns. `query` and `centres` of a read that is not dense; border None = only inner windows count."""

    call: Callable[[], npt.NDArray[np.float32]]
    ours: bool
    border: Border | None = Border.ZERO
    query: npt.NDArray[np.float32] | None = None
    centres: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Measured:
    """Rows of one size, GFLOP/s of the matrix products in the same run, and who did not run for which reason."""

    rows: list[Row]
    rates: dict[str, float]
    not_run: dict[str, str]


def measure(size: Size, threads: int, turns: int, peers: tuple[Peer, ...], *, sampled: bool = False) -> Measured:
    """Our kernel gets `turns`, peers a quarter of them.

    With `sampled` errors are those of one query in 41, and our kernel has one row only.
    """
    arrays, look = size.arrays(), Look(size.window)
    ready, not_run = prepared(peers, arrays, look, threads)
    contenders = {OURS: Contender(partial(local_attention, *arrays, look, threads=threads), True)}
    if not sampled:
        contenders |= variants(arrays, size, look, threads)
    contenders |= {name: Contender(call, False, peer.border) for name, (peer, call) in ready.items()}
    products = sgemms()
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in (*products, *contenders)}
    results: dict[str, Any] = {}
    for turn in range(turns):
        for name, call in {**products, **{name: one.call for name, one in contenders.items()}}.items():
            is_peer = name in contenders and not contenders[name].ours
            if is_peer and times[name] and (turn >= turns // 4 or sum(times[name]) > PATIENCE_S):
                continue
            if threads > 1:  # CPU time does not see them, the wall clock does
                time.sleep(REST_S)
            started = clock()
            results[name] = call()
            times[name].append(clock() - started)
    rates = {name: 2e-9 * SGEMM**3 / min(times[name]) for name in products}
    wanted = Definition(arrays, size, look, SAMPLE if sampled else 1)
    rows = []
    for name, one in contenders.items():
        best = min(times[name])
        rate = 1e-9 * size.useful_flop(size.cells() if one.centres is None else one.centres) / best
        times_ours = best / min(times[OURS][: len(times[name])])  # of the same turns
        border = "moved inwards" if one.border is None else one.border.value
        error = wanted.error(results[name], one)
        share = rate / max(rates.values())
        rows.append(Row(size.name, name, threads, 1e3 * best, rate, share, times_ours, border, error))
    return Measured(rows, rates, not_run)


def variants(arrays: Arrays, size: Size, look: Look, threads: int) -> dict[str, Contender]:
    """Our kernel held to each slower instruction set, for half of the queries, and about windows that moved."""
    query, keys, values = arrays
    rng = np.random.default_rng(0)
    half = np.sort(rng.permutation(size.h * size.w)[: size.h * size.w // 2])
    some, at = query.reshape(-1, 1, size.dk)[half], size.cells().reshape(-1, 2)[half]
    moved = size.cells() + rng.integers(-3, 4, (size.h, size.w, 2))
    found = {}
    for name, (few, centres) in {LISTED: (some, at), MOVED: (query, moved)}.items():
        call = partial(local_attention, few, keys, values, look, centres=centres, threads=threads)
        found[name] = Contender(call, True, query=few, centres=centres)
    for isa in slower_instruction_sets():

        def held(isa: str = isa) -> npt.NDArray[np.float32]:
            with instruction_set(isa):
                return local_attention(*arrays, look, threads=threads)

        found[f"{OURS}, {isa}"] = Contender(held, True)
    return found


def slower_instruction_sets() -> list[str]:
    """Those that this machine runs, without the one that is used anyway."""
    try:
        return [isa for isa in cpu.instruction_sets() if isa != cpu.instruction_set()]
    except OSError:  # no C++ kernel was built
        return []


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Our kernel reads the variable at every call."""
    before = os.environ.get(cpu.ISA_VARIABLE)
    os.environ[cpu.ISA_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[cpu.ISA_VARIABLE]
        else:
            os.environ[cpu.ISA_VARIABLE] = before


def sgemms() -> dict[str, Callable[[], Any]]:
    """The float32 matrix products of this machine's libraries."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SGEMM, SGEMM), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    found: dict[str, Callable[[], Any]] = {"numpy.matmul": lambda: np.matmul(a, b, out=out)}
    if torch is not None:
        tensors = [torch.from_numpy(x) for x in (a, b, out)]
        found["torch.mm"] = lambda: torch.mm(tensors[0], tensors[1], out=tensors[2])
    return found


class Definition:
    """What is right, in float64, of every query or, with a `step`, of one of so many."""

    def __init__(self, arrays: Arrays, size: Size, look: Look, step: int) -> None:
        self._arrays = tuple(x.astype(np.float64) for x in arrays)
        self._size, self._look, self._step = size, look, step
        self._dense: dict[Border, npt.NDArray[np.float64]] = {}

    def error(self, got: npt.NDArray[np.float32], of: Contender) -> float:
        """The largest error over the largest value."""
        _, keys, values = self._arrays
        if of.centres is not None and of.query is not None:
            some = of.query.reshape(-1, 1, self._size.dk)[::SAMPLE].astype(np.float64)
            at = of.centres.reshape(-1, 2)[::SAMPLE]
            wanted = reference.local_attention(some, keys, values, self._look, centres=at)
            got = got.reshape(-1, *got.shape[-2:])[::SAMPLE]
        else:
            wanted, got = self._of_cells(of.border or Border.ZERO), got.reshape(-1, *got.shape[-2:])[:: self._step]
        off = np.abs(got - wanted)
        if of.border is None:
            off = off[self._whole_window()]
        return float(off.max() / np.abs(wanted).max())

    def _of_cells(self, border: Border) -> npt.NDArray[np.float64]:
        """`(N, 1, dv)` of the dense read."""
        if border not in self._dense:
            query, keys, values = self._arrays
            look = Look(self._look.window, border, self._look.scale)
            if self._step == 1:
                found = reference.local_attention(query, keys, values, look).reshape(-1, 1, self._size.dv)
            else:
                some = query.reshape(-1, 1, self._size.dk)[:: self._step]
                at = self._size.cells().reshape(-1, 2)[:: self._step]
                found = reference.local_attention(some, keys, values, look, centres=at)
            self._dense[border] = found
        return self._dense[border]

    def _whole_window(self) -> npt.NDArray[np.bool_]:
        """`(N,)`, queries whose window lies in the picture."""
        at, reach = self._size.cells().reshape(-1, 2)[:: self._step], self._size.window // 2
        whole = (at >= reach) & (at < np.array([self._size.h, self._size.w]) - reach)
        return np.logical_and(whole[:, 0], whole[:, 1])
