# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One door to all sources of frames: `open_source` looks what lies at a path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame
from vss_ros.data.bag import BagSource
from vss_ros.data.camvid import ALL, CamVidVideo
from vss_ros.data.cityscapes import CityscapesVideo
from vss_ros.data.images import IMAGE_SUFFIXES, ImageFolder, image_files
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.data.video import VIDEO_SUFFIXES, VideoSource
from vss_ros.data.vspw import VSPWVideo

_BAG_SUFFIXES = (".mcap", ".db3", ".bag")
_SYNTHETIC = re.compile(r"synthetic(?::(?P<seed>\d+)(?:x(?P<frames>\d+))?)?")
_KINDS = (
    f"a bag (folder with metadata.yaml, or {', '.join(_BAG_SUFFIXES)}), a video ({', '.join(VIDEO_SUFFIXES)}), "
    f"a folder of images ({', '.join(IMAGE_SUFFIXES)}), a folder of CamVid, Cityscapes or VSPW, "
    "or synthetic:SEED[xFRAMES]"
)


@runtime_checkable
class Source(Protocol):
    """Frames in order; each iteration starts from the beginning.

    Attributes:
        name: what a report calls it.
        skipped: frames left out in the current or last iteration, by cause.
    """

    name: str
    skipped: dict[str, int]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the truth's classes by id; None where there is no truth, or nothing says what its ids mean."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(
    path: str | Path,
    *,
    topic: str | None = None,
    truth_topic: str | None = None,
    fps: float | None = None,
    motion: bool = False,
    split: str = "val",
) -> Source:
    """The frames at a path.

    Args:
        path: a bag, a video, a folder of images, a folder of CamVid, Cityscapes or VSPW (its validation video), or
            `synthetic:SEED[xFRAMES]`.
        split: of a data set; of CamVid `val` is the drive at video rate, any other every labelled frame.
        topic: image topic, for a bag with several.
        truth_topic: of a bag, mono8 labels with the images' stamps; not needed for `.../labels_truth`.
        fps: frames per second, for images and the synthetic drive, which have no times of their own.
        motion: give each frame of a video the motion that its codec found, where it tells it.

    Raises:
        DataError: nothing there, or nothing of these; or an option that does not apply.
    """
    text = str(path)
    made_up = _SYNTHETIC.fullmatch(text)
    place = Path(path)
    is_bag = made_up is None and _is_bag(place)
    given = topic if topic is not None else truth_topic
    if given is not None and not is_bag and (made_up or place.exists()):
        raise DataError(f"only a bag has topics, but {text} is none and topic {given!r} was given; leave it out")
    data_set = None if made_up or is_bag else _data_set(place)
    if split != "val" and data_set is None and (made_up or place.exists()):
        raise DataError(
            f"only a folder of CamVid, Cityscapes or VSPW has splits, but {text} is none; leave out {split!r}"
        )
    if made_up:
        seed, frames = int(made_up["seed"] or 0), int(made_up["frames"] or 100)
        return SyntheticDrive(seed, frames=frames, fps=fps or 15.0)
    if text.startswith("synthetic:"):
        raise DataError(f"synthetic:SEED or synthetic:SEEDxFRAMES was wanted, such as synthetic:3x60, got {text!r}")
    if not place.exists():
        raise DataError(f"a source of frames was wanted at {text}, but nothing is there{_nearest(place)}")
    if is_bag:
        return BagSource(place, topic=topic, truth_topic=truth_topic, motion=motion)
    if place.is_file():
        if place.suffix.lower() in VIDEO_SUFFIXES:
            return VideoSource(place, motion=motion)
    elif data_set is CamVidVideo and split != "val":
        return CamVidVideo(place, split, ALL)
    elif data_set is not None:
        return data_set(place, split)
    elif image_files(place):
        return ImageFolder(place, fps=fps)
    raise DataError(f"{text} is of no known kind; wanted: {_KINDS}")


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(file.suffix in (".mcap", ".db3") for file in path.iterdir())
    return path.is_file() and path.suffix.lower() in _BAG_SUFFIXES


def _data_set(place: Path) -> type[CamVidVideo] | type[CityscapesVideo] | type[VSPWVideo] | None:
    """Which data set's layout a folder has."""
    if (place / "sequences.json").is_file():
        return CamVidVideo
    if (place / "gtFine").is_dir() and (place / "leftImg8bit").is_dir():
        return CityscapesVideo
    if (place / "val.txt").is_file() and (place / "data").is_dir():
        return VSPWVideo
    return None


def _nearest(path: Path) -> str:
    """The existing name most like a missing one."""
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    names = [file.name for file in folder.iterdir()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f"; did you mean {folder / close[0]}?" if close else f"; {folder} has nothing of a like name"
