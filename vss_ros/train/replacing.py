# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A model folder changes in one piece: whoever is killed meanwhile leaves the old model whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vss_ros.core.errors import TrainError


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write a model into, which takes its place in the end; an error changes nothing.

    Files that are no model's stay with the new one. What a killed run left is tidied up first.

    Args:
        folder: a model's, an empty one, or none yet.

    Raises:
        TrainError: something else lies there.
    """
    place = folder.resolve()  # beside what a link leads to, which stays a link
    made, old = (place.with_name(f".{place.name}.{state}") for state in ("new", "old"))
    _bring_back(old, place)
    for left in (made, old):
        if left.exists():
            shutil.rmtree(left)
    if place.exists() and not _is_a_models(place):
        raise TrainError(f"a model folder, an empty one or none was wanted at {folder}, got other files; name another")
    try:
        if place.exists():
            shutil.copytree(place, made, ignore=shutil.ignore_patterns("card.yaml", "*.onnx"))
        else:
            made.mkdir(parents=True)
        yield made
        if place.exists():
            place.rename(old)
        made.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        _bring_back(old, place)
        shutil.rmtree(made, ignore_errors=True)


def _bring_back(old: Path, place: Path) -> None:
    """Undo the first of the two renames where the second one never came."""
    if old.exists() and not place.exists():
        old.rename(place)


def _is_a_models(place: Path) -> bool:
    return place.is_dir() and ((place / "card.yaml").is_file() or not any(place.iterdir()))
