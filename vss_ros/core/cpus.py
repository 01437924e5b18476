# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Processors that this process may run on, at least 1: those of its container or `taskset`, not of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
