# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Large tensors that are freed and wanted again are the same memory; in processes of their own, it is for life."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from vss_ros.train import allocator

pytest.importorskip("torch")

FAULTS = """
import resource
import sys
import torch
from vss_ros.train.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones(megabytes << 18) for megabytes in (64, 16, 8, 32, 4, 16, 8)]  # held together, freed together
for _ in range(6):  # until the heap has come to rest
    step()
before = faults()
for _ in range(4):
    step()
print(faults() - before)
"""


def page_faults(mode: str) -> int:
    """Of four steps that allocate and free tensors of up to 64 MB."""
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_kept_memory_does_not_fault_again() -> None:
    assert page_faults("keep") < 0.1 * page_faults("give back")


def test_elsewhere_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_freed_memory() is False
