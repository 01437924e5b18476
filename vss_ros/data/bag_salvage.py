# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Opens bags whole or cut off: a robot that loses power leaves a file without its end, and the rest is worth reading.

rosbags refuses a file without its end. A cut MCAP file is shown to it as if it had ended at the last whole record; of a
cut SQLite file the rows are read one by one until the break.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.highlevel import AnyReader

from vss_ros.core.errors import DataError
from vss_ros.data.typestore import ros2_types

_MAGIC = b"\x89MCAP0\r\n"
# Footer record with all offsets 0: there is no index, scan the data.
_FOOTER = b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + _MAGIC
STORAGE_SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag: name, type such as `sensor_msgs/msg/Image`, number of messages."""

    name: str
    type_name: str
    count: int


class OpenBag:
    """A bag being read, with `topics`, `messages(names)` and `broken`, the reason why it is not whole, or None."""

    topics: Sequence[Topic]
    broken: str | None = None

    def messages(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Topic and message, or topic and the exception that its bytes raised, in the order of the bag."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets the files go."""


def open_bag(path: Path) -> OpenBag:
    """The bag at a folder or file.

    Raises:
        DataError: nothing of it can be read.
    """
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in STORAGE_SUFFIXES)
    reason = ""
    # A recorder that was killed leaves no metadata.yaml, but often whole files.
    for paths in ([path], files):
        try:
            if paths:
                return _Whole(paths, None)
        except Exception as error:  # rosbags lets through what its storages raise: apsw, struct, zstd, ruamel
            reason = f"{error}".strip() or type(error).__name__
    if not files:
        raise DataError(f"{path} was wanted as a bag, but it cannot be read: {reason}; check what lies there")
    try:
        if all(file.suffix == ".db3" for file in files):
            return _Rows(files, reason)
        if all(file.suffix == ".mcap" for file in files):
            return _Whole([_Mended(file) for file in files], reason)
    except Exception as error:
        reason = f"{reason}; {error}"
    raise DataError(
        f"{path} was wanted as a bag, but it is damaged and 0 frames can be read: {reason}; record it again"
    )


class _Whole(OpenBag):
    """What rosbags can read."""

    def __init__(self, paths: Sequence[Any], broken: str | None) -> None:
        self.broken = broken
        self._reader = AnyReader(list(paths), default_typestore=ros2_types())
        self._reader.open()
        counts: dict[tuple[str, str], int] = {}
        for link in self._reader.connections:
            key = link.topic, link.msgtype
            counts[key] = counts.get(key, 0) + link.msgcount
        self.topics = [Topic(name, kind, count) for (name, kind), count in counts.items()]

    def messages(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        links = [link for link in self._reader.connections if link.topic in names]
        for link, _, data in self._reader.messages(links) if links else ():
            yield link.topic, _deserialised(self._reader.deserialize, data, link.msgtype)

    def close(self) -> None:
        self._reader.close()


class _Rows(OpenBag):
    """The readable rows of cut SQLite files."""

    def __init__(self, files: Sequence[Path], broken: str) -> None:
        self.broken: str | None = broken
        self._folder = TemporaryDirectory(prefix="vss_ros_bag_")
        self._files = [_filled_up(file, Path(self._folder.name)) for file in files]
        self._names: list[dict[int, tuple[str, str]]] = []
        counts: dict[tuple[str, str], int] = {}
        for file in self._files:
            with closing(_connect(file)) as connection:
                rows = connection.execute("SELECT id, name, type FROM topics").fetchall()
            self._names.append({int(key): (str(name), str(kind)) for key, name, kind in rows})
            for topic, kind, _ in self._rows(file, self._names[-1], only_keys=True):
                counts[topic, kind] = counts.get((topic, kind), 0) + 1
        self.topics = [Topic(name, kind, count) for (name, kind), count in counts.items()]

    def messages(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        store = ros2_types()
        for file, topics in zip(self._files, self._names, strict=True):
            for topic, kind, data in self._rows(file, topics, only_keys=False):
                if topic in names:
                    yield topic, _deserialised(store.deserialize_cdr, data, kind)

    def close(self) -> None:
        self._folder.cleanup()

    def _rows(
        self, file: Path, topics: dict[int, tuple[str, str]], *, only_keys: bool
    ) -> Iterator[tuple[str, str, bytes]]:
        # In a file that was filled up, a row may have lost its last page and read as zeros there without an error. It
        # is the last one before the break, so each row waits for the next, and the last is given up.
        waits, last = file.parent == Path(self._folder.name), None
        with closing(_connect(file)) as connection:
            # The data is read even when only keys are wanted: a row counts if all of it is there.
            cursor = connection.execute("SELECT topic_id, data FROM messages ORDER BY id")
            while True:
                try:
                    row = cursor.fetchone()
                except sqlite3.DatabaseError:
                    return
                if row is None:
                    return
                ready, last = (last, row) if waits else (row, None)
                if ready is not None and ready[0] in topics:
                    yield (*topics[ready[0]], b"" if only_keys else bytes(ready[1]))


class _Mended:
    """A cut MCAP file as rosbags wants paths, ending after its last whole record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.suffix = path.suffix
        self.name = path.name

    def __str__(self) -> str:
        return str(self._path)

    def exists(self) -> bool:
        return self._path.exists()

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(_Ended(self._path, _last_whole_record(self._path)))


class _Ended(io.RawIOBase):
    """The first `length` bytes of a file, followed by an MCAP footer."""

    def __init__(self, path: Path, length: int) -> None:
        self._file = path.open("rb")
        self._length, self._at = length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._at, self._length + len(_FOOTER))[whence]
        # Like a file in memory: nothing lies beyond the end, which is how a record that is too long shows.
        self._at = min(max(start + offset, 0), self._length + len(_FOOTER))
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._at < self._length:
            self._file.seek(self._at)
            data = self._file.read(min(wanted, self._length - self._at))
        else:
            data = _FOOTER[self._at - self._length :][:wanted]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _last_whole_record(path: Path) -> int:
    """Length of the part of an MCAP file that consists of whole records of data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = len(file.read(len(_MAGIC)))
        while True:
            head = file.read(9)
            # 0x0F ends the data; after it come only indexes.
            if len(head) < 9 or head[0] == 0x0F:
                return end
            after = end + 9 + int(struct.unpack("<Q", head[1:])[0])
            if after > size:
                return end
            end = file.seek(after)


def _filled_up(path: Path, folder: Path) -> Path:
    """A SQLite file as long as its header says, because SQLite opens no shorter one; a sparse copy where it is cut."""
    with path.open("rb") as file:
        head = file.read(32)
    if len(head) < 32:
        raise DataError(f"{path} ends within its header")
    page, pages = struct.unpack(">H", head[16:18])[0], struct.unpack(">I", head[28:32])[0]
    wanted = pages * (65536 if page == 1 else page)
    if path.stat().st_size >= wanted:
        return path
    copy = folder / path.name
    shutil.copyfile(path, copy)
    os.truncate(copy, wanted)
    return copy


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _deserialised(deserialise: Any, data: bytes, kind: str) -> Any:
    try:
        return deserialise(data, kind)
    except Exception as error:  # whatever damaged bytes do to a decoder, it is one message
        return error
