# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg's accuracy by the distance to the keyframe, as its paper reports it: the mean over all distances.

Source: Hu et al., CVPR 2023. Each frame is seen at every distance, on streams whose keyframes are a frame apart. Theirs
come out of a codec, which costs some mIoU at full resolution too; here the pictures are the source's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.table import Table

from vss_ros.assemble import Model, load_model, load_settings, loaded_stages
from vss_ros.core.errors import ConfigError, DataError
from vss_ros.core.frame import Frame
from vss_ros.core.method import KeyframeMethod, Runtime
from vss_ros.data.source import open_source
from vss_ros.evaluate.machine import machine
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.evaluate.side_by_side import check_classes
from vss_ros.runtimes.torch import TorchRuntime

# keyframes come by the period alone
_SETTINGS = {
    "runtime.backend": "onnx",
    "motion.keyframe_within_s": 0.0,
    "motion.unmatched_max": 1.0,
    "memory.max_gap_s": 3600.0,
    "memory.scene_cut": 0.0,
}


class Unmended:
    """A runtime whose reads find nothing, so that the enlarged features of the small network are all there is."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.run, self.empty = f"{runtime.name}, unmended", runtime.run, runtime.empty
        self.upload, self.download = runtime.upload, runtime.download

    def attend(self, query: Any, *_: Any, **__: Any) -> Any:
        """Zeros: values have the channels of queries."""
        return 0 * query


def by_distance(name: str, data: str) -> dict[str, Any]:
    """mIoU of a trained model on a source with truth, see `measure`.

    Raises:
        ConfigError: the model has no keyframes.
        DataError: no truth of the model's classes, or fewer frames than a period has.
    """
    model = load_model(load_settings(values={"model.name": name, **_SETTINGS}))
    if not isinstance(model.plan, KeyframeMethod):
        raise ConfigError(f"a model with keyframes was wanted, '{name}' is of method '{model.card.method}'")
    source = open_source(data)
    check_classes(source, model.card)
    found = measure(model, list(source))
    return {"model": model.card.name, "data": source.name, **found, "machine": machine()}


def measure(model: Model, frames: Sequence[Frame]) -> dict[str, Any]:
    """mIoU at each distance, their mean, that of full and of small resolution alone, and the differences to them.

    Of small resolution there are two: the model's own small network, trained to be mended, and the host's weights at
    that size, trained for the full one. The better one is what is compared with.

    Raises:
        DataError: fewer frames with truth than a period has.
    """
    plan: Any = model.plan
    counted = [frame for frame in frames[plan.period - 1 :] if frame.truth is not None]
    if not counted:
        raise DataError(
            f"frames with truth after the first {plan.period - 1} were wanted, got none; try another source"
        )
    miou = miou_by_distance(model, frames)
    mean, full = float(np.mean(miou)), miou[0]
    small = {
        "miou_lr_small_network": miou_unmended(model, model.runtime, frames),
        "miou_lr_host": miou_unmended(model, host_at_small_size(model), frames),
    }
    return {
        "frames": len(counted),
        "miou_by_distance": miou,
        "miou_mean": mean,
        "miou_hr": full,
        **small,
        "mean_over_hr": mean - full,
        "mean_over_lr": mean - max(small.values()),
    }


def miou_by_distance(model: Model, frames: Sequence[Frame]) -> list[float]:
    """mIoU of the same frames so many frames after a keyframe, from 0 to a period less 1.

    A stream begins at each of the first frames; what comes before the last of these beginnings is not counted.
    At distance 0 it is that of the host at full resolution.
    """
    plan: Any = model.plan
    matrices = [ConfusionMatrix(len(model.card.labels)) for _ in range(plan.period)]
    for start in range(plan.period):
        stream = model.stream()
        for index in range(start, len(frames)):
            frame, labels = frames[index], stream(frames[index]).labels
            if index >= plan.period - 1 and frame.truth is not None:
                matrices[(index - start) % plan.period].add(frame.truth, labels)
        assert set(stream.keyframes) <= {"first", "period"}, "all other rules are off"
    return [matrix.miou() for matrix in matrices]


def miou_unmended(model: Model, runtime: Runtime, frames: Sequence[Frame]) -> float:
    """mIoU of the same frames through the small network alone, by a stream whose only keyframe comes before them."""
    plan: Any = model.plan
    stream = replace(model, plan=replace(plan, period=len(frames) + 2), runtime=Unmended(runtime)).stream()
    matrix = ConfusionMatrix(len(model.card.labels))
    stream(frames[0])
    for index, frame in enumerate(frames):
        labels = stream(frame).labels
        if index >= plan.period - 1 and frame.truth is not None:
            matrix.add(frame.truth, labels)
    return matrix.miou()


def host_at_small_size(model: Model) -> Runtime:
    """The model in torch, its small network with the weights of the one for keyframes."""
    stages = loaded_stages(model.card, model.plan)
    stages["encode"].load_state_dict(stages["keyframe"].state_dict(), strict=False)  # it also has the queries
    return TorchRuntime(stages, model.plan.stages(model.card.host))


def distance_table(found: dict[str, Any]) -> Table:
    """For the terminal."""
    table = Table(
        "distance to the keyframe", "mIoU", title=f"{found['model']}, {found['frames']} frames of {found['data']}"
    )
    for distance, miou in enumerate(found["miou_by_distance"]):
        table.add_row(str(distance), f"{miou:.4f}")
    table.add_section()
    table.add_row("mean", f"{found['miou_mean']:.4f}")
    table.add_row("every frame a keyframe (HR)", f"{found['miou_hr']:.4f}")
    table.add_row("the small network alone (LR)", f"{found['miou_lr_small_network']:.4f}")
    table.add_row("the host's weights at its size (LR)", f"{found['miou_lr_host']:.4f}")
    table.add_row("mean over HR", f"{found['mean_over_hr']:+.4f}")
    table.add_row("mean over the better LR", f"{found['mean_over_lr']:+.4f}")
    return table
