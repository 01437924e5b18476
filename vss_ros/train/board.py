# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The figures of each epoch for TensorBoard, where it is installed; `log.jsonl` holds the same and is the record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

log = logging.getLogger(__name__)

# our names, and those a board groups its charts by
_SCALARS = {"loss": "train/loss", "lr": "train/rate", "val_miou": "val/miou", "epoch_s": "time/seconds_per_epoch"}

Write = Callable[[int, Mapping[str, float]], None]


def open_board(folder: Path, done: int) -> Write:
    """A function that takes an epoch's number, from 1, and its figures, and writes them below `folder`.

    Args:
        folder: for the event files.
        done: epochs that are done; what an earlier run wrote beyond them is hidden, so that no epoch is shown twice.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("no TensorBoard is written; for one: pip install tensorboard")
        return _nothing
    writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(epoch: int, figures: Mapping[str, float]) -> None:
        for name, tag in _SCALARS.items():
            if name in figures:
                writer.add_scalar(tag, figures[name], epoch)
        writer.flush()

    return write


def _nothing(epoch: int, figures: Mapping[str, float]) -> None:
    """No board."""
