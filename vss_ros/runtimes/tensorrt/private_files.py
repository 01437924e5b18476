# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files that only this user may have written: whole or not there, and refused where others could have changed them."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vss_ros.core.errors import BackendError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PART = ".part"


def make_folder(folder: Path) -> None:
    """Make a folder that is this user's alone, or see that it is.

    Raises:
        BackendError: it cannot be made, or belongs to or is open to others.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError as error:
        raise BackendError(
            f"a folder for engines was wanted at {folder}: {error}; set XDG_CACHE_HOME to one that can be written"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise BackendError(f"a folder for engines was wanted at {folder}, got something else; remove it")
    _refuse_others(folder, found)


def can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder; not in one of a read-only image, even by root."""
    return os.access(folder, os.W_OK | os.X_OK)


def read(path: Path) -> bytes | None:
    """A file's bytes, or None where there is none.

    Raises:
        BackendError: it is a link, or belongs to or is open to others.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendError(f"a plain file of this user was wanted at {path}: {error}; remove it") from error
    with os.fdopen(handle, "rb") as file:
        _refuse_others(path, os.fstat(file.fileno()))  # of what was opened: the name may mean another file by now
        return file.read()


def write(path: Path, content: bytes) -> None:
    """Put a file in place at once: who reads the name finds the old content, the new one, or no file.

    Of two that write it at once the later one's content stays. What a killed one leaves behind, `sweep` removes.

    Raises:
        OSError: it cannot be written; nothing is left behind then.
    """
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=_PART, dir=path.parent)  # this writer's alone
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # by which `sweep` sees that the writer lives
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves an empty file under the final name
            part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what processes that were killed in `write` left in a folder; what is being written stays."""
    for part in folder.glob(f"*{_PART}"):
        with locked(part, wait=False) as abandoned:
            if abandoned:
                part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file; the system frees it when its process ends, however it ends.

    Args:
        path: of the lock file.
        wait: until it is free; otherwise give False where it is not.

    Raises:
        BackendError: it cannot be opened.
    """
    handle = _lock(path, wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path, wait: bool) -> int | None:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f"a lock file was wanted at {path}: {error}; see who owns the folder") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return None
        if _is_still(path, handle):
            return handle
        os.close(handle)  # somebody removed the file between the two calls: the lock is on a name that is gone


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise BackendError(
            f"engines are code, and {path} belongs to user {found.st_uid}, not to this one ({os.geteuid()}); "
            "remove it, or set XDG_CACHE_HOME to a folder of this user"
        )
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise BackendError(f"engines are code, and {path} is open to other users (mode {mode:o}); run chmod go= {path}")
