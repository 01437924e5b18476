# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From a trained checkpoint to a model folder with its card."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from vss_ros.assemble import build_stages, load_card, load_model, load_settings, plan_for
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import TrainError
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.camvid import CamVidVideo
from vss_ros.data.labels import load_labels
from vss_ros.data.resize import resize
from vss_ros.evaluate.replay import replay
from vss_ros.nets import NETS
from vss_ros.runtimes.export import export_model, load_weights, write_results
from vss_ros.runtimes.torch import TorchRuntime
from vss_ros.train.recipe import Recipe
from vss_ros.train.trainer import Training


def prepare_training(recipe: Recipe, folder: Path, data: Path | None) -> Training:
    """Fresh modules for a recipe, started from another model's weights where it says so.

    Args:
        recipe: what to train.
        folder: for checkpoints and the log.
        data: CamVid folder; its validation stream is measured while training. None measures nothing.
    """
    torch.manual_seed(recipe.seed)
    plan = plan_for(recipe.method, recipe.options)
    labels = load_labels(recipe.labels)
    stages = build_stages(recipe.method, plan, recipe.net, len(labels), mean=recipe.mean, std=recipe.std)
    for module in stages.modules():
        if isinstance(module, nn.Dropout2d):
            module.p *= recipe.dropout
    if recipe.start_from:
        load_weights(stages, load_card(recipe.start_from), partly=True)
    host = host_of(recipe)

    def measure(averaged: nn.ModuleDict) -> dict[str, float]:
        return {"val_miou": val_miou(plan, host, averaged, data, labels.names, recipe)}

    pixels = pixels_per_class(data, len(labels))
    return Training(recipe, plan, host, stages, pixels, folder, measure if data else None)


def host_of(recipe: Recipe) -> Host:
    """What the plan needs to know of the recipe's net."""
    net = NETS[recipe.net]
    return Host(recipe.net, net.feature_channels, net.stride)


def pixels_per_class(data: Path | None, classes: int) -> list[int]:
    """Labelled training pixels of each class; equal where there is no data set to count."""
    if data is None:
        return [1] * classes
    from vss_ros.data.camvid import CamVid

    camvid, counts = CamVid(data, "train"), torch.zeros(256, dtype=torch.long)
    for index in range(len(camvid)):
        counts += torch.bincount(torch.from_numpy(camvid[index][1]).flatten().long(), minlength=256)
    return [int(count) for count in counts[:classes]]


def val_miou(
    plan: TemporalMethod, host: Host, stages: nn.ModuleDict, data: Path | None, names: tuple[str, ...], recipe: Recipe
) -> float:
    """mIoU of the streamed validation drive, in bfloat16: good enough to watch training by."""
    if data is None:
        raise TrainError("validation wants the CamVid folder, got none; say --data DIR")
    training = stages.training
    runtime = TorchRuntime(stages, plan.stages(host), autocast=True)
    segmenter = StreamSegmenter(plan, host, runtime, StreamOptions(recipe.input_size), resize=resize)
    miou = replay(CamVidVideo(data, "val"), segmenter, names).confusion.miou()
    stages.train(training)
    return round(miou, 4)


def publish(training: Training, stages: nn.ModuleDict, folder: Path, data: Path | None) -> ModelCard:
    """Export trained stages with their card, then measure the exported files and put the figures into the card.

    Args:
        training: the finished training.
        stages: its averaged modules.
        folder: `models/<name>`.
        data: CamVid folder to measure on; None leaves the results empty.
    """
    recipe = training.recipe
    labels = load_labels(recipe.labels)
    card: dict[str, Any] = {
        "name": recipe.name,
        "summary": recipe.summary,
        "method": recipe.method,
        "options": dict(recipe.options),
        "host": asdict(training.host),
        "labels": list(labels.names),
        "palette": labels.palette.tolist(),
        "input_size": list(recipe.input_size),
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "temperature": 1.0,
        "training": _story(training),
        "results": {},
        "licence": recipe.licence,
    }
    exported = export_model(stages, training.plan, training.host, card, folder)
    if data is None:
        return exported
    return write_results(exported, {"val": measure_exported(folder, data)})


def _story(training: Training) -> dict[str, Any]:
    """Data with their terms, recipe, seed, hardware and time of a training, for its card."""
    recipe = training.recipe
    log = [json.loads(line) for line in (training.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "recipe": f"config/recipes/{recipe.name}.yaml",
        "data": recipe.terms,
        "seed": recipe.seed,
        "epochs": len(log),
        "minutes": round(sum(epoch["epoch_s"] for epoch in log) / 60),
        "hardware": f"{os.cpu_count()} CPU cores, bfloat16",
        "start_from": recipe.start_from or "random weights",
    }


def measure_exported(folder: Path, data: Path) -> dict[str, Any]:
    """What the model folder reaches on CamVid's validation drive, streamed through ONNX Runtime."""
    model = load_model(load_settings(values={"model.name": str(folder)}))
    report = replay(CamVidVideo(data, "val"), model.stream(), model.card.labels).report()
    return {
        "data": "CamVid val, 101 frames at 15 Hz of drive 0016E5, 480x360, 11 classes, void ignored; "
        "it starts 1.3 s after and ends 1.0 s before training frames of the same drive",
        "command": f"vss replay DIR/camvid --model {folder.name}",
        **{key: round(report[key], 4) for key in ("miou", "pixel_accuracy", "churn")},
        "iou": {name: None if iou is None else round(iou, 4) for name, iou in report["iou"].items()},
    }


def export_again(model: str, folder: Path, weights: Path | None = None) -> ModelCard:
    """A model's stages written anew from its own files or from a state dict, compared with torch.

    Raises:
        CardError: the model cannot be read.
        TrainError: the state dict is not of this model.
        StageError: an exported stage does not give what torch gives.
    """
    card = load_card(model)
    plan = plan_for(card.method, card.options)
    stages = build_stages(card.method, plan, card.host.name, len(card.labels), mean=card.mean, std=card.std)
    load_weights(stages, card)
    if weights is not None:
        try:
            stages.load_state_dict(torch.load(weights, weights_only=True))
        except (OSError, RuntimeError, ValueError) as error:
            raise TrainError(f"{weights} is not a state dict of '{card.name}': {error}") from error
    content = yaml.safe_load((card.folder / "card.yaml").read_text(encoding="utf-8"))
    return export_model(stages, plan, card.host, {k: v for k, v in content.items() if k != "stages"}, folder)
