# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine cache: one build for many nodes, nothing half, nothing stale, nothing of others."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt import private_files
from vss_ros.runtimes.tensorrt.cache import EngineCache, EngineKey, default_folder

ROOT = Path(__file__).parents[3]
KEY = EngineKey("ab" * 32, "tensorrt 10.3.0", "8.7", "Orin", 16, "fp16", {"image": (64, 96, 3)}, {"workspace_mib": 1})

# A process with the cache of folder argv[1], whose build says that it began, sleeps, and adds a line to a file.
BUILDER = """
import sys, time
from pathlib import Path
from test.runtimes.tensorrt.test_cache import KEY
from vss_ros.runtimes.tensorrt.cache import EngineCache

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

def build():
    print("building", flush=True)
    time.sleep(seconds)
    with open(folder.parent / "builds", "a") as file:
        file.write("built\\n")
    return b"plan"

print(EngineCache(folder).fetch(KEY, "a stage", build, bytes.decode), flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def fetch(cache: EngineCache, key: EngineKey = KEY, plan: bytes = b"plan") -> tuple[bytes, int]:
    """What is loaded, and how often it was built."""
    builds = []

    def build() -> bytes:
        builds.append(1)
        return plan

    return cache.fetch(key, "a stage", build, bytes), len(builds)


def process(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def files(cache: EngineCache, *suffixes: str) -> list[Path]:
    return sorted(path for path in cache.folder.iterdir() if path.suffix in suffixes)


def only(cache: EngineCache, suffix: str) -> Path:
    (path,) = files(cache, suffix)
    return path


def test_builds_once_and_says_what_it_built(cache: EngineCache) -> None:
    assert fetch(cache) == (b"plan", 1)
    assert fetch(cache, plan=b"other") == (b"plan", 0)
    (entry,) = cache.entries()
    about = entry.about
    assert (entry.label, entry.bytes, about["key"]) == ("a stage", 4, KEY.parts)
    assert {"writer", "plan_sha256", "built", "build_seconds", "host", "vss_ros"} <= about.keys()
    modes = {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()}
    assert modes == {0o600} and cache.folder.stat().st_mode & 0o777 == 0o700


OTHERS: dict[str, Any] = {
    "onnx_sha256": "cd" * 32,
    "tensorrt": "tensorrt 10.3.1",
    "capability": "8.6",
    "gpu": "Orin NX",
    "processors": 8,
    "precision": "fp32",
    "shapes": {"image": (96, 64, 3)},
    "flags": {"workspace_mib": 2},
}


@pytest.mark.parametrize("part", [field.name for field in fields(EngineKey)])
def test_every_part_of_the_key_counts(part: str, cache: EngineCache) -> None:
    fetch(cache)
    assert fetch(cache, replace(KEY, **{part: OTHERS[part]}), b"another") == (b"another", 1)


def test_the_schema_counts_and_the_order_of_names_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(KEY, shapes={"a": (1,), "b": (2,)})
    assert two.digest == replace(KEY, shapes={"b": (2,), "a": (1,)}).digest
    before = two.digest
    monkeypatch.setattr("vss_ros.runtimes.tensorrt.cache.SCHEMA", 0)
    assert two.digest != before


def test_two_nodes_build_once(tmp_path: Path) -> None:
    nodes = [process(tmp_path / "engines", 0.3) for _ in range(2)]
    said = [node.communicate(timeout=60)[0].split() for node in nodes]
    assert sorted(said) == [["building", "plan"], ["plan"]]
    assert (tmp_path / "builds").read_text() == "built\n"


def test_two_threads_build_once(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    builds: list[int] = []

    def build() -> bytes:
        builds.append(1)
        time.sleep(0.3)
        return b"plan"

    threads = [threading.Thread(target=cache.fetch, args=(KEY, "a stage", build, bytes)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]
    assert "waiting for another process, which builds or loads the engine of a stage" in caplog.text


def test_a_node_killed_while_it_builds_leaves_nothing_and_no_lock(tmp_path: Path) -> None:
    killed = process(tmp_path / "engines", 60)
    assert killed.stdout is not None and killed.stdout.readline() == "building\n"
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(timeout=10) == -signal.SIGKILL
    cache = EngineCache(tmp_path / "engines")
    assert files(cache, ".plan", ".json", ".part") == [] and cache.entries() == []
    assert fetch(cache) == (b"plan", 1)


def test_a_node_killed_while_it_writes_leaves_no_engine(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    code = BUILDER.replace("print(Eng", "import os\nos.fsync = lambda _: os.kill(os.getpid(), 9)\nprint(Eng")
    killed = subprocess.run([sys.executable, "-c", code, str(folder), "0"], cwd=ROOT, capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    cache = EngineCache(folder)
    assert len(files(cache, ".part")) == 1 and files(cache, ".plan", ".json") == []
    assert fetch(cache) == (b"plan", 1) and files(cache, ".part") == []


@pytest.mark.parametrize("damage", ["byte", "cut", "gone", "sidecar", "writer", "other key", "no time"])
def test_what_is_damaged_is_built_anew_once(damage: str, cache: EngineCache) -> None:
    fetch(cache)
    plan, sidecar = only(cache, ".plan"), only(cache, ".json")
    about = json.loads(sidecar.read_text())
    if damage == "byte":
        plan.write_bytes(b"plaN")
    elif damage == "cut":
        plan.write_bytes(b"pla")
    elif damage == "gone":
        plan.unlink()
    elif damage == "sidecar":
        sidecar.write_text("{")
    elif damage == "no time":
        sidecar.write_text(json.dumps({name: value for name, value in about.items() if name != "build_seconds"}))
        assert cache.entries() == [] and cache.expected_seconds(KEY) is None, "and nobody stumbles over it"
    elif damage == "writer":
        sidecar.write_text(json.dumps({**about, "writer": "somebody"}))
    else:
        sidecar.write_text(json.dumps({**about, "key": {**about["key"], "gpu": "another"}}))
    assert fetch(cache) == (b"plan", 1)
    assert fetch(cache) == (b"plan", 0)


def test_a_plan_that_does_not_load_is_built_anew_once(cache: EngineCache) -> None:
    fetch(cache, plan=b"of an older driver")

    def load(plan: bytes) -> bytes:
        if plan == b"of an older driver":
            raise BackendError("it does not load")
        return plan

    assert cache.fetch(KEY, "a stage", lambda: b"new", load) == b"new"
    with pytest.raises(BackendError, match="it does not load"):
        cache.fetch(replace(KEY, gpu="another"), "a stage", lambda: b"of an older driver", load)
    assert [entry.bytes for entry in cache.entries()] == [3], "what never loaded is not kept"


def test_a_build_that_fails_is_told_and_leaves_the_lock_free(cache: EngineCache) -> None:
    def build() -> bytes:
        raise BackendError("no room")

    with pytest.raises(BackendError, match="no room"):
        cache.fetch(KEY, "a stage", build, bytes)
    assert fetch(cache) == (b"plan", 1)


def test_a_full_disk_costs_the_engine_nothing(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert fetch(cache) == (b"plan", 1)
    assert "No space left" in caplog.text and files(cache, ".plan", ".json", ".part") == []


@pytest.fixture
def unwritten(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    """A cache with one engine in a folder that was made read-only, as it is in an image; that holds root back too."""
    fetch(cache)
    for path in files(cache, ".lock"):
        path.unlink()
    opened = os.open

    def refuse(path: Any, *more: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def only_to_read(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse(path)
        return opened(path, flags, *more, **named)

    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    monkeypatch.setattr(os, "open", only_to_read)
    for call in ("utime", "unlink", "replace", "rename"):
        monkeypatch.setattr(os, call, refuse)
    return EngineCache(cache.folder)


def test_an_engine_is_read_from_a_folder_that_cannot_be_written(unwritten: EngineCache) -> None:
    assert fetch(unwritten, plan=b"other") == (b"plan", 0)
    assert files(unwritten, ".lock") == []
    unwritten.write_timing("a", b"measured")
    assert unwritten.read_timing("a") == b"" and len(unwritten.entries()) == 1


def test_what_a_folder_that_cannot_be_written_lacks_is_one_sentence(
    unwritten: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    def load(plan: bytes) -> bytes:
        raise BackendError("of an older driver")

    said = (
        rf"^an engine of a stage was wanted in {unwritten.folder}, which cannot be written and has none for this "
        r"model, GPU \(\w+\), tensorrt 10\.3\.0 and these settings; build it where .*, or set XDG_CACHE_HOME"
    )
    with pytest.raises(BackendError, match=said):
        fetch(unwritten, replace(KEY, gpu="another"))
    with pytest.raises(BackendError, match=said):
        unwritten.fetch(KEY, "a stage", lambda: b"new", load)
    assert "the engine of a stage is of no use: of an older driver" in caplog.text
    only(unwritten, ".plan").write_bytes(b"plaN")
    with pytest.raises(BackendError, match=said):
        fetch(unwritten)
    assert "is damaged" in caplog.text and len(unwritten.entries()) == 1, "nothing is removed"


def test_only_a_folder_that_can_be_written_is(tmp_path: Path) -> None:
    assert private_files.can_be_written(tmp_path) and not private_files.can_be_written(tmp_path / "none")


@pytest.mark.parametrize("what", ["folder", "plan", "sidecar"])
def test_what_others_may_write_is_refused(what: str, cache: EngineCache) -> None:
    fetch(cache)
    path = {"folder": cache.folder, "plan": only(cache, ".plan"), "sidecar": only(cache, ".json")}[what]
    path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(BackendError, match=r"engines are code, and .* is open to other users .*chmod go="):
        fetch(EngineCache(cache.folder))


@pytest.mark.parametrize("what", ["folder", "plan"])
def test_what_belongs_to_others_is_refused(what: str, cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(cache)
    found = private_files._refuse_others
    theirs = cache.folder if what == "folder" else only(cache, ".plan")

    def seen(path: Path, stat: os.stat_result) -> None:
        owner = stat.st_uid + (path == theirs)
        found(path, os.stat_result((*stat[:4], owner, *stat[5:])))

    monkeypatch.setattr(private_files, "_refuse_others", seen)
    with pytest.raises(BackendError, match=rf"belongs to user {os.geteuid() + 1}, not to this one"):
        fetch(EngineCache(cache.folder))


def test_links_are_not_followed(cache: EngineCache, tmp_path: Path) -> None:
    fetch(cache)
    plan = only(cache, ".plan")
    plan.rename(tmp_path / "elsewhere")
    plan.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError, match="a plain file of this user was wanted"):
        fetch(cache)
    (tmp_path / "link").symlink_to(cache.folder)
    with pytest.raises(BackendError, match="got something else"):
        EngineCache(tmp_path / "link")


def filled(cache: EngineCache, *ages_days: float) -> list[str]:
    """Engines of 100 bytes, last used so many days ago; their digests."""
    keys = [replace(KEY, processors=number) for number in range(len(ages_days))]
    for key, age in zip(keys, ages_days, strict=True):
        fetch(cache, key, bytes(100))
        used = time.time() - 86400 * age
        os.utime(cache.folder / f"{key.digest}.json", (used, used))
    return [key.digest for key in keys]


def test_prunes_the_least_lately_used_first(cache: EngineCache) -> None:
    new, old, older = filled(cache, 1, 10, 20)
    assert [entry.digest for entry in cache.entries()] == [older, old, new]
    assert [entry.digest for entry in cache.prune(max_bytes=250)] == [older]
    assert [entry.digest for entry in cache.prune(max_age_days=5)] == [old]
    assert [entry.digest for entry in cache.entries()] == [new] and len(list(cache.folder.iterdir())) == 3
    assert [entry.digest for entry in cache.clear()] == [new] and list(cache.folder.iterdir()) == []


def test_use_keeps_an_engine(cache: EngineCache) -> None:
    first, second = filled(cache, 20, 10)
    assert fetch(cache, replace(KEY, processors=0)) == (bytes(100), 0)
    assert [entry.digest for entry in cache.prune(max_bytes=100)] == [second]
    assert [entry.digest for entry in cache.entries()] == [first]


def test_prune_sweeps_what_a_crash_left_and_nothing_in_use(cache: EngineCache) -> None:
    (digest,) = filled(cache, 20)
    for name in ("ff.plan", "ee.json", "dd.plan.part", "cc.lock"):
        (cache.folder / name).write_bytes(b"")
    with private_files.locked(cache.folder / "cc.lock"), private_files.locked(cache.folder / f"{digest}.lock"):
        assert cache.prune(max_age_days=1) == []
        assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json", ".lock", ".lock", ".plan"]
    assert [entry.digest for entry in cache.prune(max_age_days=1)] == [digest]
    assert list(cache.folder.iterdir()) == []


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    taken: list[bool] = []

    def wait() -> None:
        with private_files.locked(path) as free:
            taken.append(free and path.exists())

    with private_files.locked(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        path.unlink()
    waiting.join()
    assert taken == [True]


def test_timings_are_kept_for_their_machine(cache: EngineCache) -> None:
    assert cache.read_timing("a") == b""
    cache.write_timing("a", b"measured")
    assert (cache.read_timing("a"), cache.read_timing("b")) == (b"measured", b"")
    cache.prune(max_bytes=0)
    assert cache.read_timing("a") == b"measured"
    cache.clear()
    assert cache.read_timing("a") == b""


def test_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert default_folder() == tmp_path / ".cache/vss_ros/engines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_folder() == EngineCache().folder == tmp_path / "x/vss_ros/engines"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"a folder for engines was wanted at .*; set XDG_CACHE_HOME"):
        EngineCache(tmp_path / "file" / "engines")
