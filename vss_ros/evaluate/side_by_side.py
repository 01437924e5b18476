# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Models, or one model with different memories, on the same frames: accuracy, steadiness, calibration, cost.

Every frame is segmented by each contender before the next one, so that a busy machine slows all alike.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np

from vss_ros.assemble import Model
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import ConfigError, DataError, FrameError
from vss_ros.core.frame import UNLABELLED, Frame, Segmentation, UInt8Array
from vss_ros.core.method import KeyframeMethod
from vss_ros.core.prepare import Size, like
from vss_ros.core.segmenter import StreamSegmenter
from vss_ros.data.source import Source
from vss_ros.evaluate.bootstrap import BLOCK, Interval, Pairs, mean_difference, miou_difference, pairs_of
from vss_ros.evaluate.calibration import Calibration
from vss_ros.evaluate.metrics import churn
from vss_ros.evaluate.quantities import FLOOR
from vss_ros.evaluate.replay import Figures, has_other_classes
from vss_ros.evaluate.steadiness import DisFlow, Flow, OncePerPair, TemporalConsistency, VideoConsistency
from vss_ros.runtimes.cost import method_cost

log = logging.getLogger(__name__)

# Keys that every report has, None where they cannot be said.
_ALWAYS = ("model", "miou", "tc", "vc8", "latency_p50_ms", "gmac", "parameters", "memory_mb")

GLOBAL = "global"  # a window that holds the whole picture wherever it is centred

ABLATIONS: dict[str, dict[str, Sequence[int | str]]] = {
    "on": {},
    "off": {"slots": (0,)},
    "slots": {"slots": (0, 1, 2, 3, 4, 5)},
    "window": {"window": (1, 11, 21, 41, GLOBAL)},
}


@dataclass(frozen=True)
class Contender:
    """A model under the name that it has in the table."""

    name: str
    model: Model


class Observer(Protocol):
    """Sees every frame with what each contender made of it, in order."""

    def see(self, frame: Frame, results: Mapping[str, Segmentation]) -> None:
        """`results` are by name of the contender; one that refused the frame is missing."""
        ...


def contenders_of(
    models: Sequence[Model], ablation: str, camera: Callable[[], Size], tuned: Callable[[Model, dict[str, int]], Model]
) -> list[Contender]:
    """Each model as it is, and with the memories of an ablation where it has a memory.

    Models are called as their cards call them, and those that share a name by their folders.

    Args:
        models: loaded.
        ablation: one of ABLATIONS: `on` adds nothing, `off` the model without memory, `slots` and `window` the tables.
        camera: gives `(height, width)` px of the pictures; asked only where they say how large a global window is.
        tuned: the model with some settings of the group `memory` changed.

    Raises:
        ConfigError: no such ablation, or one model twice.
    """
    if ablation not in ABLATIONS:
        raise ConfigError(f"--memory wants one of {', '.join(ABLATIONS)}, got '{ablation}'")
    cards = Counter(model.card.name for model in models)
    called = [m.card.name if cards[m.card.name] == 1 else str(m.card.folder) for m in models]
    found = [Contender(name, model) for name, model in zip(called, models, strict=True)]
    for base, model in zip(called, models, strict=True):
        for key, values in ABLATIONS[ablation].items():
            own = getattr(model.plan, key, None)
            for value in values:
                cells = _global_window(model, camera()) if value == GLOBAL else int(value)
                if own is None or cells == own:
                    continue
                try:
                    found.append(Contender(f"{base}, {key} {value}", tuned(model, {f"memory.{key}": cells})))
                except ConfigError as error:
                    if value != GLOBAL:
                        raise
                    log.warning("%s has no row with a global window: %s", base, error)
    names = [contender.name for contender in found]
    if len(set(names)) != len(names):
        raise ConfigError(f"different models were wanted, got {', '.join(names)}; name each one once")
    return found


def _global_window(model: Model, camera: Size) -> int:
    """Side length in cells of the smallest window that holds all cells around each of them."""
    stride = model.card.host.stride
    return 2 * (max(_input_size(model, camera)) // stride) - 1


def _input_size(model: Model, camera: Size) -> Size:
    return model.options.input_size or like(camera, model.options.model_size, model.card.host.stride)


def check_classes(source: Source, card: ModelCard) -> None:
    """Refuse a source whose truth is known to have other classes than the model.

    Raises:
        DataError: other names, or the same ones in another order.
    """
    wanted, got = card.labels, source.classes
    if got is None or not has_other_classes(source, wanted):
        return
    pairs = enumerate(zip_longest(wanted, got))
    first, (ours, theirs) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    raise DataError(
        f"truth of the {len(wanted)} classes of '{card.name}' was wanted, {source.name} has {len(got)} classes: "
        f"id {first} is {ours or 'no class'} in the model and {theirs or 'no class'} in the truth; "
        "choose a model or a source with the classes of the other"
    )


class Measures:
    """Everything that is measured of one contender; frames are added in order."""

    def __init__(self, classes: Sequence[str], flow: Flow) -> None:
        self.figures = Figures(classes)
        self._vc = {frames: VideoConsistency(frames) for frames in (8, 16)}
        self._tc = TemporalConsistency(len(classes), flow)
        self._calibration = Calibration()
        self.confusions: list[Pairs] = []  # of each frame, for the bootstrap
        self.agreement: list[float] = []  # of each frame, with the first contender

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
            for consistency in self._vc.values():  # frames on both sides of it are not consecutive
                consistency.end()
            return
        self.confusions.append(pairs_of(self.figures.confusion.counts - before))
        for consistency in self._vc.values():
            consistency.add(frame.truth, result.labels)
        self._calibration.add(frame.truth, result.labels, result.confidence)

    def over(self, first: Measures) -> dict[str, Interval]:
        """Differences to another contender with their intervals, by key; of what both have over the same frames."""
        classes, (vc, tc), (other_vc, other_tc) = len(self.figures.classes), self._steady(), first._steady()
        found = {}
        if self.figures.confusion.pixels and len(self.confusions) == len(first.confusions):
            found["miou"] = miou_difference(self.confusions, first.confusions, classes)
        if tc and len(tc) == len(other_tc):
            found["tc"] = miou_difference(tc, other_tc, classes)
        if vc and len(vc) == len(other_vc):
            found["vc8"] = mean_difference(vc, other_vc)
        return found

    def _steady(self) -> tuple[list[float], list[Pairs]]:
        """VC8 of each window and TC's confusion of each pair of frames."""
        return self._vc[8].windows, self._tc.pairs

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
    source: Iterable[Frame],
    contenders: Sequence[Contender],
    *,
    observers: Sequence[Observer] = (),
    progress: Callable[[], None] = lambda: None,
    flow: Flow | None = None,
) -> list[dict[str, Any]]:
    """A report for each contender, and one for the truth of the frame before where there is truth.

    That last one is the floor of anything temporal: it copies what was right a frame ago.

    Args:
        source: frames in order.
        contenders: of the same classes; the first is the yardstick.
        observers: see every frame after it was measured.
        progress: called for each frame.
        flow: of TC, computed once for all; None = DIS.

    Returns:
        Reports; where the source broke after some frames, `broken` in them says why, and it is the caller's to raise.

    Raises:
        ConfigError: no contender, or contenders of different classes.
        DataError: the source broke before its first frame.
    """
    if not contenders or len({c.model.card.labels for c in contenders}) != 1:
        raise ConfigError("models of the same classes were wanted, to be compared; evaluate others on their own")
    classes = contenders[0].model.card.labels
    shared = OncePerPair(DisFlow() if flow is None else flow)
    measures = {c.name: Measures(classes, shared) for c in contenders}
    streams = {c.name: c.model.stream() for c in contenders}
    floor, size = _Floor(classes, shared), None
    for index, frame in enumerate(_until_broken(source, measures.values())):
        progress()
        results = _segment(frame, streams, index, measures)
        size = frame.size if results else size
        _agree(results, measures)
        floor.add(frame, any(result.reset for result in results.values()))
        for observer in observers:
            observer.see(frame, results)
    reports = [
        {
            **dict.fromkeys(_ALWAYS),
            "model": c.name,
            **_setting(c.model),
            **measures[c.name].report(),
            "memory_mb": streams[c.name].memory_bytes / 1e6,
            **_cost(c.model, size, measures[c.name].figures),
        }
        for c in contenders
    ]
    _compare(reports, [measures[c.name] for c in contenders])
    return reports + floor.reports()


def _until_broken(source: Iterable[Frame], measures: Collection[Measures]) -> Iterator[Frame]:
    """The frames before a source breaks; every contender's figures say so."""
    try:
        yield from source
    except DataError as error:
        if not any(measure.figures.frames for measure in measures):
            raise
        for measure in measures:
            measure.figures.broken = error


def _segment(
    frame: Frame, streams: Mapping[str, StreamSegmenter], index: int, measures: Mapping[str, Measures]
) -> dict[str, Segmentation]:
    """One frame through every stream; what each makes of it is measured, too."""
    names, results = list(streams), {}
    turn = index % len(names)  # whoever comes first finds cold caches
    for name in names[turn:] + names[:turn]:
        try:
            results[name] = streams[name](frame)
        except FrameError as error:
            measures[name].figures.dropped[str(error)] += 1
            continue
        measures[name].add(frame, results[name])
    return {name: results[name] for name in names if name in results}


def _agree(results: Mapping[str, Segmentation], measures: Mapping[str, Measures]) -> None:
    """Add the share of pixels on which each contender says what the first one does."""
    first, *others = measures
    if first not in results:
        return
    for name in others:
        if name in results and results[name].labels.shape == results[first].labels.shape:
            measures[name].agreement.append(1.0 - churn(results[first].labels, results[name].labels))


class _Floor:
    """The truth of the frame before as a contender."""

    def __init__(self, classes: Sequence[str], flow: Flow) -> None:
        self._measures = Measures(classes, flow)
        self._before: UInt8Array | None = None
        self._left_out = True  # the frame before this one

    def add(self, frame: Frame, was_reset: bool) -> None:
        before, self._before = self._before, frame.truth
        if frame.truth is None or before is None or before.shape != frame.size or was_reset or self._is_odd(before):
            self._left_out = True
            return
        reset = "gap" if self._left_out else None
        self._measures.add(frame, Segmentation(frame.stamp_ns, before, np.full_like(before, 255), reset=reset))
        self._left_out = False

    def _is_odd(self, labels: UInt8Array) -> bool:
        """Whether it has ids that are no class: as truth they are ignored, as labels nobody can count them."""
        return bool(((labels >= len(self._measures.figures.classes)) & (labels != UNLABELLED)).any())

    def reports(self) -> list[dict[str, Any]]:
        """Its report; none without truth."""
        if not self._measures.figures.confusion.pixels:
            return []
        kept = ("miou", "pixel_accuracy", "iou", "tc", "tc_flow", "vc8", "vc8_strict", "vc16", "vc16_strict", "churn")
        report = self._measures.report()
        return [{**dict.fromkeys(_ALWAYS), "model": FLOOR, **{key: report[key] for key in kept}}]


def _setting(model: Model) -> dict[str, Any]:
    """The memory that a contender ran with; None for a method that has none."""
    return {f"memory_{name}": getattr(model.plan, name, None) for name in ("slots", "window")}


def _cost(model: Model, size: tuple[int, int] | None, figures: Figures) -> dict[str, Any]:
    """Parameters and multiply-adds a frame of the stages that ran; None without onnx.

    With keyframes not all frames run the same stages: each counts by its share of the frames. Without, the first frame
    has no memory to read, and is not what a frame costs.
    """
    if size is None:
        return {}
    has_keyframes, ran = isinstance(model.plan, KeyframeMethod), figures.parts_ms
    ran_at = _input_size(model, size)
    found: dict[str, Any] = {"input_size": list(ran_at)}
    try:
        costs = {part: c for part, c in method_cost(model.card, model.plan, ran_at).items() if part in ran}
    except ImportError:
        return found | {"gmac": None, "parameters": None}
    shares = {stage: len(ran[stage]) / figures.frames if has_keyframes else 1.0 for stage in costs}
    gmac = {stage: shares[stage] * cost.macs / 1e9 for stage, cost in costs.items()}
    return found | {
        "gmac": sum(gmac.values()),
        "gmac_by_stage": gmac,
        "parameters": sum(cost.parameters for cost in costs.values()),
        "parameters_by_stage": {stage: cost.parameters for stage, cost in costs.items()},
    }


def _compare(reports: list[dict[str, Any]], measures: list[Measures]) -> None:
    """Add each contender's latency, labels, accuracy and steadiness against the first one's."""
    first = measures[0]
    for report, measure in zip(reports, measures, strict=True):
        totals = [np.array(m.figures.parts_ms.get("total", [])[1:]) for m in (measure, first)]
        if totals[0].size and totals[0].size == totals[1].size:
            report["latency_times_first"] = float(np.median(totals[0] / totals[1]))
        if measure.agreement:
            report["agreement_with_first"] = float(np.mean(measure.agreement))
        for key, (low, difference, high) in (measure.over(first) if measure is not first else {}).items():
            report[f"{key}_over_first"] = difference
            if measure.figures.frames >= 2 * BLOCK:  # of one block every draw is the same, and the interval a point
                report[f"{key}_over_first_95"] = [low, high]
