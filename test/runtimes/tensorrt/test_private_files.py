# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files of several writers: each whole, and what a killed one left goes without harm to the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vss_ros.runtimes.tensorrt import private_files
from vss_ros.runtimes.tensorrt.cache import EngineCache


@pytest.fixture
def amid_a_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Has something done while the next file is being written, right before it takes its name."""
    fsync = os.fsync

    def then(do: Callable[[], None]) -> None:
        def sync(handle: int) -> None:
            monkeypatch.setattr(os, "fsync", fsync)
            do()

        monkeypatch.setattr(os, "fsync", sync)

    return then


def test_two_that_write_a_file_at_once_do_not_touch_each_other(
    tmp_path: Path, amid_a_write: Callable[[Callable[[], None]], None]
) -> None:
    path, seen = tmp_path / "x.timing", []

    def other() -> None:
        private_files.write(path, b"B")
        seen.append(private_files.read(path))

    amid_a_write(other)
    private_files.write(path, b"A")
    assert seen == [b"B"] and private_files.read(path) == b"A"
    assert list(tmp_path.iterdir()) == [path] and path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", ["{}.part", "{}.of_a_killed_one.part"])
def test_prune_sweeps_half_a_timing_and_keeps_the_good_one(tmp_path: Path, left: str) -> None:
    cache = EngineCache(tmp_path / "engines")
    cache.write_timing("a", b"measured")
    (timing,) = cache.folder.iterdir()
    timing.with_name(left.format(timing.name)).write_bytes(b"mea")
    cache.prune()
    assert list(cache.folder.iterdir()) == [timing] and cache.read_timing("a") == b"measured"


def test_prune_leaves_what_is_being_written(tmp_path: Path, amid_a_write: Callable[[Callable[[], None]], None]) -> None:
    cache = EngineCache(tmp_path / "engines")
    amid_a_write(lambda: cache.prune() and None)
    cache.write_timing("a", b"measured")
    assert cache.read_timing("a") == b"measured" and len(list(cache.folder.iterdir())) == 1
