# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Models, or one model with different memories, on the same frames: accuracy, steadiness, calibration, cost.

Every frame is segmented by each contender before the next one, so that a busy machine slows all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.assemble import Model
from vss_ros.core.errors import ConfigError, FrameError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.prepare import like
from vss_ros.evaluate.calibration import Calibration
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.evaluate.replay import Figures
from vss_ros.evaluate.steadiness import TemporalConsistency, VideoConsistency
from vss_ros.runtimes.cost import method_cost

_RESAMPLED = 1000  # draws of the bootstrap
_BLOCK = 15  # frames; neighbours err alike, so whole seconds are drawn


ABLATIONS: dict[str, dict[str, Sequence[int]]] = {
    "on": {},
    "off": {"slots": (0,)},
    "slots": {"slots": (0, 1, 2, 3, 4, 5)},
    "window": {"window": (1, 11, 21, 41)},
}


@dataclass(frozen=True)
class Contender:
    """A model under the name that it has in the table."""

    name: str
    model: Model


def contenders_of(
    models: Sequence[Model], ablation: str, tuned: Callable[[Model, dict[str, int]], Model]
) -> list[Contender]:
    """Each model as it is, and with the memories of an ablation where it has a memory.

    Args:
        models: loaded.
        ablation: one of ABLATIONS: `on` adds nothing, `off` the model without memory, `slots` and `window` the tables.
        tuned: the model with some settings of the group `memory` changed.

    Raises:
        ConfigError: no such ablation, or two models of one name.
    """
    if ablation not in ABLATIONS:
        raise ConfigError(f"--memory wants one of {', '.join(ABLATIONS)}, got '{ablation}'")
    found = [Contender(model.card.name, model) for model in models]
    for model in models:
        for key, values in ABLATIONS[ablation].items():
            own = getattr(model.plan, key, None)
            changed = [value for value in values if own is not None and value != own]
            found += [Contender(f"{model.card.name}, {key} {n}", tuned(model, {f"memory.{key}": n})) for n in changed]
    names = [contender.name for contender in found]
    if len(set(names)) != len(names):
        raise ConfigError(f"different models were wanted, got {', '.join(names)}; name each one once")
    return found


class Measures:
    """Everything that is measured of one contender; frames are added in order."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.figures = Figures(classes)
        self._vc = {frames: VideoConsistency(frames) for frames in (8, 16)}
        self._tc = TemporalConsistency(len(classes))
        self._calibration = Calibration()
        self.confusions: list[npt.NDArray[np.int64]] = []  # of each frame, for the bootstrap

    def add(self, frame: Frame, result: Segmentation) -> None:
        """Count one frame with its segmentation."""
        before = self.figures.confusion.counts.copy()
        self.figures.add(frame, result)
        if result.reset:  # the frames before belong to another piece of video
            self._tc.end()
            for consistency in self._vc.values():
                consistency.end()
        if result.labels.shape == frame.size:
            self._tc.add(frame.image, result.labels)
        if frame.truth is None or self.figures.truth_ignored:
            return
        self.confusions.append(self.figures.confusion.counts - before)
        for consistency in self._vc.values():
            consistency.add(frame.truth, result.labels)
        self._calibration.add(frame.truth, result.labels, result.confidence)

    def report(self) -> dict[str, Any]:
        """Plain keys with units in their names; None where it cannot be said."""
        steady: dict[str, Any] = {"tc": self._tc.value(), "tc_flow": self._tc.flow_name}
        for frames, consistency in self._vc.items():
            steady |= {f"vc{frames}": consistency.value(), f"vc{frames}_strict": consistency.strict()}
        return {
            **self.figures.report(),
            **steady,
            "calibration_error": self._calibration.error(),
            "calibration": self._calibration.curve(),
        }


def evaluate(
    source: Iterable[Frame], contenders: Sequence[Contender], *, progress: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """A report for each contender, and one for the truth of the frame before where there is truth.

    That last one is the floor of anything temporal: it copies what was right a frame ago.

    Raises:
        ConfigError: no contender, or contenders of different classes.
        DataError: the source cannot be read.
    """
    if not contenders or len({c.model.card.labels for c in contenders}) != 1:
        raise ConfigError("models of the same classes were wanted, to be compared; evaluate others on their own")
    classes = contenders[0].model.card.labels
    measures = {c.name: Measures(classes) for c in contenders}
    streams = {c.name: c.model.stream() for c in contenders}
    floor, before, size = Measures(classes), None, None
    for index, frame in enumerate(source):
        progress()
        size = frame.size
        names = list(streams)
        turn = index % len(names)  # whoever comes first finds cold caches
        reset = None
        for name in names[turn:] + names[:turn]:
            try:
                result = streams[name](frame)
            except FrameError as error:
                measures[name].figures.dropped[str(error)] += 1
                continue
            reset = reset or result.reset
            measures[name].add(frame, result)
        if frame.truth is not None and before is not None and before.shape == frame.size and reset is None:
            floor.add(frame, Segmentation(frame.stamp_ns, before, np.full_like(before, 255)))
        before = frame.truth
    reports = [
        {
            "model": c.name,
            **_setting(c.model),
            **measures[c.name].report(),
            "memory_mb": streams[c.name].memory_bytes / 1e6,
            **_cost(c.model, size, ran=measures[c.name].figures.parts_ms),
        }
        for c in contenders
    ]
    _compare(reports, [measures[c.name] for c in contenders])
    if floor.figures.confusion.pixels:
        kept = ("miou", "pixel_accuracy", "iou", "tc", "tc_flow", "vc8", "vc8_strict", "vc16", "vc16_strict", "churn")
        report = floor.report()
        reports.append({"model": "truth of the frame before", **{key: report[key] for key in kept}})
    return reports


def _setting(model: Model) -> dict[str, Any]:
    """The memory that a contender ran with; None for a method that has none."""
    return {f"memory_{name}": getattr(model.plan, name, None) for name in ("slots", "window")}


def _cost(model: Model, size: tuple[int, int] | None, ran: Container[str]) -> dict[str, Any]:
    """Parameters and multiply-adds of the stages that ran; None without onnx."""
    if size is None:
        return {}
    options, stride = model.options, model.card.host.stride
    ran_at = options.input_size or like(size, options.model_size, stride)
    found: dict[str, Any] = {"input_size": list(ran_at)}
    try:
        costs = {part: c for part, c in method_cost(model.card, model.plan, ran_at).items() if part in ran}
    except ImportError:
        return found | {"gmac": None, "parameters": None}
    return found | {
        "gmac": sum(cost.macs for cost in costs.values()) / 1e9,
        "gmac_by_stage": {stage: cost.macs / 1e9 for stage, cost in costs.items()},
        "parameters": sum(cost.parameters for cost in costs.values()),
    }


def _compare(reports: list[dict[str, Any]], measures: list[Measures]) -> None:
    """Add each contender's latency and mIoU against the first one's."""
    first = measures[0]
    for report, measure in zip(reports, measures, strict=True):
        totals = [np.array(m.figures.parts_ms.get("total", [])[1:]) for m in (measure, first)]
        if totals[0].size and totals[0].size == totals[1].size:
            report["latency_times_first"] = float(np.median(totals[0] / totals[1]))
        if measure is not first and measure.confusions and len(measure.confusions) == len(first.confusions):
            low, mean, high = miou_difference(measure.confusions, first.confusions)
            report |= {"miou_over_first": mean, "miou_over_first_95": [low, high]}


def miou_difference(
    one: Sequence[npt.NDArray[np.int64]], other: Sequence[npt.NDArray[np.int64]], seed: int = 0
) -> tuple[float, float, float]:
    """2.5 %, the difference itself, and 97.5 % of mIoU(one) - mIoU(other), by a bootstrap over blocks of frames.

    Blocks of consecutive frames are drawn, the same for both: frames of a video resemble their neighbours, and drawing
    them one by one would make the interval too narrow. The video is closed to a ring, so that its ends are drawn as
    often as its middle (circular block bootstrap, Politis and Romano 1992).

    Args:
        one, other: confusion matrices `(K, K + 1)` of the same frames in order.
        seed: of the draws.
    """
    pair = np.stack([np.stack(one), np.stack(other)])
    frames = pair.shape[1]
    block = min(_BLOCK, frames)
    rng, differences = np.random.default_rng(seed), []
    for _ in range(_RESAMPLED):
        starts = rng.integers(0, frames, -(-frames // block))
        drawn = (starts[:, None] + np.arange(block)).ravel()[:frames] % frames
        differences.append(_miou(pair[0, drawn].sum(0)) - _miou(pair[1, drawn].sum(0)))
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), _miou(pair[0].sum(0)) - _miou(pair[1].sum(0)), float(high)


def _miou(counts: npt.NDArray[np.int64]) -> float:
    confusion = ConfusionMatrix(len(counts))
    confusion.counts = counts
    return confusion.miou()
