# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Models on the same frames: every figure is there, ratios are against the first, intervals cover what they should."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vss_ros.assemble import Model, load_model, load_settings
from vss_ros.core.errors import ConfigError
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.evaluate.side_by_side import Contender, contenders_of, evaluate, miou_difference
from vss_ros.evaluate.table import comparison_table

SIZE = (64, 96)


def load(folder: Path, **changes: Any) -> Model:
    settings = {"model.name": str(folder), "model.input_size": "96x64", "runtime.threads": 1, "memory.scene_cut": 0.0}
    return load_model(load_settings(values=settings | changes))


@pytest.fixture(scope="module")
def reports(single_folder: Path, lmanet_folder: Path) -> list[dict[str, Any]]:
    models = [load(single_folder), load(lmanet_folder)]
    contenders = contenders_of(models, "off", lambda model, changes: load(lmanet_folder, **changes))
    return evaluate(SyntheticDrive(seed=3, size=SIZE, frames=12), contenders)


def test_every_contender_and_the_floor_have_a_row(reports: list[dict[str, Any]]) -> None:
    names = [report["model"] for report in reports]
    assert names[1:] == ["tiny_lmanet", "tiny_lmanet, slots 0", "truth of the frame before"] and len(names) == 4
    for report in reports[:3]:
        assert {"miou", "tc", "vc8", "vc8_strict", "vc16", "churn", "calibration_error"} <= report.keys()
        assert {"latency_p50_ms", "latency_times_first", "parts", "gmac", "parameters", "memory_mb"} <= report.keys()
        assert report["vc16"] is None and 0 <= report["vc8"] <= 1, "twelve frames have no window of 16"
    assert [report["memory_slots"] for report in reports[:3]] == [None, 3, 0]


def test_figures_against_the_first_are_differences_and_ratios(reports: list[dict[str, Any]]) -> None:
    first, second = reports[:2]
    assert first["latency_times_first"] == 1.0 and "miou_over_first" not in first
    assert second["miou_over_first"] == pytest.approx(second["miou"] - first["miou"])
    low, high = second["miou_over_first_95"]
    assert low <= high


def test_memory_costs_what_it_does_and_nothing_where_it_is_off(reports: list[dict[str, Any]]) -> None:
    twin, with_memory, without = reports[:3]
    assert {"attend", "fuse"} <= with_memory["gmac_by_stage"].keys()
    assert without["gmac_by_stage"].keys() == {"encode", "decode"} == twin["gmac_by_stage"].keys()
    assert with_memory["gmac"] > without["gmac"] > twin["gmac"] > 0
    assert with_memory["memory_mb"] > 0 == without["memory_mb"] == twin["memory_mb"]


def test_the_floor_is_the_truth_of_the_frame_before(reports: list[dict[str, Any]]) -> None:
    truths = [frame.truth for frame in SyntheticDrive(seed=3, size=SIZE, frames=12)]
    confusion = ConfusionMatrix(11)
    for before, now in pairwise(truths):
        assert before is not None and now is not None
        confusion.add(now, before)
    assert reports[-1]["miou"] == pytest.approx(confusion.miou())


def test_the_table_shows_them_all(reports: list[dict[str, Any]]) -> None:
    table = comparison_table(reports, "x")
    assert [column.header for column in table.columns] == ["", *(report["model"] for report in reports)]
    (row,) = (i for i, cell in enumerate(table.columns[0].cells) if cell == "mIoU")
    shown = [list(column.cells)[row] for column in table.columns[1:]]
    assert shown == [f"{report['miou']:.3f}" for report in reports]


def test_models_are_named_once_and_ablations_are_known(lmanet_folder: Path) -> None:
    model = load(lmanet_folder)
    with pytest.raises(ConfigError, match="name each one once"):
        contenders_of([model, model], "on", lambda m, _: m)
    with pytest.raises(ConfigError, match="on, off, slots, window, got 'speed'"):
        contenders_of([model], "speed", lambda m, _: m)
    names = [c.name for c in contenders_of([model], "slots", lambda m, _: m)]
    assert names == ["tiny_lmanet", *(f"tiny_lmanet, slots {n}" for n in (0, 1, 2, 4, 5))], "3 is its own"
    with pytest.raises(ConfigError, match="models of the same classes"):
        evaluate([], [])


def confusions(right: list[int], wrong: list[int]) -> list[np.ndarray]:
    return [np.array([[r, w, 0], [0, 100, 0]]) for r, w in zip(right, wrong, strict=True)]


def test_no_difference_has_no_width() -> None:
    same = confusions([50] * 40, [50] * 40)
    assert miou_difference(same, same) == (0.0, 0.0, 0.0)


def test_an_interval_covers_the_difference_and_widens_with_the_noise() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for spread in (2, 20):
        noise = rng.integers(-spread, spread + 1, 120)
        better = confusions((70 + noise).tolist(), (30 - noise).tolist())
        low, mean, high = miou_difference(better, confusions([60] * 120, [40] * 120))
        assert low < mean < high and low > 0, "the difference is real in both"
        widths.append(high - low)
    assert widths[0] < widths[1]


def test_a_contender_is_a_name_and_a_model(lmanet_folder: Path) -> None:
    model = load(lmanet_folder)
    (report, _) = evaluate(SyntheticDrive(seed=3, size=SIZE, frames=2), [Contender("mine", model)])
    assert report["model"] == "mine" and report["vc8"] is None
