# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From a trained checkpoint to a model folder with its card."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from vss_ros.assemble import (
    build_stages,
    host_named,
    load_card,
    load_model,
    load_settings,
    loaded_stages,
    motion_source,
    plan_for,
)
from vss_ros.core.card import ModelCard
from vss_ros.core.cpus import usable_cpus
from vss_ros.core.errors import TrainError
from vss_ros.core.frame import UNLABELLED, Frame, Segmentation
from vss_ros.core.method import Host, KeyframeMethod, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.resize import resize
from vss_ros.data.source import Source
from vss_ros.evaluate.calibration import Calibration
from vss_ros.evaluate.replay import replay
from vss_ros.runtimes.export import export_model, load_weights, write_entries
from vss_ros.runtimes.golden import write_golden_file
from vss_ros.runtimes.single_graph import export_single_graph
from vss_ros.runtimes.torch import TorchRuntime
from vss_ros.train.clips import part_of
from vss_ros.train.datasets import DATA_SETS, DataSet, data_set_of, labels_of, spread
from vss_ros.train.objective import extra_losses_of, names_in_host_of
from vss_ros.train.progress import Observer, unobserved
from vss_ros.train.recipe import Recipe
from vss_ros.train.replacing import replacing
from vss_ros.train.temperature import Fit, fit_on_stream, set_temperature
from vss_ros.train.trainer import Training, best_device


def prepare_training(
    recipe: Recipe,
    folder: Path,
    data: Path | None,
    *,
    observe: Observer = unobserved,
    models: Path = Path("models"),
) -> Training:
    """Fresh modules for a recipe, started from another model's weights where it says so.

    Args:
        recipe: what to train.
        folder: for checkpoints and the log.
        data: folder of the recipe's data set; its validation stream is measured while training. None measures nothing.
        observe: called after each step.
        models: folder of model folders that `start_from` is looked for in first.

    Raises:
        CardError: there is no model to start from.
        TrainError: a phase does not fit the method or the host, the labels are not those of the data, or its validation
            stream has none.
    """
    torch.manual_seed(recipe.seed)
    plan = plan_for(recipe.method, recipe.options)
    labels = labels_of(recipe, data)
    statistics = {"mean": recipe.mean, "std": recipe.std}
    stages = build_stages(recipe.method, plan, recipe.net, len(labels), heads=_wants_heads(recipe), **statistics)
    for module in stages.modules():
        if isinstance(module, nn.Dropout2d):
            module.p *= recipe.dropout
    check_phases(recipe, plan, host_named(recipe.net), [name for name, _ in stages.named_parameters()])
    if recipe.start_from:
        trained = models / recipe.start_from
        start = load_card(trained if trained.is_dir() else recipe.start_from)
        names = names_in_host_of(recipe.method) if start.method != recipe.method else str
        load_weights(stages, start, partly=True, called=names)
    host, device = host_named(recipe.net), best_device()
    measure = None
    if data is not None:
        video = data_set_of(recipe).video(data, "val")
        if not any(frame.truth is not None and (frame.truth != UNLABELLED).any() for frame in video):
            raise TrainError(f"labels were wanted in the validation stream, {video.name} has none; check its files")

        def measure(averaged: nn.ModuleDict) -> dict[str, float]:
            return {"val_miou": val_miou(plan, host, averaged, video, labels.names, recipe.input_size, device)}

    pixels = pixels_per_class(recipe, data, len(labels))
    extra = extra_losses_of(recipe.method)
    return Training(recipe, plan, host, stages, pixels, folder, measure, observe=observe, extra=extra, device=device)


def check_phases(recipe: Recipe, plan: TemporalMethod, host: Host, parameters: Sequence[str]) -> None:
    """Refuse before the first step what a later phase could not do, or would leave out without a word.

    Raises:
        TrainError: a phase trains what is not there, wants pairs of a method without keyframes, or crops what the host
            does not divide, or more than its synthetic drives show.
    """
    for number, phase in enumerate(recipe.phases, 1):
        unknown = [prefix for prefix in phase.trains if not any(name.startswith(prefix) for name in parameters)]
        if unknown:
            known = sorted({".".join(name.split(".")[:2]) for name in parameters})
            near = difflib.get_close_matches(unknown[0], [*known, *(name.split(".")[0] for name in known)], 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            raise TrainError(f"phase {number} trains '{unknown[0]}', the model has no such part; {hint}")
        if phase.distance and not isinstance(plan, KeyframeMethod):
            raise TrainError(
                f"phase {number} has distance {phase.distance}, which is of methods with keyframes, "
                f"got '{recipe.method}'; leave it out"
            )
        crop = phase.crop or recipe.crop
        if any(side < 1 or side % host.stride for side in crop):
            raise TrainError(
                f"phase {number}: crop wants multiples of {host.stride} px on {host.name}, got {list(crop)}"
            )
        drives = phase.remembered and any(data.source == "synthetic" for data in (*phase.data, *phase.unlabelled))
        if drives and any(side > most for side, most in zip(crop, recipe.input_size, strict=True)):
            raise TrainError(
                f"phase {number}: crop wants at most input_size {list(recipe.input_size)}, at which synthetic drives "
                f"are rendered, got {list(crop)}"
            )


def _wants_heads(recipe: Recipe) -> bool:
    return any(phase.auxiliary > 0 for phase in recipe.phases)


def pixels_per_class(recipe: Recipe, data: Path | None, classes: int) -> list[int]:
    """Pixels of each class in the pictures whose labels are trained on; equal where no data set has such."""
    sources = [source for phase in recipe.phases for source in phase.data if source.source in DATA_SETS]
    if data is None or not sources:
        return [1] * classes
    pictures = data_set_of(recipe).pictures(data, "train")
    counts = torch.zeros(256, dtype=torch.long)
    for part in sorted({source.part for source in sources}):
        for _, labels in spread(part_of(pictures, part, recipe.seed)):
            counts += torch.bincount(torch.from_numpy(labels).flatten().long(), minlength=256)
    return [int(count) for count in counts[:classes]]


def val_miou(
    plan: TemporalMethod,
    host: Host,
    stages: nn.ModuleDict,
    video: Source,
    names: tuple[str, ...],
    size: tuple[int, int],
    device: str,
) -> float:
    """mIoU of the streamed validation video, in bfloat16: good enough to watch training by."""
    training = stages.training
    runtime = TorchRuntime(stages, plan.stages(host), device=device, autocast=True)
    motion = motion_source(plan, "flow")
    segmenter = StreamSegmenter(plan, host, runtime, StreamOptions(size), resize=resize, motion=motion)
    miou = replay(video, segmenter, names).confusion.miou()
    stages.train(training)
    return round(miou, 4)


def publish(training: Training, stages: nn.ModuleDict, folder: Path, data: Path | None) -> ModelCard:
    """Export trained stages with their card, then measure the exported files and put the figures into the card.

    Args:
        training: the finished training.
        stages: its averaged modules; the temperature of their confidence is set.
        folder: `models/<name>`; an older one is replaced when the new one is whole.
        data: folder of the recipe's data set to measure on; None leaves the results empty.

    Raises:
        TrainError: something that is no model lies there.
        StageError: an exported stage does not give what torch gives.
    """
    recipe = training.recipe
    labels = labels_of(recipe, data)
    set_temperature(stages, 1.0)  # not that of the model it started from
    fit = Fit(1.0, None)
    if data is not None:
        video = data_set_of(recipe).video(data, "val")
        fit = fit_on_stream(training.plan, training.host, stages, video, recipe.input_size, training.device)
        set_temperature(stages.cpu(), fit.temperature)
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
        "temperature": fit.temperature,
        "training": _story(training),
        "results": {},
        "limits": list(recipe.limits),
        "licence": recipe.licence,
    }
    with replacing(folder) as made:
        exported = write_golden(export_model(stages, training.plan, training.host, card, made))
        if data is not None:
            measured = measure_exported(made, data, data_set_of(recipe), fit)
            exported = write_entries(exported, results={"val": measured})
    return replace(exported, folder=folder)


def write_golden(card: ModelCard) -> ModelCard:
    """Put golden frames into an exported model's folder and card; see `runtimes/golden.py`."""
    return write_entries(card, golden=write_golden_file(card))


def _story(training: Training) -> dict[str, Any]:
    """Data with their terms, recipe, seed, hardware and time of a training, for its card."""
    recipe = training.recipe
    log = [json.loads(line) for line in (training.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    cores = "1 CPU core" if usable_cpus() == 1 else f"{usable_cpus()} CPU cores"
    hardware = cores if training.device == "cpu" else torch.cuda.get_device_name()
    chosen_by = {
        "last": "the last epoch",
        "best": "the best val mIoU of the epochs that were measured; the val results are optimistic by that choice",
    }
    return {
        "recipe": f"config/recipes/{recipe.name}.yaml",
        "data": recipe.terms,
        "seed": recipe.seed,
        "epochs": len(log),
        "epoch_taken": training.epoch_taken,
        "chosen_by": chosen_by[recipe.keep],
        "minutes": round(sum(epoch["epoch_s"] for epoch in log) / 60),
        "hardware": f"{hardware}, bfloat16",
        "start_from": recipe.start_from or "random weights",
    }


class _CalibrationSink:
    """Takes each frame of a replay into a calibration."""

    def __init__(self) -> None:
        self.calibration = Calibration()

    def write(self, frame: Frame, result: Segmentation) -> None:
        if frame.truth is not None:
            self.calibration.add(frame.truth, result.labels, result.confidence)

    def close(self) -> None:
        """Nothing to close."""


def measure_exported(folder: Path, data: Path, data_set: DataSet, fit: Fit) -> dict[str, Any]:
    """What the model folder reaches on the validation stream, through ONNX Runtime.

    Args:
        folder: the exported model.
        data: folder of the data set.
        data_set: to measure on.
        fit: of the temperature in the files, to say what it changed.
    """
    model, sink = load_model(load_settings(values={"model.name": str(folder)})), _CalibrationSink()
    report = replay(data_set.video(data, "val"), model.stream(), model.card.labels, sinks=[sink]).report()
    figures = {key: report.get(key) for key in ("miou", "pixel_accuracy", "churn")}
    figures |= {"ece": sink.calibration.error(), "ece_at_temperature_1": fit.ece_before}
    return {
        "data": data_set.about_val,
        "command": f"vss replay DIR/{data.name} --model {model.card.name}",
        **{key: _rounded(figure) for key, figure in figures.items()},
        "calibration": "the temperature was fitted on this very stream; expect a larger error elsewhere",
        "iou": {name: _rounded(iou) for name, iou in report.get("iou", {}).items()},
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def export_again(model: str, folder: Path, weights: Path | None = None) -> ModelCard:
    """A model's stages written anew from its own files or from a state dict, compared with torch.

    Raises:
        CardError: the model cannot be read.
        TrainError: the state dict is not of this model, or something that is no model lies in the folder.
        StageError: an exported stage does not give what torch gives.
    """
    card, plan, stages = _load_stages(model, weights)
    content = yaml.safe_load((card.folder / "card.yaml").read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if key not in ("stages", "golden")}
    with replacing(folder) as made:
        exported = write_golden(export_model(stages, plan, card.host, kept, made))
    return replace(exported, folder=folder)


def export_as_single_graph(model: str, path: Path, size: Size | None = None, weights: Path | None = None) -> ModelCard:
    """A model's whole step in one ONNX file, streamed beside torch; see `runtimes/single_graph.py`.

    Raises:
        CardError: the model cannot be read.
        TrainError: the state dict is not of this model.
        StageError: the size does not fit, or the file does not give what torch gives.
    """
    card, plan, stages = _load_stages(model, weights)
    export_single_graph(stages, plan, card, path, size)
    return card


def _load_stages(model: str, weights: Path | None) -> tuple[ModelCard, TemporalMethod, nn.ModuleDict]:
    """A model's modules with its own weights, or with those of a state dict."""
    card = load_card(model)
    plan = plan_for(card.method, card.options)
    stages = loaded_stages(card, plan)
    if weights is not None:
        try:
            stages.load_state_dict(torch.load(weights, weights_only=True))
        except (OSError, RuntimeError, ValueError) as error:
            raise TrainError(f"{weights} is not a state dict of '{card.name}': {error}") from error
    return card, plan, stages
