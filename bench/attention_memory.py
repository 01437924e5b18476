# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Memory that one read takes beside its inputs and output, in a process of its own.

    python bench/attention_memory.py H W SLOTS WINDOW DK DV THREADS [PEER]

The kernel allocates in C++, which no Python tool sees. So the system is asked: inputs and output are written first,
then Linux forgets the largest resident size seen so far, then there is one read, the process's first. What the
largest resident size has grown by is memory that the read touched, stacks of its threads included. Prints MB.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attention_peers import PEERS, prepared
from attention_problem import Size

from vss_ros.attention import explain, local_attention
from vss_ros.core.look import Look

STATUS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_growth_mb(call: Callable[[], Any]) -> float:
    """How far the largest resident size rises above the present one, in MB of 1e6 bytes.

    Raises:
        OSError: this is not Linux, or it does not let a process forget its largest size.
    """
    FORGET_PEAK.write_text("5")
    before = _kilobytes("VmRSS")
    call()
    return 1.024e-3 * (_kilobytes("VmHWM") - before)


def extra_memory_mb(size: Size, threads: int, peer: str = "") -> float | None:
    """Of one read by our kernel, or by a peer, in a process of its own; None where the system does not tell."""
    numbers = (size.h, size.w, size.slots, size.window, size.dk, size.dv, threads)
    command = [sys.executable, __file__, *(str(number) for number in numbers), *([peer] if peer else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return float(done.stdout) if done.returncode == 0 else None


def _kilobytes(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def main() -> None:
    size, threads = Size("", *(int(number) for number in sys.argv[1:7])), int(sys.argv[7])
    arrays, look = size.arrays(), Look(size.window)
    out = np.ones((size.h, size.w, 1, size.dv), np.float32)
    explain()  # loads the kernel
    call: Callable[[], Any] = partial(local_attention, *arrays, look, threads=threads, out=out)
    if sys.argv[8:]:
        ready, _ = prepared(tuple(peer for peer in PEERS if peer.name == sys.argv[8]), arrays, look, threads)
        call = ready[sys.argv[8]][1]
    sys.stdout.write(f"{peak_growth_mb(call)}\n")


if __name__ == "__main__":
    main()
