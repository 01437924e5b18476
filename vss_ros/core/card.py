# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Model cards: what a model folder says of itself. Parsed from a mapping; reading the file is `assemble`'s work."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from vss_ros.core.errors import CardError
from vss_ros.core.frame import UInt8Array
from vss_ros.core.method import Host
from vss_ros.core.prepare import Size


@dataclass(frozen=True)
class StageFile:
    """One exported stage: its file in the model folder and the sha256 of its bytes."""

    file: str
    sha256: str


@dataclass(frozen=True)
class GoldenFile:
    """Pictures on which a backend must agree with the reference before it is used.

    Attributes:
        file: a picture in the model folder, with consecutive frames one below the other.
        sha256: of its bytes.
        frames: how many there are.
        labels_differ_max: largest share of pixels that may get another label, 0..1.
        confidence_differ_max: largest mean difference of the confidence, 0..1.
    """

    file: str
    sha256: str
    frames: int
    labels_differ_max: float
    confidence_differ_max: float


@dataclass(frozen=True)
class ModelCard:
    """`models/<name>/card.yaml`.

    Attributes:
        name: name of the folder.
        summary: one sentence for `vss models`.
        method: plan under `methods/`.
        options: the plan's options, as trained.
        host: the single-frame network.
        labels: class names; the position is the id.
        palette: RGB of each class.
        input_size: `(height, width)` px the results were measured at.
        mean: of RGB in 0..1, as exported in the encode stage.
        std: of RGB in 0..1.
        temperature: of the confidence, as exported in the decode stage.
        stages: files by stage name.
        training: data with their terms, recipe, seed, hardware, time.
        results: measured figures with the command that prints them.
        limits: what the model must not be trusted with, in sentences.
        golden: pictures to check a backend on, or None.
        licence: of the weights.
        folder: where the card was read.
    """

    name: str
    summary: str
    method: str
    host: Host
    labels: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    input_size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stages: Mapping[str, StageFile]
    licence: str
    options: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    training: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    golden: GoldenFile | None = None
    folder: Path = Path()

    @property
    def colours(self) -> UInt8Array:
        """`(256, 3)` uint8 RGB by label; unlabelled and unknown ones are black."""
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(self.palette)] = self.palette
        return colours

    def stage_path(self, stage: str) -> Path:
        """The file of a stage, its bytes checked against the card.

        Raises:
            CardError: the card names no such stage, or the file is missing or changed.
        """
        if stage not in self.stages:
            raise CardError(
                f"model '{self.name}' wants a stage '{stage}', its card lists {', '.join(self.stages)}; export it again"
            )
        return self._intact(self.stages[stage].file, self.stages[stage].sha256)

    def golden_path(self) -> Path:
        """The file of the golden frames, its bytes checked against the card.

        Raises:
            CardError: the card names none, or the file is missing or changed.
        """
        if self.golden is None:
            raise CardError(f"model '{self.name}' wants golden frames, its card has none; run vss export with --golden")
        return self._intact(self.golden.file, self.golden.sha256)

    def _intact(self, file: str, wanted: str) -> Path:
        path = self.folder / file
        if not path.is_file():
            raise CardError(f"model '{self.name}' wants {path}, the file is missing; copy the whole model folder")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != wanted:
            raise CardError(
                f"{path} wants sha256 {wanted[:12]}..., got {found[:12]}...: the file is damaged or was exchanged; "
                "copy the model folder again, or export it again"
            )
        return path

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], folder: Path) -> ModelCard:
        """A card from the content of its file.

        Raises:
            CardError: a key is missing, unknown or of the wrong kind.
        """
        known = {f.name for f in fields(cls)} - {"folder"}
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}"
                raise CardError(f"{folder / 'card.yaml'} has an unknown key '{key}'; {hint}")
        try:
            built = {
                **values,
                "host": Host(**values["host"]),
                "labels": tuple(str(name) for name in values["labels"]),
                "palette": tuple((int(r), int(g), int(b)) for r, g, b in values["palette"]),
                "input_size": (int(values["input_size"][0]), int(values["input_size"][1])),
                "mean": tuple(float(x) for x in values["mean"]),
                "std": tuple(float(x) for x in values["std"]),
                "stages": {name: StageFile(**entry) for name, entry in values["stages"].items()},
                "limits": _sentences(values.get("limits", [])),
                "golden": GoldenFile(**values["golden"]) if values.get("golden") else None,
            }
            card = cls(**built, folder=folder)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CardError(
                f"{folder / 'card.yaml'} is not a model card: {type(error).__name__}: {error}; export the model again"
            ) from error
        if len(card.labels) != len(card.palette) or not card.labels:
            raise CardError(
                f"{folder / 'card.yaml'} wants one colour per label, "
                f"got {len(card.labels)} labels and {len(card.palette)} colours; give each label its colour"
            )
        return card


def _sentences(limits: Any) -> tuple[str, ...]:
    if not isinstance(limits, list) or not all(isinstance(sentence, str) for sentence in limits):
        raise TypeError(f"limits wants a list of sentences, got {limits!r}")
    return tuple(limits)
