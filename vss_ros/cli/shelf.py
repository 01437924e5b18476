# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands about models: `models`, `train`, `export`."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vss_ros.cli.options import app, make_folder, out, say
from vss_ros.core.config import parse_size
from vss_ros.core.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from vss_ros.core.card import ModelCard

_WIDE = 120  # columns of a terminal that a summary has room in


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Name under models/, or path, to show one model's card.")] = None,
) -> None:
    """List the models that are installed, or say of one what it reaches and what it must not be trusted with.

    Example: `vss models lmanet_erfnet_camvid`
    """
    from rich.markup import escape
    from rich.table import Column, Table

    from vss_ros.assemble import load_card, model_folders

    if name is not None:
        _show_card(load_card(name))
        return
    model = Column("model", no_wrap=True, overflow="fold")  # a name is there to be copied
    table = Table(model, "method", "net", "input", "mIoU (val)")
    has_room = out.width >= _WIDE
    if has_room:
        table.add_column("summary", ratio=1)
    for folder in model_folders():
        card = load_card(folder)
        told = (card.summary,) if has_room else ()  # else `vss models NAME` tells it
        row = card.name, card.method, card.host.name, _size(card), _reached(card), *told
        table.add_row(*map(escape, row))
    out.print(table)


def _show_card(card: ModelCard) -> None:
    from rich.markup import escape
    from rich.table import Table

    rows = {
        "model": card.name,
        "summary": card.summary,
        "method": f"{card.method} on {card.host.name}",
        "input": _size(card),
        "mIoU (val)": _reached(card),
        "trained on": str(card.training.get("data", "not said")),
        "licence": card.licence,
        "limits": "\n".join(f"- {sentence}" for sentence in card.limits) or "not said",
    }
    table = Table.grid(padding=(0, 2))
    for what, said in rows.items():
        table.add_row(what, escape(said))
    out.print(table)


def _size(card: ModelCard) -> str:
    return f"{card.input_size[1]}x{card.input_size[0]}"


def _reached(card: ModelCard) -> str:
    miou = card.results.get("val", {}).get("miou")
    return "-" if miou is None else f"{miou:.3f}"


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file as in config/recipes.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the recipe's data set.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="For checkpoints and log; a run is resumed from there.")] = Path(
        "runs"
    ),
    models_folder: Annotated[
        Path, typer.Option("--models", help="Where the model's folder is written, and start_from is looked for first.")
    ] = Path("models"),
    minutes: Annotated[
        float | None, typer.Option(help="Stop after the epoch that ends then; run again to go on.")
    ] = None,
) -> None:
    """Train a recipe and write its model folder with card; needs torch and onnx.

    Example: `vss train config/recipes/lmanet_erfnet_camvid.yaml --data ../shared/data/camvid`
    """
    from vss_ros.cli.training_bar import training_bar
    from vss_ros.train.allocator import keep_freed_memory
    from vss_ros.train.recipe import load_recipe

    _ask_for_torch("vss train")
    from vss_ros.train.publish import prepare_training, publish

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as on Ctrl+C
    read = load_recipe(recipe)
    run = folder / read.name
    for place in (run, models_folder):
        make_folder(place)
    try:
        with training_bar() as show:
            training = prepare_training(read, run, data, observe=show, models=models_folder)
            stages = training.run(data, minutes=minutes)
            if training.finished:
                card = publish(training, stages, models_folder / read.name, data)
    except KeyboardInterrupt:
        say(f"stopped; run again to go on from the last whole epoch in {run}")
        raise typer.Exit(130) from None
    if not training.finished:  # a half-trained model must not take the place of a trained one
        say(f"time is up; run again to go on from {run}")
        return
    reached = card.results.get("val", {}).get("miou", "not measured")
    say(f"{card.name} written to {card.folder}: {reached} mIoU on val")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Model folder whose weights are exported again.")],
    folder: Annotated[Path | None, typer.Option("--out", help="Model folder to write, one file per stage.")] = None,
    graph: Annotated[
        Path | None, typer.Option("--single-graph", help="ONNX file to write with the whole step and no custom kernel.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Picture of the single graph, WIDTHxHEIGHT px; else the card's.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A state dict (.pt) instead of the folder's.")
    ] = None,
    golden: Annotated[
        bool, typer.Option("--golden", help="Write golden frames into the model's own folder; its stages stay.")
    ] = False,
) -> None:
    """Write a model's stages, or its whole step as one file, to ONNX and compare them with torch; needs torch.

    Stages come with golden frames, on which engines are checked before they are used.

    Example: `vss export lmanet_erfnet_camvid --out runs/exported --single-graph runs/lmanet.onnx --size 480x360`
    """
    if folder is None and graph is None and not golden:
        raise ConfigError(
            "export wants --out FOLDER, --single-graph FILE.onnx or --golden, got none; say what to write"
        )
    if size is not None and graph is None:
        raise ConfigError(f"--size {size} wants --single-graph FILE.onnx; the stages of a model folder take any size")
    picture = None if size is None else parse_size(size, "--size", ("model",))
    _ask_for_torch("vss export")
    from vss_ros.assemble import load_card
    from vss_ros.train.publish import export_again, export_as_single_graph, write_golden

    if golden:
        path = write_golden(load_card(model)).golden_path()
        say(f"{model}: golden frames written to {path}")
    if folder is not None:
        card = export_again(model, folder, weights)
        say(f"{card.name}: {', '.join(card.stages)} written to {folder}, equal to torch within rounding")
    if graph is not None:
        card = export_as_single_graph(model, graph, None if isinstance(picture, str) else picture, weights)
        say(f"{card.name}: the whole step written to {graph}, equal to the stream in torch within rounding")


def _ask_for_torch(command: str) -> None:
    """Refuse in time what the installed packages cannot do."""
    try:
        for name in ("torch", "onnx"):
            importlib.import_module(name)
    except ImportError as error:
        raise BackendError(f"{command} wants torch and onnx: {error}; pip install -r requirements-train.txt") from error
