# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What `vss train` shows: a bar for the epoch it is in, with the time that the whole run will take."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_FIGURES = "loss {task.fields[loss]:.4f}  rate {task.fields[rate]:.1e}  {task.fields[left]} left of the run"


class _AboveTheBar(logging.Handler):
    """Log lines on the bar's console, so that neither overwrites the other."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def training_bar() -> Iterator[Callable[[Any], None]]:
    """What it yields takes the training's progress after each step; the training's log goes above the bar."""
    log = logging.getLogger("vss_ros.train")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(_FIGURES)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        handler, passed_on, level = _AboveTheBar(bar.console), log.propagate, log.level
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.INFO)
        task = bar.add_task("getting the data ready", total=None, loss=float("nan"), rate=0.0, left="-")

        def show(progress: Any) -> None:
            bar.update(
                task,
                description=f"epoch {progress.epoch} of {progress.epochs}",
                completed=progress.step,
                total=progress.steps,
                loss=progress.loss,
                rate=progress.rate,
                left=timedelta(seconds=round(progress.left_s)),
            )

        try:
            yield show
        finally:
            log.removeHandler(handler)
            log.propagate = passed_on
            log.setLevel(level)
