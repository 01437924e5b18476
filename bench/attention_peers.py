# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who is measured on the CPU beside our kernel, at which border rule, and why some are not.

Each peer gets the border rule that it can express, and is compared with the definition under that rule.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from attention_problem import Arrays

from vss_ros.attention import numba_kernel, reference
from vss_ros.attention.check import checked
from vss_ros.core.look import Border, Look

Call = Callable[[], npt.NDArray[np.float32]]
REFERENCE, UNFOLD, SDPA, TILED = "numpy reference", "torch unfold", "torch SDPA tiles", "torch tiled dense"
FLEX, ONNX, NUMBA = "FlexAttention compiled", "ONNX Runtime tiled", "numba"


@dataclass(frozen=True)
class Peer:
    """One contender.

    Attributes:
        name: in table and JSON.
        prepare: of inputs, look and threads, what need be done once, compilation too; gives the call to be timed.
        needs: modules that it imports.
        border: the rule that it follows; None = neither, and only windows inside the picture are compared.
    """

    name: str
    prepare: Callable[[Arrays, Look, int], Call]
    needs: tuple[str, ...] = ()
    border: Border | None = Border.ZERO


def in_torch(function: str, *, warm: bool = False) -> Callable[[Arrays, Look, int], Call]:
    """Prepares what `attention_torch_peers` calls so, with the threads that torch was started with."""

    def prepare(arrays: Arrays, look: Look, _threads: int) -> Call:
        import attention_torch_peers
        import torch

        with torch.no_grad():
            ready = getattr(attention_torch_peers, function)(*(torch.from_numpy(x) for x in arrays), look)

        def call() -> npt.NDArray[np.float32]:
            with torch.no_grad():
                return ready().numpy()

        if warm:
            call()
        return call

    return prepare


def in_numpy(arrays: Arrays, look: Look, _threads: int) -> Call:
    """The definition, one displacement of all windows at a time."""
    return lambda: reference.local_attention(*arrays, look)


def in_numba(arrays: Arrays, look: Look, threads: int) -> Call:
    """Our stand-in where there is no C++ compiler: one query at a time, in one pass with an online softmax."""

    def call() -> npt.NDArray[np.float32]:
        read = checked(*arrays, look, valid=None, centres=None, sink=None, threads=threads, out=None)
        numba_kernel.attend(read)
        return read.out

    call()  # compiles
    return call


def in_onnx(arrays: Arrays, look: Look, threads: int) -> Call:
    """Dense tiles of 8x8 queries with their halo as standard ONNX operators, as `vss_ros` exports single files."""
    from vss_ros.runtimes.single_graph import read_as_onnx

    query, keys, values = arrays
    height, width, _, channels = query.shape
    read = read_as_onnx(height, width, len(keys), look, channels, values.shape[-1], threads=threads)
    call = partial(read, query, keys, values)
    call()  # the first one allocates
    return call


PEERS = (
    Peer(REFERENCE, in_numpy),
    Peer(UNFOLD, in_torch("unfolded"), ("torch",)),
    Peer("torch shifts", in_torch("three_passes"), ("torch",)),
    Peer("correlation sampler", in_torch("correlation_sampler"), ("torch", "spatial_correlation_sampler")),
    Peer("NATTEN", in_torch("natten_merged", warm=True), ("torch", "natten"), border=None),
    Peer(SDPA, in_torch("sdpa_tiles"), ("torch",)),
    Peer(TILED, in_torch("tiled_dense"), ("torch",)),
    Peer(FLEX, in_torch("flex", warm=True), ("torch",), Border.MASK),
    Peer(ONNX, in_onnx, ("torch", "onnx")),
    Peer(NUMBA, in_numba, ("numba",)),
)
HARD_TO_INSTALL = {  # requirements-bench.txt says more
    "spatial_correlation_sampler": "0.5.0 does not build without CUDA",
    "natten": "0.21 has no CPU kernel of its own",
}


def prepared(
    peers: tuple[Peer, ...], arrays: Arrays, look: Look, threads: int
) -> tuple[dict[str, tuple[Peer, Call]], dict[str, str]]:
    """The peers that run here with their calls, and the others with the reason, both by name."""
    ready: dict[str, tuple[Peer, Call]] = {}
    not_run: dict[str, str] = {}
    for peer in peers:
        absent = [module for module in peer.needs if importlib.util.find_spec(module) is None]
        if absent:
            why = "; ".join(HARD_TO_INSTALL[module] for module in absent if module in HARD_TO_INSTALL)
            not_run[peer.name] = f"{' and '.join(absent)} not installed" + (f" ({why})" if why else "")
            continue
        try:
            ready[peer.name] = peer, peer.prepare(arrays, look, threads)
        except Exception as refused:  # of any library: no compiler, a size it does not take, too little memory
            first_line = next(iter(str(refused).strip().splitlines()), "")
            not_run[peer.name] = f"{type(refused).__name__}: {first_line[:160]}"
    return ready, not_run
