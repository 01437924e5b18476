# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A disk that is full: in a process of its own, because pytest's own output goes to files, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BEFORE = """
import resource, sys
import numpy as np
from vss_ros.core.errors import DataError

def fill_the_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))  # bytes

"""


def said_on_a_full_disk(program: str, *arguments: object) -> str:
    """What a program writes to stderr, which calls `fill_the_disk()` and finds `arguments` in `sys.argv`."""
    command = [sys.executable, "-c", _BEFORE + program, *map(str, arguments)]
    known = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, env=known, capture_output=True, text=True, timeout=60).stderr
