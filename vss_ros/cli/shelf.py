# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands about models: `models`, `train`, `export`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from vss_ros.cli.options import app, out


@app.command()
def models() -> None:
    """List the models that are installed, with what their cards say they reach.

    Example: `vss models`
    """
    from rich.table import Table

    from vss_ros.assemble import load_card, model_folders

    table = Table("model", "method", "net", "classes", "input", "mIoU (val)", "summary")
    for folder in model_folders():
        card = load_card(folder)
        size = f"{card.input_size[1]}x{card.input_size[0]}"
        miou = card.results.get("val", {}).get("miou")
        reached = "-" if miou is None else f"{miou:.3f}"
        table.add_row(card.name, card.method, card.host.name, str(len(card.labels)), size, reached, card.summary)
    out.print(table)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file as in config/recipes.")],
    data: Annotated[Path | None, typer.Option("--data", help="CamVid folder.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="For checkpoints and log; a run is resumed from there.")] = Path(
        "runs"
    ),
    models_folder: Annotated[Path, typer.Option("--models", help="Where the model's folder is written.")] = Path(
        "models"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="Stop after the epoch that ends then; run again to go on.")
    ] = None,
) -> None:
    """Train a recipe and write its model folder with card; needs torch and onnx.

    Example: `vss train config/recipes/lmanet_erfnet_camvid.yaml --data ../shared/data/camvid`
    """
    from vss_ros.train.publish import prepare_training, publish
    from vss_ros.train.recipe import load_recipe

    logging.getLogger("vss_ros.train").setLevel(logging.INFO)
    read = load_recipe(recipe)
    training = prepare_training(read, folder / read.name, data)
    stages = training.run(data, minutes=minutes)
    if not training.finished:  # a half-trained model must not take the place of a trained one
        out.print(f"time is up; run again to go on from {training.folder}")
        return
    card = publish(training, stages, models_folder / read.name, data)
    out.print(
        f"{card.name} written to {card.folder}: {card.results.get('val', {}).get('miou', 'not measured')} mIoU on val"
    )


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Model folder whose weights are exported again.")],
    folder: Annotated[Path, typer.Option("--out", help="Model folder to write.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A state dict (.pt) instead of the folder's.")
    ] = None,
) -> None:
    """Write a model's stages to ONNX again and compare them with torch; needs torch.

    Example: `vss export lmanet_erfnet_camvid --out runs/exported`
    """
    from vss_ros.train.publish import export_again

    card = export_again(model, folder, weights)
    out.print(f"{card.name}: {', '.join(card.stages)} written to {folder}, equal to torch within rounding")
