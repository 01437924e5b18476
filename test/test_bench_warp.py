# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The bench of AR-Seg's warp, on a small map: what takes turns computes the same where it can."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import torch
import warp as bench

from vss_ros.methods.arseg.modules import warp


def test_whole_steps_lead_to_the_same_cells_by_either_way() -> None:
    features, motion = torch.randn(1, 3, 5, 7), torch.tensor([-2.0, 1.0]).expand(1, 5, 7, 2)
    inner = (..., slice(None, 4), slice(2, None))
    torch.testing.assert_close(bench.at_nearest(features, motion)[inner], warp(features, motion)[inner])


def test_the_contenders_are_the_stages_and_reads_of_the_method() -> None:
    found = bench.contenders(4, 6, 8, threads=1)
    plain, warped, nearest = (found[name]() for name in list(found)[:3])
    assert [x.shape for x in (*plain, *nearest)] == [(1, 6, 8, 1, 4)] * 4 and warped[0].shape == (1, 1, 6, 8, 1, 4)
    dense, about_centres = found["read"](), found["read about centres"]()
    assert dense.shape == about_centres.shape == (6, 8, 1, 4) and not np.allclose(dense, about_centres)


def test_the_command_writes_and_shows_every_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "MAPS", ((4, 6, 8), (4, 5, 9)))
    bench.main(["--threads", "1", "--turns", "1", "--json", str(tmp_path / "warp.json")])
    found = json.loads((tmp_path / "warp.json").read_text(encoding="utf-8"))
    assert [row["map"] for row in found["rows"]] == [[4, 6, 8], [4, 5, 9]]
    assert all(ms > 0 for row in found["rows"] for ms in row["ms"].values())
    assert "4x5x9" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        bench.main(["--turns", "0"])
    assert "--threads and --turns want at least 1, got 2 and 0" in capsys.readouterr().err
