# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How well each source of motion leads back to where things were, judged by a drive's own labels.

    python bench/motion.py [DRIVE] [--frames N] [--every N] [--json FILE]

The labels of a frame are carried some frames on by the composed motion and compared with the labels there. The codec's
motion is that of the drive encoded anew, with one reference picture and with several; and what becomes of it where
blocks without a vector stand still, and where vectors to pictures further back are taken as they are.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from vss_ros.cli.options import write_json
from vss_ros.core.frame import UNLABELLED, FloatArray, Frame, UInt8Array
from vss_ros.core.motion import CELL, MotionField, ZeroMotion, composed, in_cells
from vss_ros.core.prepare import nearest
from vss_ros.data import motion_codec
from vss_ros.data.motion_codec import EXPORT, CodecMotion
from vss_ros.data.motion_flow import FlowMotion
from vss_ros.data.source import open_source
from vss_ros.evaluate.metrics import ConfusionMatrix

STEPS = (1, 5, 11)
MOVED = (50, 90)  # percentiles of how far things move from a frame to the next
ENCODERS = {
    "codec, x264 veryfast, 1 reference": {"preset": "veryfast", "tune": "zerolatency"},
    "codec, x264 medium, 3 references": {"preset": "medium", "tune": "zerolatency"},
    "codec, x264 slow, 5 references": {"preset": "slow", "tune": "zerolatency"},
}
ONE, *_, MOST = ENCODERS
Timed = tuple[list[MotionField], float]  # of each frame but the first, and milliseconds for one


def of_pairs(frames: Sequence[Frame], source: Callable[[UInt8Array, UInt8Array], MotionField]) -> Timed:
    fields, began = [], perf_counter()
    for before, now in itertools.pairwise(frames):
        fields.append(source(before.image, now.image))
    return fields, 1e3 * (perf_counter() - began) / len(fields)


def of_codec(frames: Sequence[Frame], options: dict[str, str], bit_rate: int) -> Timed:
    """Milliseconds without the decoding itself."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = EXPORT
    pictures = [picture for packet in encoded(frames, options, bit_rate) for picture in decoder.decode(packet)]
    pictures += decoder.decode(None)
    find, fields, began = CodecMotion(), [], perf_counter()
    for picture in pictures:
        field = find(picture)
        assert field is not None, "these encoders use no B pictures"
        fields.append(field)
    return fields[1:], 1e3 * (perf_counter() - began) / len(fields)


def standing(timed: Timed) -> Timed:
    """The same with no motion where the codec has found none."""
    fields, spent_ms = timed
    return [replace(field, motion=np.nan_to_num(field.motion)) for field in fields], spent_ms


def encoded(frames: Sequence[Frame], options: dict[str, str], bit_rate: int) -> list[Any]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 15), Fraction(15)
    encoder.bit_rate, encoder.options = bit_rate, options
    packets = []
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
        picture.pts, picture.time_base = index, encoder.time_base
        packets += encoder.encode(picture)
    return packets + encoder.encode(None)


def carried(labels: UInt8Array, motion: FloatArray) -> UInt8Array:
    """Labels where the motion, in cells, leads to."""
    height, width = labels.shape
    px = nearest(motion, (height, width)) * CELL
    columns = np.rint(np.arange(width) + px[..., 0]).clip(0, width - 1).astype(np.intp)
    rows = np.rint(np.arange(height)[:, None] + px[..., 1]).clip(0, height - 1).astype(np.intp)
    moved: UInt8Array = labels[rows, columns]
    return moved


def judged(frames: Sequence[Frame], fields: Sequence[MotionField], steps: int) -> float:
    """Mean IoU of labels that were carried over `steps` frames."""
    size = frames[0].size
    cells = [in_cells(field.motion, size, (size[0] // CELL, size[1] // CELL)) for field in fields]
    matrix = ConfusionMatrix(UNLABELLED)
    for end in range(steps, len(frames)):
        motion = cells[end - steps]  # the field of the frame after the one that the labels come from
        for now in cells[end - steps + 1 : end]:
            motion = composed(now, motion)
        labels, truth = frames[end - steps].truth, frames[end].truth
        assert labels is not None and truth is not None, "a drive with labels of every frame was wanted"
        guess = carried(labels, motion)
        matrix.add(np.where(guess == UNLABELLED, np.uint8(UNLABELLED), truth), guess)
    return float(np.nanmean(matrix.iou()))


def measure(frames: Sequence[Frame], bit_rate: int) -> list[dict[str, Any]]:
    found: dict[str, Timed] = {"zero": of_pairs(frames, ZeroMotion()), "flow": of_pairs(frames, FlowMotion())}
    found |= {name: of_codec(frames, options, bit_rate) for name, options in ENCODERS.items()}
    found[f"{ONE}, unknown stands still"] = standing(found[ONE])
    with patch.object(motion_codec, "_FURTHEST", 1):
        found[f"{MOST}, vectors as they are"] = of_codec(frames, ENCODERS[MOST], bit_rate)
    rows = []
    for name, (fields, spent_ms) in found.items():
        unmatched = [field.unmatched for field in fields]
        row = {"source": name, "ms": spent_ms, "unmatched": float(np.mean(unmatched)), "most": float(max(unmatched))}
        moved = np.concatenate([np.linalg.norm(field.motion, axis=2).ravel() for field in fields])
        row |= {f"moved_px_p{p}": float(np.nanpercentile(moved, p)) for p in MOVED}
        rows.append(row | {f"miou_after_{steps}": judged(frames, fields, steps) for steps in STEPS})
    return rows


def show(rows: list[dict[str, Any]], title: str) -> None:
    moved = (f"moves p{p}, px" for p in MOVED)
    after = (f"mIoU after {steps}" for steps in STEPS)
    table = Table("source", "ms", "unmatched", "at most", *moved, *after, title=title)
    for row in rows:
        cells = [f"{row['ms']:.1f}", f"{row['unmatched']:.1%}", f"{row['most']:.1%}"]
        cells += [f"{row[f'moved_px_p{p}']:.1f}" for p in MOVED]
        table.add_row(row["source"], *cells, *(f"{row[f'miou_after_{steps}']:.3f}" for steps in STEPS))
    console = Console()
    console.width = max(console.width, 150)  # narrower, the figures would be cut
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drive", nargs="?", default="../shared/data/camvid", help="a drive with labels of every frame")
    parser.add_argument("--frames", type=int, default=101)
    parser.add_argument("--every", type=int, default=1, help="take one frame of so many, as a slower camera does")
    parser.add_argument("--bit-rate", type=int, default=3_000_000, help="of the encoded drive, bit/s")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    frames = list(itertools.islice(open_source(chosen.drive), 0, chosen.frames, chosen.every))
    if len(frames) <= max(STEPS):
        parser.error(f"a drive of more than {max(STEPS)} frames is wanted, {chosen.drive} gives {len(frames)}")
    if any(frame.truth is None for frame in frames):
        parser.error(f"a drive with labels of every frame is wanted, {chosen.drive} has none of some")
    rows = measure(frames, chosen.bit_rate)
    show(rows, f"{len(frames)} frames of {frames[0].size[1]}x{frames[0].size[0]} px")
    if chosen.json:
        write_json(
            chosen.json,
            {"drive": Path(chosen.drive).name, "frames": len(frames), "every": chosen.every, "rows": rows},
        )


if __name__ == "__main__":
    main()
