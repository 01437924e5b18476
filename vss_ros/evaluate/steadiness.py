# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How steady labels are over time: video consistency (VC) and temporal consistency (TC).

VC is Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild", CVPR 2021. TC warps a frame's
labels to the frame before, as Liu et al., "Efficient Semantic Video Segmentation with Per-frame Inference", ECCV 2020.
Values of TC can be compared only if the same flow made them, so its name stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import ConfigError
from vss_ros.core.frame import UNLABELLED, FloatArray, UInt8Array
from vss_ros.evaluate.bootstrap import Pairs, pairs_of
from vss_ros.evaluate.metrics import ConfusionMatrix

# two (H, W, 3) pictures to (H, W, 2) px from the first to the second; `name` says what it is, where it has one
Flow = Callable[[UInt8Array, UInt8Array], FloatArray]


class VideoConsistency:
    """VC of n frames: where the truth stays the same over n frames, how much of the labels does.

    Frames are added in order; each window of n frames but the video's last one is averaged, as VSPW's script does, so
    that values can be compared. Pixels without truth (255) count as a class that stays the same there, too.
    `strict` leaves them out, and wants the labels to be right besides.

    Args:
        frames: n, at least 2; 8 and 16 are usual.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._shares: list[tuple[float, float]] = []
        self._window: tuple[float, float] | None = None  # of the newest frame; counts once another frame has come
        self._before: tuple[UInt8Array, UInt8Array] | None = None

    def add(self, truth: UInt8Array, labels: UInt8Array) -> None:
        """The next frame's `(H, W)` truth and labels; another size begins a new video."""
        if self._before is None or self._before[0].shape != truth.shape:
            self.end()
            self._steady_truth, self._steady, self._right = (np.zeros(truth.shape, np.int32) for _ in range(3))
        elif self._window is not None:
            self._shares.append(self._window)
        right = (labels == truth) & (truth != UNLABELLED)
        same_truth = np.ones(truth.shape, bool) if self._before is None else truth == self._before[0]
        same = np.ones(truth.shape, bool) if self._before is None else labels == self._before[1]
        # how many frames up to this one had the same truth, the same label, the right label
        self._steady_truth = np.where(same_truth, self._steady_truth + 1, 1)
        self._steady = np.where(same, self._steady + 1, 1)
        self._right = np.where(right, self._right + 1, 0)
        self._before = truth, labels
        self._window = self._share(truth)

    def end(self) -> None:
        """The video is over: the window that ends with its last frame is left out, what comes is another video."""
        self._window = self._before = None

    def _share(self, truth: UInt8Array) -> tuple[float, float] | None:
        fixed = self._steady_truth >= self.frames
        if not fixed.any():
            return None
        known = fixed & (truth != UNLABELLED)
        strict = float(np.mean(self._right[known] >= self.frames)) if known.any() else float("nan")
        return float(np.mean(self._steady[fixed] >= self.frames)), strict

    @property
    def windows(self) -> list[float]:
        """VC of each window; which they are, truth alone decides."""
        return [share for share, _ in self._shares]

    def value(self) -> float | None:
        """VC in 0..1, or None where no window was complete."""
        return float(np.mean(self.windows)) if self._shares else None

    def strict(self) -> float | None:
        """The same of right labels only."""
        known = [share for _, share in self._shares if not np.isnan(share)]
        return float(np.mean(known)) if known else None


class TemporalConsistency:
    """TC: mean IoU of each frame's labels with the next frame's, brought back along the optical flow.

    Args:
        classes: number of classes.
        flow: from the first picture to the second; DIS of OpenCV (Kroeger et al., ECCV 2016) if not given.
    """

    def __init__(self, classes: int, flow: Flow | None = None) -> None:
        self._flow = DisFlow() if flow is None else flow
        self.flow_name: str = getattr(self._flow, "name", "custom")
        self._agreement = ConfusionMatrix(classes)
        self.pairs: list[Pairs] = []  # of each two frames, for the bootstrap
        self._before: tuple[UInt8Array, UInt8Array] | None = None

    def add(self, image: UInt8Array, labels: UInt8Array) -> None:
        """The next frame's `(H, W, 3)` RGB picture and `(H, W)` labels of the same size."""
        if self._before is not None and self._before[1].shape == labels.shape:
            warped, inside = warp_labels(labels, self._flow(self._before[0], image))
            so_far = self._agreement.counts.copy()
            self._agreement.add(np.where(inside, self._before[1], np.uint8(UNLABELLED)), warped)
            self.pairs.append(pairs_of(self._agreement.counts - so_far))
        self._before = image, labels

    def end(self) -> None:
        """The video is over."""
        self._before = None

    def value(self) -> float | None:
        """TC in 0..1, or None before the second frame."""
        return self._agreement.miou() if self._agreement.pixels else None


def warp_labels(labels: UInt8Array, flow: npt.NDArray[np.floating]) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """`(H, W)` labels as the earlier frame would see them, nearest, and where the flow stays inside the picture.

    Args:
        labels: of the later frame.
        flow: `(H, W, 2)` px from the earlier frame's pixels to the later frame's.
    """
    height, width = labels.shape
    rows, columns = np.indices(labels.shape)
    x, y = np.rint(columns + flow[..., 0]).astype(int), np.rint(rows + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return labels[y.clip(0, height - 1), x.clip(0, width - 1)], inside


class DisFlow:
    """OpenCV's dense inverse search at its medium preset; needs no weights."""

    name = "DIS medium"

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, before: UInt8Array, now: UInt8Array) -> FloatArray:
        grey = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (before, now))
        return np.asarray(self._search.calc(*grey, None), np.float32)  # type: ignore[call-overload]


class OncePerPair:
    """A flow that all contenders of an evaluation share: they ask for the same two pictures, one after another.

    Args:
        flow: computes it, once for each two pictures in a row; its results are not to be changed.
    """

    def __init__(self, flow: Flow) -> None:
        self.name: str = getattr(flow, "name", "custom")
        self._flow = flow
        self._newest: tuple[UInt8Array, UInt8Array, FloatArray] | None = None

    def __call__(self, before: UInt8Array, now: UInt8Array) -> FloatArray:
        newest = self._newest
        if newest is None or newest[0] is not before or newest[1] is not now:
            newest = self._newest = (before, now, self._flow(before, now))
        return newest[2]


def flow_named(name: str) -> Flow:
    """The flow that is meant by `dis`, or by `raft:` and a file with weights.

    Raises:
        ConfigError: another name.
        BackendError: RAFT's libraries are missing.
        DataError: the file has no weights of RAFT.
    """
    kind, _, weights = name.partition(":")
    if name == "dis":
        return DisFlow()
    if kind != "raft" or not weights:
        raise ConfigError(f"--flow wants dis or raft:WEIGHTS.pth, got '{name}'")
    from vss_ros.evaluate.raft import RaftFlow

    return RaftFlow(Path(weights))
