# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How the C library keeps memory between training steps."""

from __future__ import annotations

import ctypes
import platform
import sys

# <malloc.h> of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, for the rest of its life.

    A training step allocates and frees the same large tensors again and again. glibc maps each of them anew and
    gives it back to the system, which has to clear every page when it is touched next: some 20,000 page faults a
    step. Without mappings of their own and without trimming, large blocks come from the heap and stay there.

    Returns:
        Whether it was done; only Linux with glibc has the switches.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, -1))
