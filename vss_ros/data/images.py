# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames from a folder of pictures, in natural order."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_LOG = logging.getLogger(__name__)
_DEFAULT_FPS = 10.0


class ImageFolder:
    """The png and jpg files of a folder as Frames, `frame2` before `frame10`.

    A file that cannot be decoded is left out and counted in `skipped`; its time passes.

    Args:
        path: the folder.
        fps: pictures per second, for the stamps, which begin at 0; None for 10.

    Raises:
        DataError: no such folder, no pictures in it, or a rate that is not positive.
    """

    def __init__(self, path: str | Path, *, fps: float | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.skipped: dict[str, int] = {}
        self.classes: tuple[str, ...] | None = None
        self._fps = _DEFAULT_FPS if fps is None else fps
        if not self._fps > 0:
            raise DataError(f"a folder of images wants fps > 0, got {fps}")
        if not self.path.is_dir():
            raise DataError(f"a folder of images was wanted at {self.path}, but there is none; check the path")
        self.files = image_files(self.path)
        if not self.files:
            raise DataError(f"{self.path} was wanted with images ({', '.join(IMAGE_SUFFIXES)}), but has none")

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order; DataError at the end if not one file could be decoded."""
        self.skipped = {}
        read = 0
        for index, file in enumerate(self.files):
            bgr = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR) if file.stat().st_size else None
            if bgr is None:
                _LOG.warning("%s cannot be decoded and is left out", file)
                self.skipped["damaged file"] = self.skipped.get("damaged file", 0) + 1
                continue
            read += 1
            image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(round(index * 1e9 / self._fps), image, stream=self.name, frame_id="camera")
        if not read:
            raise DataError(f"none of the {len(self)} images in {self.path} can be decoded; look at them with a viewer")


def image_files(folder: Path) -> list[Path]:
    """Its pictures in natural order."""
    return sorted((file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES), key=_natural)


def _natural(file: Path) -> list[tuple[int, str]]:
    """Runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts if part]
