# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a run leaves in its folder: files that are whole whenever it is killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vss_ros.core.errors import TrainError


def save_whole(state: Mapping[str, Any], path: Path) -> None:
    """Write beside `path` and put it in place at once: whoever kills the run meanwhile leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    torch.save(dict(state), scratch)
    scratch.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_whole` wrote, on the CPU; None where nothing is.

    Raises:
        TrainError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # of damaged files torch's reader raises this and that
        raise TrainError(f"{path} was wanted as a checkpoint and is damaged; remove it to begin anew") from error
    return state


def append_line(path: Path, figures: Mapping[str, Any]) -> None:
    """One more epoch in the log."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(figures) + "\n")


def align_log(path: Path, done: int, last: Mapping[str, Any]) -> None:
    """Bring a log to the `done` epochs of its checkpoint.

    A run that was killed between checkpoint and log lacks its last line, or has it by half where the disk was full; a
    run that begins anew finds lines of an older one.

    Args:
        path: `log.jsonl`.
        done: epochs that the checkpoint holds.
        last: figures of the last of them.
    """
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = before.splitlines()
    if lines and not _is_json(lines[-1]):
        lines.pop()
    kept = lines[:done]
    if len(kept) < done:
        kept.append(json.dumps(last))
    after = "".join(f"{line}\n" for line in kept)
    if after != before:
        scratch = path.with_suffix(".tmp")
        scratch.write_text(after, encoding="utf-8")
        scratch.replace(path)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
