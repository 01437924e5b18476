# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The table of sources of motion on a tiny drive: each source has a row, and labels are carried by what it found."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import motion as bench

from test.data.moving import SIZE, moving
from vss_ros.core.frame import Frame

COUNT, STEP = 14, 8


def drive() -> list[Frame]:
    """A scene that moves right by 8 px, with labels of 32 px squares that move along."""
    height, width = SIZE
    squares = (np.arange(height)[:, None] // 32 + np.arange(width + COUNT * STEP) // 32) % 5
    lefts = [(COUNT - 1 - n) * STEP for n in range(COUNT)]
    truths = [np.ascontiguousarray(squares[:, x : x + width]).astype(np.uint8) for x in lefts]
    pictures = zip(moving(COUNT, STEP), truths, strict=True)
    return [Frame(n * 66_000_000, image, truth=truth) for n, (image, truth) in enumerate(pictures)]


def test_every_source_has_a_row_and_motion_beats_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "open_source", lambda _: drive())
    bench.main(["drive", "--json", str(tmp_path / "motion.json")])
    rows = {row["source"]: row for row in json.loads((tmp_path / "motion.json").read_text())["rows"]}
    assert set(rows) == {
        *("zero", "flow", *bench.ENCODERS),
        f"{bench.ONE}, unknown stands still",
        f"{bench.MOST}, vectors as they are",
    }
    for name, row in rows.items():
        assert (row["miou_after_5"] > 0.75) == (name != "zero"), name
        assert row["moved_px_p50"] == pytest.approx(0 if name == "zero" else STEP, abs=0.5), name
    assert "mIoU after 11" in capsys.readouterr().out
    assert bench.motion_codec._FURTHEST > 1, "as it was"


def test_what_stands_still_does_not_take_its_neighbours_motion() -> None:
    field = np.full((2, 3, 2), 8, np.float32)
    field[0, 1] = np.nan
    ((found,), spent_ms) = bench.standing(([bench.MotionField(field, 1 / 6)], 1.5))
    assert found.motion[0, 1].tolist() == [0, 0] and found.motion[0, 0].tolist() == [8, 8]
    assert found.unmatched == 1 / 6 and spent_ms == 1.5


@pytest.mark.parametrize(
    ("frames", "says"),
    [(drive()[:11], "more than 11 frames is wanted"), ([replace(f, truth=None) for f in drive()], "with labels of")],
)
def test_a_drive_that_cannot_be_judged_is_refused(
    frames: list[Frame], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "open_source", lambda _: frames)
    with pytest.raises(SystemExit):
        bench.main(["drive"])
    assert says in capsys.readouterr().err
