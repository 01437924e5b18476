# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the frames before could add to a single-frame model at all, without training anything.

    python bench/temporal_headroom.py [--model NAME] [--data DIR] [--json FILE]

The model's labels of the last frames are carried to the current one along optical flow. `vote` takes the label with the
highest sum of confidences; `oracle` takes the true label where any of the frames has it, which no memory can beat. What
the oracle does not reach, the past does not know either.
"""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.assemble import load_model, load_settings
from vss_ros.cli.options import write_json
from vss_ros.core.frame import UNLABELLED, FloatArray, UInt8Array
from vss_ros.core.motion import composed, in_cells
from vss_ros.data.motion_flow import FlowMotion
from vss_ros.data.source import open_source
from vss_ros.evaluate.machine import machine
from vss_ros.evaluate.metrics import ConfusionMatrix

SLOTS = (0, 1, 2, 4)
Past = tuple[UInt8Array, UInt8Array]  # labels and confidence of a frame


def carried(past: Past, motion: FloatArray) -> Past:
    """Labels and confidence of a frame where they are now; confidence 0 where they left the picture."""
    height, width = motion.shape[:2]
    columns = np.rint(np.arange(width, dtype=np.float32) + motion[..., 0]).astype(np.intp)
    rows = np.rint(np.arange(height, dtype=np.float32)[:, None] + motion[..., 1]).astype(np.intp)
    there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    labels, confidence = (x[rows, columns] for x in past)
    return labels, np.where(there, confidence, np.uint8(0))


def vote(frames: list[Past], classes: int) -> UInt8Array:
    """The label with the highest sum of confidences over the frames."""
    votes = np.zeros((classes, *frames[0][0].shape), np.float32)
    for labels, confidence in frames:
        for label in range(classes):
            votes[label] += np.where(labels == label, confidence, 0)
    return np.asarray(votes.argmax(axis=0), np.uint8)


def oracle(frames: list[Past], truth: UInt8Array) -> UInt8Array:
    """The true label where any frame has it, else the current frame's."""
    known = np.any([(labels == truth) & (confidence > 0) for labels, confidence in frames], axis=0)
    return np.where(known, truth, frames[0][0])


def measure(model_name: str, data: str) -> list[dict[str, Any]]:
    model = load_model(load_settings(values={"model.name": model_name}))
    stream, flow, classes = model.stream(), FlowMotion(), len(model.card.labels)
    matrices = {(slots, how): ConfusionMatrix(classes) for slots in SLOTS for how in ("vote", "oracle")}
    past: deque[tuple[Past, FloatArray]] = deque(maxlen=max(SLOTS))  # newest first, with the motion to it
    before: UInt8Array | None = None
    for frame in open_source(data):
        result = stream(frame)
        now: Past = (result.labels, result.confidence)
        if before is not None:
            step = in_cells(flow(before, frame.image).motion, frame.size, frame.size)
            past = deque(((old, composed(step, motion)) for old, motion in past), maxlen=past.maxlen)
        seen = [now, *(carried(old, motion) for old, motion in past)]
        if frame.truth is not None and len(past) == past.maxlen:  # the same frames for all
            truth = np.where(frame.truth < classes, frame.truth, np.uint8(UNLABELLED))
            for slots in SLOTS:
                matrices[slots, "vote"].add(truth, vote(seen[: slots + 1], classes))
                matrices[slots, "oracle"].add(truth, oracle(seen[: slots + 1], truth))
        past.appendleft((now, np.zeros((*frame.size, 2), np.float32)))
        before = frame.image
    return [{"frames_before": s, **{how: matrices[s, how].miou() for how in ("vote", "oracle")}} for s in SLOTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="single_erfnet_camvid")
    parser.add_argument("--data", default="../shared/data/camvid")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = measure(chosen.model, chosen.data)
    table = Table("frames before", "mIoU by vote", "mIoU by oracle", title=f"{chosen.model} on {chosen.data}")
    for row in rows:
        table.add_row(str(row["frames_before"]), f"{row['vote']:.3f}", f"{row['oracle']:.3f}")
    Console().print(table)
    if chosen.json:
        write_json(chosen.json, {"model": chosen.model, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
