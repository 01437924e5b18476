# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Golden frames: consecutive pictures in a model's folder, on which a backend must agree with the reference.

Only the pictures are kept. What the reference makes of them is computed where it is needed, at the size of picture that
the backend was built for: labels of another size would be no measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vss_ros.core.card import GoldenFile, ModelCard
from vss_ros.core.errors import CardError
from vss_ros.core.frame import Frame, UInt8Array
from vss_ros.core.method import Runtime, TemporalMethod
from vss_ros.core.motion import ZeroMotion
from vss_ros.core.prepare import Resize, Size, like
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.synthetic import SyntheticDrive

_FILE = "golden.jpg"
_FRAMES = 3  # the first has no memory to read, the others have
_LARGEST = (360, 480)  # px; larger pictures are not worth their bytes
_SEED = 2026
_QUALITY = 90
_PERIOD_NS = 66_666_667
_LABELS_DIFFER_MAX = 0.005  # half precision was measured to change 0.0002 of the labels
_CONFIDENCE_DIFFER_MAX = 0.01


@dataclass(frozen=True)
class Agreement:
    """How far two backends are from each other on the golden frames.

    Attributes:
        labels_differ: share of the pixels with another label, 0..1.
        confidence_differs: mean difference of the confidence, 0..1.
    """

    labels_differ: float
    confidence_differs: float

    def is_within(self, limits: GoldenFile) -> bool:
        """Whether the card takes it."""
        return (
            self.labels_differ <= limits.labels_differ_max and self.confidence_differs <= limits.confidence_differ_max
        )

    def __str__(self) -> str:
        return f"{self.labels_differ:.2%} of the labels differ, the confidence by {self.confidence_differs:.4f}"


class GoldenCheck:
    """Compares a runtime with the reference on the golden frames of a card.

    Args:
        card: the model; it has golden frames.
        plan: as the streams run it.
        reference: makes the runtime that is right.
        resize: to the network's picture.

    Raises:
        CardError: the golden frames are missing or damaged.
    """

    def __init__(self, card: ModelCard, plan: TemporalMethod, reference: Callable[[], Runtime], resize: Resize) -> None:
        self._card, self._plan, self._reference, self._resize = card, plan, reference, resize
        self._images = golden_images(card)

    def __call__(self, runtime: Runtime, size: Size) -> Agreement:
        """The agreement at pictures of `(height, width)` px; runs the frames on both."""
        labels, confidence = self._stream(runtime, size)
        wanted_labels, wanted_confidence = self._stream(self._reference(), size)
        error = np.abs(confidence.astype(np.int16) - wanted_confidence)
        return Agreement(float(np.mean(labels != wanted_labels)), float(np.mean(error)) / 255)

    def _stream(self, runtime: Runtime, size: Size) -> tuple[UInt8Array, UInt8Array]:
        options = StreamOptions(self._card.input_size, input_size=size, output_size="model")
        what = self._plan, self._card.host, runtime, options
        # motion is no work of the backend
        stream = StreamSegmenter(*what, resize=self._resize, motion=ZeroMotion())
        results = [stream(Frame(number * _PERIOD_NS, image)) for number, image in enumerate(self._images)]
        return np.stack([r.labels for r in results]), np.stack([r.confidence for r in results])


def golden_images(card: ModelCard) -> list[UInt8Array]:
    """The golden frames `(H, W, 3)` uint8 RGB in order; the file has them one below the other.

    Raises:
        CardError: the card names none, or the file is missing or damaged.
    """
    path = card.golden_path()
    assert card.golden is not None, "golden_path refuses such a card"
    strip = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    frames = card.golden.frames
    if strip is None or frames < 1 or strip.shape[0] % frames:
        found = "no picture" if strip is None else f"{strip.shape[0]} rows"
        raise CardError(
            f"{path} wants {frames} pictures of one height, got {found}; write it anew with vss export --golden"
        )
    images: list[UInt8Array] = np.split(np.asarray(cv2.cvtColor(strip, cv2.COLOR_BGR2RGB), np.uint8), frames)
    return images


def write_golden_file(card: ModelCard) -> dict[str, Any]:
    """Write golden frames of the synthetic drive into a model's folder.

    Returns:
        The card's entry `golden`, which is not written.
    """
    height, width = card.input_size
    size = (
        like(card.input_size, _LARGEST, card.host.stride)
        if height * width > _LARGEST[0] * _LARGEST[1]
        else card.input_size
    )
    strip = np.concatenate([f.image for f in SyntheticDrive(_SEED, size=size, frames=_FRAMES, motion=False)])
    good, coded = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not good:
        raise CardError(f"a JPEG of {strip.shape[1]}x{strip.shape[0]} px was wanted, OpenCV made none; update it")
    content = coded.tobytes()
    (card.folder / _FILE).write_bytes(content)
    return {
        "file": _FILE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "frames": _FRAMES,
        "labels_differ_max": _LABELS_DIFFER_MAX,
        "confidence_differ_max": _CONFIDENCE_DIFFER_MAX,
    }
