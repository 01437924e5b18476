# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""TensorBoard's figures where it is installed, and one line about it where it is not."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")

from vss_ros.train.board import open_board

FIGURES = {"phase": 0, "epoch": 4, "loss": 0.5, "lr": 1e-3, "epoch_s": 2.0}


class Writer:
    """Stands for `torch.utils.tensorboard.SummaryWriter`."""

    made: list[Any]

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.scalars = folder, purge_step, {}
        Writer.made = [self]

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag, step] = value

    def flush(self) -> None:
        self.flushed = True


def test_writes_each_epoch_and_hides_what_a_killed_run_wrote_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    write = open_board(tmp_path, done=4)
    write(5, FIGURES)
    write(6, {**FIGURES, "val_miou": 0.6})
    (board,) = Writer.made
    assert (board.folder, board.purge_step, board.flushed) == (str(tmp_path), 5, True)
    assert {step for tag, step in board.scalars if tag == "val/miou"} == {6}
    assert board.scalars["train/loss", 5] == 0.5 and board.scalars["time/seconds_per_epoch", 6] == 2.0


def test_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.INFO, "vss_ros.train.board"):
        open_board(tmp_path, done=0)(1, FIGURES)
    assert [record.message for record in caplog.records] == [
        "no TensorBoard is written; for one: pip install tensorboard"
    ]
    assert not list(tmp_path.iterdir())
