# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the commands share: the app, its options, the terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vss_ros.core.config import Settings
from vss_ros.core.errors import DataError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
out = Console(emoji=False)  # a path may hold `:x:`

ModelName = Annotated[str, typer.Option("--model", "-m", help="Name under models/, or path of a model folder.")]
Slots = Annotated[int, typer.Option("--memory-slots", help="Past frames remembered; -1 = the card's, 0 = off.")]
Window = Annotated[
    int, typer.Option("--memory-window", help="Cells searched around each position; odd, -1 = the card's.")
]
Backend = Annotated[str, typer.Option("--backend", help="auto, onnx, tensorrt or torch.")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0 = the usable cores.")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML file as config/segmenter.yaml.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Image topic of a bag; not needed where there is only one.")]
TruthTopic = Annotated[
    str | None,
    typer.Option(
        "--truth-topic",
        help="Topic of a bag with true labels (mono8, the images' stamps); not needed for .../labels_truth.",
    ),
]

DEFAULT_MODEL = Settings().model.name


def load_settings_for(
    model: str = DEFAULT_MODEL,
    slots: int = -1,
    window: int = -1,
    backend: str = "auto",
    threads: int = 0,
    file: Path | None = None,
) -> Settings:
    """Settings from a file and the options that differ from their defaults."""
    from vss_ros.assemble import load_settings

    said: dict[str, Any] = {
        "model.name": model,
        "memory.slots": slots,
        "memory.window": window,
        "runtime.backend": backend,
        "runtime.threads": threads,
    }
    defaults = Settings().flat()
    return load_settings(file, {key: value for key, value in said.items() if value != defaults[key]})


def fresh(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`... that does not exist: an earlier result is never overwritten."""
    candidates = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in range(1, 10_000))
    return next(candidate for candidate in candidates if not candidate.exists())


def command_line() -> str:
    """What the user typed, to be typed again."""
    return shlex.join(["vss", *sys.argv[1:]])


def ask_for_room(*paths: Path | None) -> None:
    """Refuse before anything is computed what could not be written in the end.

    Raises:
        DataError: a file lies where a folder is wanted, or the other way round, or a folder cannot be made.
    """
    for path in paths:
        if path is not None and path.is_dir():
            raise DataError(f"a file was wanted at {path}, but a folder is there; name a file in it")
        if path is not None:
            make_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder for results; DataError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"a folder was wanted at {path}: {error}; name another") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Figures for other programs.

    Raises:
        DataError: the file cannot be written.
    """
    ask_for_room(path)
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"figures were to be written to {path}: {error}; name another file") from error


def say(sentence: str) -> None:
    """A line as it is, whatever its names and paths look like; rich takes brackets for colours otherwise."""
    out.print(sentence, markup=False, soft_wrap=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar on stderr; what it yields is called once for each of `total`."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
