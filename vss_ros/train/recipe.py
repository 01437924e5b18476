# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training recipes: one strict YAML file per model, read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vss_ros.core.errors import TrainError

T = TypeVar("T")


@dataclass(frozen=True)
class Data:
    """One source of labelled pictures.

    Attributes:
        source: `synthetic` (rendered) or a data set of `train/datasets.py` (a folder).
        samples: clips drawn per epoch.
        drives: different synthetic streets, rendered once when the run starts.
        part: from which to which share of a data set's pictures, in an order that the recipe's seed shuffles.
    """

    source: str
    samples: int
    drives: int = 0
    part: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Phase:
    """A run of epochs with one learning rate schedule (one cycle up and down to zero).

    Attributes:
        epochs: passes; a pass draws `samples` of each data source.
        rate: peak learning rate of AdamW.
        data: sources mixed in each batch.
        trains: stages or `stage.module` prefixes whose parameters move; the rest is frozen in eval mode. Empty = all.
        remembered: most past frames in a clip; each batch draws 1..remembered of them (0 = single pictures).
        distance: for a method with keyframes: clips are pairs of a keyframe and a picture up to so many frames of
            pseudo-video after it, with the motion between them; 0 = no pairs.
        batch: clips per step.
        balance: c of the class weights 1 / ln(c + share of pixels); smaller favours rare classes more.
        jaccard: weight of the soft Jaccard loss beside the cross entropy.
        auxiliary: weight of the host's auxiliary heads beside it; 0 leaves them out.
        unlabelled: sources whose labels nobody looks at: each step takes as many of their clips for the mean teacher.
        crop: `(height, width)` px of the clips, where not the recipe's.
        zoom: smallest and largest scale a still is seen at. Half the size costs a quarter of the time.
        motion: factor on how fast pseudo-video moves. 1 is a slow walk, about 2 px a frame; CamVid's car makes 4 to 17.
        wear: strength of noise, defocus and compression drawn anew for each frame of pseudo-video, 0..1.
        focus: share of the stills that are centred on a pixel of a class; every class is drawn as often as any other.
    """

    epochs: int
    rate: float
    data: tuple[Data, ...]
    trains: tuple[str, ...] = ()
    remembered: int = 0
    distance: int = 0
    batch: int = 8
    balance: float = 1.10
    jaccard: float = 0.0
    auxiliary: float = 0.0
    unlabelled: tuple[Data, ...] = ()
    crop: tuple[int, int] | None = None
    zoom: tuple[float, float] = (0.7, 1.6)
    motion: float = 1.0
    wear: float = 0.0
    focus: float = 0.0

    def __post_init__(self) -> None:
        if self.distance and (self.remembered or self.unlabelled):
            raise TrainError(
                f"a phase of pairs up to {self.distance} frames apart remembers nothing else and wants labels; "
                "leave remembered and unlabelled out"
            )

    @property
    def samples(self) -> int:
        """Clips of one epoch: whole batches."""
        return sum(data.samples for data in self.data) // self.batch * self.batch


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on beside the data's folder.

    Attributes:
        name: name of the model folder it makes.
        summary: the card's one sentence.
        terms: data sets and what their terms allow, for the card.
        licence: of the weights, for the card.
        net: host network under `nets/`.
        method: plan under `methods/`.
        options: the plan's options.
        labels: label set under `config/labels/`.
        phases: run in order.
        start_from: model folder whose weights are loaded first: those of equal names, or where a method says that its
            own are called otherwise in a model of the host alone, those.
        seed: of everything random.
        crop: `(height, width)` px of training clips.
        input_size: `(height, width)` px the model is measured at and recommended for.
        weight_decay: of AdamW.
        averaging: decay of the exponential moving average of the weights, which is what is kept.
        dropout: factor on the network's dropout rates. The published ones suit runs many times as long.
        keep: which averaged weights are published: those of the `last` epoch, or of the epoch that was `best` on the
            validation stream among those that were measured.

    Raises:
        TrainError: `keep` is neither.
    """

    name: str
    summary: str
    terms: str
    licence: str
    net: str
    method: str
    labels: str
    phases: tuple[Phase, ...]
    options: dict[str, Any] = field(default_factory=dict)
    start_from: str = ""
    seed: int = 0
    crop: tuple[int, int] = (288, 384)
    input_size: tuple[int, int] = (360, 480)
    mean: tuple[float, float, float] = (0.3907, 0.4052, 0.4143)
    std: tuple[float, float, float] = (0.2965, 0.3051, 0.3008)
    weight_decay: float = 1e-4
    averaging: float = 0.998
    dropout: float = 1.0
    keep: str = "last"

    def __post_init__(self) -> None:
        if self.keep not in ("last", "best"):
            raise TrainError(f"keep wants 'last' or 'best', got '{self.keep}'")


def load_recipe(path: str | Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        TrainError: no such file, or a key that is unknown or missing.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainError(f"a recipe file was wanted at {path}, nothing is there; look in config/recipes")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or not isinstance(values.get("phases"), list):
        raise TrainError(f"{path} wants a mapping with a list of phases; compare it with config/recipes")
    phases = []
    for phase in values["phases"]:
        lists = {"data": phase.get("data", ()), "unlabelled": phase.get("unlabelled", ())}
        data = {name: tuple(_build(Data, _tuples(x), path) for x in entries) for name, entries in lists.items()}
        phases.append(_build(Phase, {**_tuples(phase), **data}, path))
    return _build(Recipe, {**_tuples(values), "phases": tuple(phases)}, path)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _build(kind: type[T], values: dict[str, Any], path: Path) -> T:
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(fields)}"
            raise TrainError(f"{path}: a {kind.__name__.lower()} has no key '{key}'{hint}")
    try:
        return kind(**values)
    except TypeError as error:
        raise TrainError(f"{path}: {kind.__name__.lower()}: {error}") from error
