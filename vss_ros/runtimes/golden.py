# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Golden frames: consecutive pictures in a model's folder, on which a backend must agree with the reference.

Only the pictures are kept. What the reference makes of them is computed where it is needed, at the size of picture that
the backend was built for: labels of another size would be no measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vss_ros.core.card import GoldenFile, ModelCard
from vss_ros.core.errors import CardError
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.core.keyframes import KeyframeRules
from vss_ros.core.method import Host, KeyframeMethod, Runtime, TemporalMethod
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
        labels_differ_again: the largest such share of a frame between its first and its second time on the backend
            that is checked, 0..1: steps that were recorded are replayed then.
        confidence_differs_again: the same of the confidence, 0..1.
    """

    labels_differ: float
    confidence_differs: float
    labels_differ_again: float = 0.0
    confidence_differs_again: float = 0.0

    def is_within(self, limits: GoldenFile) -> bool:
        """Whether the card takes it."""
        labels = self.labels_differ, self.labels_differ_again
        confidences = self.confidence_differs, self.confidence_differs_again
        return all(share <= limits.labels_differ_max for share in labels) and all(
            difference <= limits.confidence_differ_max for difference in confidences
        )

    def __str__(self) -> str:
        said = f"{self.labels_differ:.2%} of the labels differ, the confidence by {self.confidence_differs:.4f}"
        if not (self.labels_differ_again or self.confidence_differs_again):
            return said
        return (
            f"{said}, and of a frame that comes again up to {self.labels_differ_again:.2%}, "
            f"by {self.confidence_differs_again:.4f}"
        )


class GoldenCheck:
    """Compares a runtime with the reference on the golden frames of a card, there and back, see `frames_to_check`.

    After a reset the runtime is given the same frames again, and must give the same as the first time: by then it has
    recorded all kinds of steps, where it records any, and replays them.

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
        found, again = self._streamed(runtime, size, times=2)
        (wanted,) = self._streamed(self._reference(), size, times=1)
        labels, confidence = _differences(found, wanted)
        labels_again, confidence_again = _differences(again, found)
        return Agreement(
            *(float(labels.mean()), float(confidence.mean())),
            *(float(labels_again.max()), float(confidence_again.max())),
        )

    def _streamed(self, runtime: Runtime, size: Size, times: int) -> list[list[Segmentation]]:
        """What a stream gives of the frames, as often as `times` says, each time with an empty memory at first."""
        keyframes = KeyframeRules(within_s=(len(self._images) - 0.5) * _PERIOD_NS / 1e9)
        options = StreamOptions(self._card.input_size, input_size=size, output_size="model", keyframes=keyframes)
        what = self._plan, self._card.host, runtime, options
        # motion is no work of the backend
        stream = StreamSegmenter(*what, resize=self._resize, motion=ZeroMotion())
        there_and_back = [*self._images, *self._images[-2:0:-1]]
        count = frames_to_check(self._plan, self._card.host, len(self._images))
        found = []
        for time in range(times):
            images = islice(cycle(there_and_back), count)
            frames = (Frame(number * _PERIOD_NS, image, "golden") for number, image in enumerate(images, time * count))
            found.append([stream(frame) for frame in frames])
            stream.reset("to see them again")
        return found


def frames_to_check(plan: TemporalMethod, host: Host, golden: int) -> int:
    """Frames of a stream after which every kind of step has come up with full rings.

    A ring of n slots and a spare one is full after n frames, and each of its places comes up in the next n + 1. With
    keyframes the check has one every `golden` frames, or as often as the plan.

    Args:
        plan: of the stream.
        host: of the plan.
        golden: number of golden frames, which are the least.
    """
    slots = max((bank.slots for bank in plan.banks(host) if bank.every == 1), default=0)
    period = min(plan.period, golden) if isinstance(plan, KeyframeMethod) else 1
    return max(golden, 2 * slots * period + 1)


def _differences(
    some: Sequence[Segmentation], others: Sequence[Segmentation]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each frame the share of other labels, and the mean difference of the confidence, 0..1."""
    pairs = list(zip(some, others, strict=True))
    labels = [np.mean(one.labels != other.labels) for one, other in pairs]
    confidence = [np.mean(np.abs(one.confidence.astype(np.int16) - other.confidence)) / 255 for one, other in pairs]
    return np.array(labels), np.array(confidence)


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
