# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training recipes: one strict YAML file per model, read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from vss_ros.core.errors import TrainError

T = TypeVar("T")

# of keys whatever they are in: the smallest and the largest value
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("samples", "epochs", "batch"), (1, math.inf)),
    **dict.fromkeys(("drives", "remembered", "distance", "seed"), (0, math.inf)),
    **dict.fromkeys(("jaccard", "auxiliary", "motion", "weight_decay", "dropout"), (0, math.inf)),
    **dict.fromkeys(("wear", "focus", "averaging"), (0, 1)),
}


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

    def __post_init__(self) -> None:
        _check_ranges(self)
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise TrainError(f"part wants two shares in 0..1, the smaller one first, got {list(self.part)}")


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
        _check_ranges(self)
        if self.samples < 1:
            wanted = sum(data.samples for data in self.data)
            raise TrainError(f"a phase wants clips for one batch of {self.batch} or more in data, got {wanted}")
        if not self.rate > 0 or not self.balance > 1:
            raise TrainError(f"a phase wants a rate above 0 and a balance above 1, got {self.rate} and {self.balance}")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise TrainError(f"zoom wants two scales above 0, the smaller one first, got {list(self.zoom)}")
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
        limits: what the model must not be trusted with, in sentences, for the card. Written before training, so
            without figures.

    Raises:
        TrainError: `keep` is neither, no phase, or a number out of its range (so too for phases and their data).
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
    # a checkpoint is of the recipe whose repr it holds, and words on the card change nothing that is trained
    limits: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        _check_ranges(self)
        if not self.phases:
            raise TrainError("a recipe wants at least one phase, got none")
        if self.keep not in ("last", "best"):
            raise TrainError(f"keep wants 'last' or 'best', got '{self.keep}'")


def load_recipe(path: str | Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        TrainError: no such file, no YAML, a key that is unknown or missing, or a value of another kind or out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainError(f"a recipe file was wanted at {path}, nothing is there; look in config/recipes")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise TrainError(f"{path} wants YAML: {said}; compare it with config/recipes") from error
    if not isinstance(values, dict) or not isinstance(values.get("phases"), list):
        raise TrainError(f"{path} wants a mapping with a list of phases; compare it with config/recipes")
    phases = []
    for phase in values["phases"]:
        if not isinstance(phase, dict):
            raise TrainError(f"{path}: a phase wants keys with values, got {phase!r}; compare it with config/recipes")
        data = {name: _sources(phase[name], name, path) for name in ("data", "unlabelled") if name in phase}
        phases.append(_build(Phase, {**_tuples(phase), **data}, path))
    return _build(Recipe, {**_tuples(values), "phases": tuple(phases)}, path)


def _sources(entries: Any, name: str, path: Path) -> tuple[Data, ...]:
    """Of the list below `data` or `unlabelled`."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TrainError(f"{path}: {name} wants a list such as [{{source: camvid, samples: 320}}], got {entries!r}")
    return tuple(_build(Data, _tuples(entry), path) for entry in entries)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _build(kind: type[T], values: dict[str, Any], path: Path) -> T:
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(fields)}"
            raise TrainError(f"{path}: a {kind.__name__.lower()} has no key '{key}'{hint}")
        if not _is_of(value, hints[key]):
            got = list(value) if isinstance(value, tuple) else value
            raise TrainError(
                f"{path}: {key} wants {_in_words(hints[key])}, got {reprlib.repr(got)}{_text_of_a_number(value)}"
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise TrainError(f"{path}: {kind.__name__.lower()}: {error}") from error
    except TrainError as error:
        raise TrainError(f"{path}: {error}") from error


def _check_ranges(made: Data | Phase | Recipe) -> None:
    for key in (f.name for f in dataclasses.fields(made) if f.name in _RANGES):
        (low, high), value = _RANGES[key], getattr(made, key)
        if not low <= value <= high:
            wanted = f"{low:g} or more" if math.isinf(high) else f"{low:g}..{high:g}"
            raise TrainError(f"{key} wants {wanted}, got {value}")


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is what a field's annotation says; whole numbers are numbers, true and false are not."""
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if kinds[-1] is Ellipsis:
            return all(_is_of(entry, kinds[0]) for entry in value)
        return len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if get_origin(hint) is dict:
        return isinstance(value, dict)
    if get_args(hint):  # this or None
        return any(_is_of(value, kind) for kind in get_args(hint))
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    """What a field takes, as one says it of a YAML file."""
    words = {int: "a whole number", float: "a number", str: "text", dict: "keys with values"}
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if get_origin(hint) is tuple:
        many = "a list" if kinds[-1] is Ellipsis else f"a list of {len(kinds)}"
        return f"{many}, each {words.get(kinds[0], 'a mapping')}"
    return words.get(get_origin(hint) or hint) or " or ".join(map(_in_words, kinds))


def _text_of_a_number(value: Any) -> str:
    """A hint for what YAML 1.1 takes for text: 1e-3 has no point."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    return f"; write {number:.1e} with a point, YAML takes {value} for text" if math.isfinite(number) else ""
