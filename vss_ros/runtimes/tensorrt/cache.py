# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Built engines on disk: found by all that they depend on, built once by however many nodes, never taken from others.

A plan is code: TensorRT runs what is in it. So one is loaded only out of a folder that is this user's alone, and only
if its bytes are those that the sidecar beside it says this cache wrote.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from vss_ros import __version__
from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt import private_files

log = logging.getLogger(__name__)

SCHEMA = 1  # raise it when the way engines are built changes: older ones are then never found again
_WRITER = "vss_ros engine cache"

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on; two keys that differ anywhere never share an engine.

    Attributes:
        onnx_sha256: of the stage's file.
        tensorrt: name and full version of the library; of version-compatible engines name and major version.
        capability: compute capability of the GPU, such as `8.7`.
        gpu: its name.
        processors: number of its multiprocessors; boards of one name differ in it.
        precision: `fp32`, `fp16` or `int8`.
        shapes: of the inputs, by name.
        flags: the other build options.
    """

    onnx_sha256: str
    tensorrt: str
    capability: str
    gpu: str
    processors: int
    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    flags: Mapping[str, str | int | bool]

    @property
    def parts(self) -> dict[str, Any]:
        """The key as JSON has it, with the schema."""
        listed: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"schema": SCHEMA, **listed}

    @property
    def digest(self) -> str:
        """sha256 of all parts, the name of the engine's files."""
        return hashlib.sha256(json.dumps(self.parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One engine of the cache.

    Attributes:
        digest: of its key.
        label: model, stage and size, for people.
        bytes: of the plan.
        used: when it was last loaded, seconds since 1970.
        about: the sidecar.
    """

    digest: str
    label: str
    bytes: int
    used: float
    about: Mapping[str, Any]


def default_folder() -> Path:
    """`vss_ros/engines` below the user's cache directory.

    Raises:
        BackendError: the user has no home and XDG_CACHE_HOME is not an absolute path.
    """
    said = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(said) if os.path.isabs(said) else Path.home() / ".cache"
    except RuntimeError as error:
        raise BackendError(
            f"the engine cache wants a home directory: {error}; set XDG_CACHE_HOME to a folder of this user"
        ) from error
    return base / "vss_ros" / "engines"


class EngineCache:
    """Engines below one folder, for any number of processes at once.

    Args:
        folder: made with mode 0700 if it does not exist; None = `default_folder()`.

    Raises:
        BackendError: the folder cannot be made, or others may write to it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        private_files.make_folder(self.folder)

    def fetch(
        self,
        key: EngineKey,
        label: str,
        build: Callable[[], bytes],
        load: Callable[[bytes], Loaded],
        *,
        built_by: str = "",
    ) -> Loaded:
        """The loaded engine of a key; built if there is none, or if the one that is there does not load.

        Another process that wants the same engine waits while it is built here, and then loads it. A plan is stored
        after it was loaded once. In a folder that cannot be written nothing is built.

        Args:
            key: what the engine depends on.
            label: what it is, for people.
            build: gives the plan; may take minutes.
            load: makes an engine of a plan, and raises BackendError if it cannot.
            built_by: name and full version of the library that builds, for people.

        Raises:
            BackendError: building failed, or the plan that was just built does not load; or the folder cannot be
                written and has no such engine that loads.
        """
        if not private_files.can_be_written(self.folder):
            return self._fetch_unwritten(key, label, load)
        with self._locked(key.digest, label):
            plan = self._read(key)
            if plan is not None:
                try:
                    loaded = load(plan)
                except BackendError as error:
                    log.warning("the engine of %s is built anew: %s", label, error)
                else:
                    os.utime(self._sidecar(key.digest))
                    return loaded
            self._remove(key.digest)  # what is damaged or does not load
            log.info("building the engine of %s; this may take minutes", label)
            started = time.perf_counter()
            plan = build()
            seconds = time.perf_counter() - started
            loaded = load(plan)
            self._write(key, label, plan, seconds, built_by)
            return loaded

    def _fetch_unwritten(self, key: EngineKey, label: str, load: Callable[[bytes], Loaded]) -> Loaded:
        """Without a lock, whose file could not be made: nobody builds here, so there is nothing to wait for."""
        plan, refused = self._read(key), None
        if plan is not None:
            try:
                return load(plan)
            except BackendError as error:
                log.warning("the engine of %s is of no use: %s", label, error)
                refused = error
        raise BackendError(
            f"an engine of {label} was wanted in {self.folder}, which cannot be written and has none for this model, "
            f"GPU ({key.gpu}), {key.tensorrt} and these settings; build it where that folder is made, or set "
            "XDG_CACHE_HOME to one that can be written"
        ) from refused

    def expected_seconds(self, key: EngineKey) -> float | None:
        """How long fetching an engine may take, seconds, by what was built before.

        0 where it is here; else as long as the newest engine of the same file, GPU and precision took to build, at
        another size or with another version; None where there is none.
        """
        if self._about(key.digest) is not None:
            return 0.0
        same = {"onnx_sha256": key.onnx_sha256, "gpu": key.gpu, "precision": key.precision}
        built = [e.about for e in self.entries() if same.items() <= e.about["key"].items()]
        return max(built, key=lambda about: about["built"])["build_seconds"] if built else None

    def entries(self) -> list[Entry]:
        """Every complete engine, the one least lately used first."""
        found = (self._entry(path.stem) for path in self.folder.glob("*.json"))
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.used)

    def prune(self, *, max_age_days: float | None = None, max_bytes: int | None = None) -> list[Entry]:
        """Remove what a crash left behind, engines not used for a while, then the least lately used of too many bytes.

        Engines that a process is building or loading stay.

        Returns:
            The engines that were removed.
        """
        self._sweep()
        kept = self.entries()
        total = sum(entry.bytes for entry in kept)
        oldest = time.time() - 86400 * max_age_days if max_age_days is not None else float("-inf")
        removed = []
        for entry in kept:
            too_many = max_bytes is not None and total > max_bytes
            if (entry.used < oldest or too_many) and self._remove_if_free(entry.digest):
                removed.append(entry)
                total -= entry.bytes
        return removed

    def clear(self) -> list[Entry]:
        """Remove every engine and timing that no process is using; gives the engines that were removed."""
        for path in self.folder.glob("*.timing"):
            path.unlink(missing_ok=True)
        return self.prune(max_bytes=-1)

    def read_timing(self, machine: str) -> bytes:
        """What TensorRT measured in earlier builds of this GPU and version, or nothing."""
        return private_files.read(self._timing(machine)) or b""

    def write_timing(self, machine: str, content: bytes) -> None:
        """Keep the measurements of a build for the next one; of two builds at once the later one's stay."""
        self._try_to_write(self._timing(machine), content)

    def _timing(self, machine: str) -> Path:
        return self.folder / f"{hashlib.sha256(machine.encode()).hexdigest()}.timing"

    def _plan(self, digest: str) -> Path:
        return self.folder / f"{digest}.plan"

    def _sidecar(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    @contextmanager
    def _locked(self, digest: str, label: str) -> Iterator[None]:
        path = self.folder / f"{digest}.lock"
        with private_files.locked(path, wait=False) as free:
            if free:
                yield
                return
        log.info("waiting for another process, which builds or loads the engine of %s", label)
        with private_files.locked(path):
            yield

    def _read(self, key: EngineKey) -> bytes | None:
        """The plan of a key, if this cache wrote it for this key and every byte is still the same."""
        about = self._about(key.digest)
        plan = private_files.read(self._plan(key.digest)) if about is not None else None
        if about is None or plan is None:
            return None
        if about["key"] != key.parts or about["plan_sha256"] != hashlib.sha256(plan).hexdigest():
            log.warning("the engine of %s is damaged: %s", about["label"], self._plan(key.digest))
            return None
        return plan

    def _about(self, digest: str) -> dict[str, Any] | None:
        content = private_files.read(self._sidecar(digest))
        try:
            about = json.loads(content) if content is not None else None
        except ValueError:
            return None
        wanted = {
            **{"writer": str, "key": dict, "label": str, "plan_sha256": str},
            **{"built": str, "build_seconds": int | float},
        }
        if not isinstance(about, dict) or any(not isinstance(about.get(name), kind) for name, kind in wanted.items()):
            return None
        return about if about["writer"] == _WRITER else None

    def _entry(self, digest: str) -> Entry | None:
        try:
            about, size = self._about(digest), self._plan(digest).stat().st_size
            used = self._sidecar(digest).stat().st_mtime
        except (OSError, BackendError):
            return None
        return None if about is None else Entry(digest, about["label"], size, used, about)

    def _write(self, key: EngineKey, label: str, plan: bytes, seconds: float, built_by: str) -> None:
        about = {
            "writer": _WRITER,
            "label": label,
            "key": key.parts,
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "build_seconds": round(seconds, 3),
            "built_by": built_by,
            "host": socket.gethostname(),
            "vss_ros": __version__,
        }
        # the sidecar comes last: a plan without one is never read
        if self._try_to_write(self._plan(key.digest), plan):
            self._try_to_write(self._sidecar(key.digest), json.dumps(about, indent=2).encode())

    def _try_to_write(self, path: Path, content: bytes) -> bool:
        try:
            private_files.write(path, content)
        except OSError as error:  # the engine is built and works: a full disk costs the next start, not this one
            log.warning("the engine cache cannot keep %s: %s; free some space", path, error)
            return False
        return True

    def _remove(self, digest: str) -> None:
        """Remove an engine and what was left of writing it; under its lock, where nobody writes it."""
        for path in (self._sidecar(digest), self._plan(digest), *self.folder.glob(f"{digest}.*.part")):
            path.unlink(missing_ok=True)

    def _remove_if_free(self, digest: str) -> bool:
        with private_files.locked(self.folder / f"{digest}.lock", wait=False) as free:
            if free:
                self._remove(digest)
                (self.folder / f"{digest}.lock").unlink(missing_ok=True)
            return free

    def _sweep(self) -> None:
        """Remove what was written by half, and files of engines that are not complete."""
        private_files.sweep(self.folder)
        complete = {entry.digest for entry in self.entries()}
        others = (".timing", ".part")  # a part that is still there has a writer
        found = {path.name.partition(".")[0] for path in self.folder.iterdir() if path.suffix not in others}
        for digest in found - complete:
            with private_files.locked(self.folder / f"{digest}.lock", wait=False) as free:
                if free and self._entry(digest) is None:
                    for path in self.folder.glob(f"{digest}.*"):
                        path.unlink(missing_ok=True)
