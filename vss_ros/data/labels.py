# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the names and colours of the classes a model knows, each kept once in `config/labels/<name>.yaml`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vss_ros.core.errors import DataError
from vss_ros.core.frame import UNLABELLED, UInt8Array
from vss_ros.core.share import share_folder


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """The classes of one data set, in the order of their ids.

    Attributes:
        name: name of the set, also the name of its file.
        names: K class names; the position is the id.
        palette: `(K, 3)` uint8 RGB, read-only.
    """

    name: str
    names: tuple[str, ...]
    palette: UInt8Array

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """The id of a class name; DataError with the nearest known name otherwise."""
        if name not in self.names:
            raise DataError(f"label set {self.name!r} has no class {name!r}{_nearest(name, self.names)}")
        return self.names.index(name)


@lru_cache
def load_labels(name: str) -> LabelSet:
    """The label set of that name from the package's config folder.

    Raises:
        DataError: no such set, or its file is not a list of classes with ids 0..K-1.
    """
    folder = share_folder("config") / "labels"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        raise DataError(f"no label set {name!r}{_nearest(name, known)}; known are: {', '.join(known) or 'none'}")
    return read_labels(path)


def read_labels(path: Path) -> LabelSet:
    """The label set of one YAML file: `name` and `labels`, a list of `{id, name, colour: [r, g, b]}`.

    Raises:
        DataError: the file does not hold that.
    """
    try:
        text: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = sorted(text["labels"], key=lambda row: int(row["id"]))
        ids = [int(row["id"]) for row in rows]
        names = tuple(str(row["name"]) for row in rows)
        colours = np.array([row["colour"] for row in rows], np.int64).reshape(len(rows), 3)
        if colours.min() < 0 or colours.max() > 255:
            raise ValueError("a colour outside 0..255")
        palette = colours.astype(np.uint8)
        set_name = str(text["name"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path} was wanted as a label set with `name` and `labels: [{{id, name, colour: [r, g, b]}}, ...]`, "
            f"got {type(error).__name__}: {error}; compare it with config/labels/camvid11.yaml"
        ) from error
    if ids != list(range(len(ids))) or not 0 < len(ids) < UNLABELLED or len(set(names)) != len(names):
        raise DataError(
            f"{path} wants ids 0..K-1 with K from 1 to {UNLABELLED - 1} and names that differ, "
            f"got ids {ids} and names {list(names)}; give each class one id and one name"
        )
    palette.setflags(write=False)
    return LabelSet(set_name, names, palette)


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
