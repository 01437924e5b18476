# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss`: everything the package does, from a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vss_ros import __version__
from vss_ros.cli import engines, evaluation, robot, shelf, streams
from vss_ros.cli.options import app, out
from vss_ros.core.errors import VssError

__all__ = [
    "engines",
    "evaluation",
    "main",
    "main_doctor",
    "robot",
    "shelf",
    "streams",
]  # importing them gives the app its commands


def main(args: Sequence[str] | None = None) -> None:
    """Run `vss`; what the package refuses is one line on stderr and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app(args, standalone_mode=True)
    except VssError as error:
        told = Text.assemble(("error:", "bold red"), f" {error}")  # as it is: a path may look like markup
        Console(stderr=True).print(told, highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


def main_doctor() -> None:
    """`ros2 run vss_ros doctor`, which is `vss doctor`."""
    main(["doctor", *sys.argv[1:]])


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Streaming video semantic segmentation: a frame in, a label for every pixel out."""
    if version:
        out.print(__version__)
        raise typer.Exit
