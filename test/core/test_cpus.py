# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A process that is held to some processors counts those alone."""

from __future__ import annotations

import os

import pytest

from vss_ros.core.cpus import usable_cpus


def test_a_container_counts_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    assert usable_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1
