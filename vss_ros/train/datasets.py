# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The labelled data sets that recipes can name: what to train on, what to measure on, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vss_ros.core.errors import TrainError
from vss_ros.core.frame import UInt8Array
from vss_ros.data.camvid import CamVid, CamVidVideo
from vss_ros.data.cityscapes import Cityscapes, CityscapesVideo
from vss_ros.data.labels import LabelSet, load_labels
from vss_ros.data.source import Source
from vss_ros.data.vspw import VSPW, VSPWVideo, vspw_labels
from vss_ros.train.recipe import Recipe

Picture = tuple[UInt8Array, UInt8Array]


class Pictures(Protocol):
    """Labelled pictures: `(H, W, 3)` uint8 RGB with `(H, W)` labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Picture: ...


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as training uses it.

    Attributes:
        pictures: the labelled frames of a folder's split; with a method `clip(index, frames)` where they are of videos.
        video: the folder's split as a stream with truth.
        in_memory: whether all training pictures are decoded once; otherwise each is read when it is drawn.
        videos: whether training clips are real ones.
        labels: reads the classes from the folder, where the package does not ship them.
        about_val: what the validation stream is, for cards.
        label_set: name of its classes, as recipes say it.
    """

    pictures: Callable[[Path, str], Any]
    video: Callable[[Path, str], Source]
    about_val: str
    label_set: str
    in_memory: bool = False
    videos: bool = False
    labels: Callable[[Path], LabelSet] | None = None


DATA_SETS = {
    "camvid": DataSet(
        CamVid,
        CamVidVideo,
        "CamVid val, 101 frames at 15 Hz of drive 0016E5, 480x360, 11 classes, void ignored; "
        "it starts 1.3 s after and ends 1.0 s before training frames of the same drive",
        "camvid11",
        in_memory=True,
    ),
    "cityscapes": DataSet(
        Cityscapes,
        CityscapesVideo,
        "Cityscapes val, 500 labelled frames of 2048x1024, each the 20th of a snippet at 17 Hz where the sequences are "
        "there; 19 classes, what is not evaluated ignored",
        "cityscapes19",
        videos=True,
    ),
    "vspw": DataSet(
        VSPW,
        VSPWVideo,
        "VSPW val at 480p, every frame at 15 Hz, 124 classes, others and void ignored",
        "vspw124",
        videos=True,
        labels=vspw_labels,
    ),
}

_SYNTHETIC_LABELS = "camvid11"


def _sources(recipe: Recipe) -> list[str]:
    """Names of all that a recipe takes pictures from, with and without labels."""
    return sorted({data.source for phase in recipe.phases for data in (*phase.data, *phase.unlabelled)})


def data_set_of(recipe: Recipe) -> DataSet:
    """The data set that a recipe trains on; CamVid for one that has none, so that it can be measured.

    Raises:
        TrainError: the recipe names several, but there is one folder.
    """
    named = [source for source in _sources(recipe) if source in DATA_SETS]
    if len(named) > 1:
        raise TrainError(f"a recipe wants one data set with a folder, got {', '.join(named)}; train one after another")
    return DATA_SETS[named[0] if named else "camvid"]


def labels_of(recipe: Recipe, root: Path | None) -> LabelSet:
    """The recipe's label set, shipped with the package or read from the data set's folder.

    Raises:
        TrainError: one of its sources has other classes, whose numbers would be taken for those of the label set.
    """
    data_set = data_set_of(recipe)
    for source in _sources(recipe):
        has = DATA_SETS[source].label_set if source in DATA_SETS else _SYNTHETIC_LABELS
        if has != recipe.labels:
            raise TrainError(
                f"label set '{recipe.labels}' was wanted, but source '{source}' has the classes of '{has}'"
            )
    if data_set.labels is None:
        return load_labels(recipe.labels)
    if root is None:
        raise TrainError(f"label set '{recipe.labels}' is read from the data folder, got none; say --data DIR")
    return data_set.labels(root)


def spread(pictures: Pictures, most: int = 1_000) -> Iterator[Picture]:
    """At most about `most` of the pictures, evenly spread: enough to count classes by."""
    return (pictures[index] for index in range(0, len(pictures), max(len(pictures) // most, 1)))
