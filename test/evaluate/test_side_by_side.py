# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Models on the same frames: every figure is there, ratios are against the first, intervals cover what they should."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from test.core.test_card import card
from vss_ros.assemble import Model, load_model, load_settings, methods, plan_for
from vss_ros.core.errors import ConfigError, DataError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.evaluate.quantities import QUANTITIES
from vss_ros.evaluate.side_by_side import (
    Contender,
    _setting,
    check_classes,
    contenders_of,
    evaluate,
)
from vss_ros.evaluate.table import comparison_rows, comparison_tables

SIZE = (64, 96)


def load(folder: Path, **changes: Any) -> Model:
    settings = {"model.name": str(folder), "model.input_size": "96x64", "runtime.threads": 1, "memory.scene_cut": 0.0}
    return load_model(load_settings(values=settings | changes))


def unasked() -> tuple[int, int]:
    raise AssertionError("only the global window needs the camera's size, which costs opening the source")


@pytest.fixture(scope="module")
def reports(single_folder: Path, lmanet_folder: Path) -> list[dict[str, Any]]:
    models = [load(single_folder), load(lmanet_folder)]
    contenders = contenders_of(models, "off", unasked, lambda model, changes: load(lmanet_folder, **changes))
    return evaluate(SyntheticDrive(seed=3, size=SIZE, frames=12), contenders)


def test_every_contender_and_the_floor_have_a_row(reports: list[dict[str, Any]]) -> None:
    names = [report["model"] for report in reports]
    assert names[1:] == ["tiny_lmanet", "tiny_lmanet, slots 0", "truth of the frame before"] and len(names) == 4
    for report in reports[:3]:
        assert {"miou", "tc", "vc8", "vc8_strict", "vc16", "churn", "calibration_error"} <= report.keys()
        assert {"latency_p50_ms", "latency_times_first", "parts", "gmac", "parameters", "memory_mb"} <= report.keys()
        assert report["vc16"] is None and 0 <= report["vc8"] <= 1, "twelve frames have no window of 16"
    assert [report["memory_slots"] for report in reports[:3]] == [None, 3, 0]


@pytest.mark.parametrize("method", sorted(methods()))
def test_the_memory_of_every_method_can_be_written(method: str, lmanet_folder: Path) -> None:
    found = _setting(replace(load(lmanet_folder), plan=plan_for(method, {})))
    assert set(found) == {"memory_slots", "memory_window"} and {type(x) for x in found.values()} <= {int, type(None)}


def test_figures_against_the_first_are_differences_and_ratios(reports: list[dict[str, Any]]) -> None:
    first, second = reports[:2]
    assert first["latency_times_first"] == 1.0 and "miou_over_first" not in first
    for key in ("miou", "tc", "vc8"):
        assert second[f"{key}_over_first"] == pytest.approx(second[key] - first[key])
    assert not [key for key in second if key.endswith("_95")], (
        "twelve frames are less than two blocks, which say nothing of a spread"
    )


def test_memory_costs_what_it_does_and_nothing_where_it_is_off(reports: list[dict[str, Any]]) -> None:
    twin, with_memory, without = reports[:3]
    assert {"attend", "fuse"} <= with_memory["gmac_by_stage"].keys()
    assert without["gmac_by_stage"].keys() == {"encode", "decode"} == twin["gmac_by_stage"].keys()
    assert with_memory["gmac"] > without["gmac"] > twin["gmac"] > 0
    for report in (twin, with_memory, without):
        assert sum(report["parameters_by_stage"].values()) == report["parameters"] > 0
    assert with_memory["parameters_by_stage"].keys() == {"encode", "fuse", "decode", "attend"}
    assert with_memory["memory_mb"] > 0 == without["memory_mb"] == twin["memory_mb"]


def test_the_floor_is_the_truth_of_the_frame_before(reports: list[dict[str, Any]]) -> None:
    truths = [frame.truth for frame in SyntheticDrive(seed=3, size=SIZE, frames=12)]
    confusion = ConfusionMatrix(11)
    for before, now in pairwise(truths):
        assert before is not None and now is not None
        confusion.add(now, before)
    assert reports[-1]["miou"] == pytest.approx(confusion.miou())


def test_the_table_shows_them_all(reports: list[dict[str, Any]]) -> None:
    accuracy, _, cost = comparison_tables(reports, "x")
    names = [report["model"] for report in reports]
    assert list(accuracy.columns[0].cells) == names and list(cost.columns[0].cells) == names[:3]
    (miou,) = (column for column in accuracy.columns if column.header == "mIoU")
    assert list(miou.cells) == [f"{report['miou']:.3f}" for report in reports]


def test_the_tables_fit_a_narrow_terminal_without_breaking_a_figure() -> None:
    one: dict[str, Any] = {quantity.key: 0.25 for quantity in QUANTITIES}
    one |= {
        "miou_over_first_95": [-0.123, 0.123],
        "model": "lmanet_bisenet_cityscapes, window global",
        "latency_p99_ms": 1234.5,
        "parameters": 98_765_432,
    }
    console = Console(width=80, record=True, file=io.StringIO())
    for table in comparison_tables([{**one, "model": "single_erfnet_camvid"}, one], "drive"):
        console.print(table)
    text = console.export_text()
    assert all(figure in text for figure in ("-0.123 to +0.123", "1234.5", "98,765,432"))
    assert sum("single_erfnet_camvid " in line for line in text.splitlines()) == 3
    assert max(map(len, text.splitlines())) <= 80


def test_models_are_named_once_and_ablations_are_known(lmanet_folder: Path) -> None:
    model = load(lmanet_folder)
    with pytest.raises(ConfigError, match="name each one once"):
        contenders_of([model, model], "on", unasked, lambda m, _: m)
    with pytest.raises(ConfigError, match="on, off, slots, window, got 'speed'"):
        contenders_of([model], "speed", unasked, lambda m, _: m)
    names = [c.name for c in contenders_of([model], "slots", unasked, lambda m, _: m)]
    assert names == ["tiny_lmanet", *(f"tiny_lmanet, slots {n}" for n in (0, 1, 2, 4, 5))], "3 is its own"
    with pytest.raises(ConfigError, match="models of the same classes"):
        evaluate([], [])


def test_the_windows_of_the_paper_end_with_one_that_holds_the_whole_picture(lmanet_folder: Path) -> None:
    tried = []

    def tuned(model: Model, changes: dict[str, int]) -> Model:
        tried.append(changes)
        return model

    names = [c.name for c in contenders_of([load(lmanet_folder)], "window", lambda: SIZE, tuned)]
    assert names == ["tiny_lmanet", *(f"tiny_lmanet, window {n}" for n in (1, 11, 21, 41, "global"))]
    # the network runs at 96x64 px, 12x8 cells: from the first cell of a row to the last one are 11
    assert tried[-1] == {"memory.window": 23}


def test_a_wide_camera_has_a_wider_global_window(lmanet_folder: Path) -> None:
    free = load(lmanet_folder, **{"model.input_size": "auto"})
    wide = contenders_of([free], "window", lambda: (100, 600), lambda m, changes: replace(m, plan=changes))[-1]
    assert wide.model.plan == {"memory.window": 2 * (192 // 8) - 1}, "6144 px in the shape of 600x100 are 192x32"


def test_a_global_window_that_is_too_large_has_no_row(lmanet_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def tuned(model: Model, changes: dict[str, int]) -> Model:
        return replace(model, plan=load_settings(values=changes))

    large = load(lmanet_folder, **{"model.input_size": "2048x1024"})
    names = [c.name for c in contenders_of([large], "window", lambda: SIZE, tuned)]
    assert names[-1] == "tiny_lmanet, window 41" and "memory.window wants -1..255 cells, got 511" in caplog.text


def test_two_models_of_one_name_are_called_by_their_folders(lmanet_folder: Path, tmp_path: Path) -> None:
    """As a retrained model and the shipped one are."""
    again = tmp_path / "again"
    shutil.copytree(lmanet_folder, again)
    names = [c.name for c in contenders_of([load(lmanet_folder), load(again)], "off", unasked, lambda m, _: m)]
    assert names == [str(lmanet_folder), str(again), f"{lmanet_folder}, slots 0", f"{again}, slots 0"]


def with_truth(*stamps_ms: int, unlabelled: int = -1) -> Iterator[Frame]:
    """A still picture whose truth is class 1 everywhere; one of the frames has none."""
    for number, stamp_ms in enumerate(stamps_ms):
        truth = None if number == unlabelled else np.ones(SIZE, np.uint8)
        yield Frame(stamp_ms * 1_000_000, np.zeros((*SIZE, 3), np.uint8), truth=truth)


def test_windows_of_vc_do_not_reach_over_a_frame_without_truth(single_folder: Path) -> None:
    contenders = [Contender("mine", load(single_folder))]
    (whole, _) = evaluate(with_truth(*range(0, 1000, 100)), contenders)
    (parted, _) = evaluate(with_truth(*range(0, 1000, 100), unlabelled=5), contenders)
    assert whole["vc8"] == 1.0 and parted["vc8"] is None


def test_the_floor_does_not_reach_over_a_reset(single_folder: Path) -> None:
    """Four frames, a minute, and seven more: neither part has a window of 8, and TC has no flow over the cut."""
    stamps = [*range(0, 400, 100), *range(60_000, 60_700, 100)]
    *_, floor = evaluate(with_truth(*stamps), [Contender("mine", load(single_folder))])
    assert floor["model"] == "truth of the frame before" and floor["miou"] == 1.0 and floor["vc8"] is None


@pytest.mark.parametrize("good", [0, 5])
def test_truth_with_ids_that_are_no_class_is_ignored_from_there_on(good: int, single_folder: Path) -> None:
    frames = [
        replace(frame, truth=np.full(SIZE, 1 if number < good else 12, np.uint8))
        for number, frame in enumerate(with_truth(*range(0, 1000, 100)))
    ]
    mine, *floor = evaluate(frames, [Contender("mine", load(single_folder))])
    assert mine["frames"] == 10 and "got up to 12" in mine["truth_ignored"] and mine["tc"] is not None
    assert (mine["miou"] is None) == (good == 0) and len(floor) == (good > 0)


def test_truth_of_void_alone_makes_no_figures_of_accuracy(single_folder: Path, lmanet_folder: Path) -> None:
    void = [replace(frame, truth=np.full(SIZE, 255, np.uint8)) for frame in with_truth(*range(0, 1000, 100))]
    both = [Contender("one", load(single_folder)), Contender("other", load(lmanet_folder))]
    reports = evaluate(void, both)
    assert [report["model"] for report in reports] == ["one", "other"] and "miou_over_first" not in reports[1]
    json.dumps(reports, allow_nan=False)


def test_pictures_that_are_all_refused_are_counted(single_folder: Path) -> None:
    small = [Frame(number, np.zeros((8, 8, 3), np.uint8)) for number in range(3)]
    (report,) = evaluate(small, [Contender("mine", load(single_folder, **{"model.input_size": "auto"}))])
    assert report["frames"] == 0 and sum(report["dropped"].values()) == 3


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (("sky", "road"), r"2 classes of 'tiny' was wanted, synthetic:0x1 has 2 classes: id 0 is road .* and sky in"),
        (("road", "sky", "car"), r"has 3 classes: id 2 is no class in the model and car in the truth; choose"),
        (("road",), r"has 1 classes: id 1 is sky in the model and no class in the truth"),
        (("road", ""), r"id 1 is sky in the model and no class in the truth"),
    ],
)
def test_truth_of_other_classes_is_refused(tmp_path: Path, classes: tuple[str, ...], says: str) -> None:
    drive, model = SyntheticDrive(frames=1), card(tmp_path)
    drive.classes = classes
    with pytest.raises(DataError, match=says):
        check_classes(drive, model)


@pytest.mark.parametrize("classes", [("road", "sky"), None])
def test_truth_of_the_same_or_unknown_classes_is_taken(tmp_path: Path, classes: Any) -> None:
    drive = SyntheticDrive(frames=1)
    drive.classes = classes
    check_classes(drive, card(tmp_path))


def test_a_contender_is_a_name_and_a_model(lmanet_folder: Path) -> None:
    model = load(lmanet_folder)
    (report, _) = evaluate(SyntheticDrive(seed=3, size=SIZE, frames=2), [Contender("mine", model)])
    assert report["model"] == "mine" and report["vc8"] is None


def without_truth(frames: int) -> list[Frame]:
    return [replace(frame, truth=None) for frame in SyntheticDrive(seed=3, size=SIZE, frames=frames)]


def test_without_truth_every_key_is_there_and_labels_are_compared(single_folder: Path, lmanet_folder: Path) -> None:
    contenders = [Contender(folder.name, load(folder)) for folder in (single_folder, lmanet_folder)]
    seen: list[dict[str, Segmentation]] = []

    class Seeing:
        def see(self, frame: Frame, results: Mapping[str, Segmentation]) -> None:
            seen.append(dict(results))

    first, second = evaluate(without_truth(4), contenders, observers=[Seeing()])
    for report in (first, second):
        assert report["miou"] is None and report["vc8"] is None and 0 <= report["tc"] <= 1
        assert report["latency_p50_ms"] > 0 and report["gmac"] > 0 and report["parameters"] > 0
        assert report["churn"] is not None and report["confidence_mean"] > 0 and report["memory_mb"] >= 0
    same = [np.mean(r["tiny_single"].labels == r["tiny_lmanet"].labels) for r in seen]
    assert len(seen) == 4 and list(seen[1]) == ["tiny_single", "tiny_lmanet"], "in the order of the contenders"
    assert second["agreement_with_first"] == pytest.approx(np.mean(same)) and "agreement_with_first" not in first
    shown = [column.header for table in comparison_tables([first, second], "x") for column in table.columns]
    assert "agreement with first" in shown and not any("mIoU" in str(name) for name in shown)


def test_a_source_that_breaks_keeps_what_was_measured(single_folder: Path) -> None:
    def breaking(frames: int) -> Iterator[Frame]:
        yield from without_truth(2)[:frames]
        raise DataError("the bag ends here")

    (report,) = evaluate(breaking(2), [Contender("mine", load(single_folder))])
    assert report["frames"] == 2 and report["broken"] == "the bag ends here"
    with pytest.raises(DataError, match="ends here"):
        evaluate(breaking(0), [Contender("mine", load(single_folder))])


def test_the_best_of_a_row_is_marked_and_the_floor_is_no_contender() -> None:
    reports = [
        {"model": "a", "miou": 0.5, "latency_p50_ms": 10.0, "agreement_with_first": 1.0},
        {"model": "b", "miou": 0.6, "latency_p50_ms": 12.0, "agreement_with_first": 0.9},
        {"model": "truth of the frame before", "miou": 0.9},
    ]
    rows = {row.name: row for row in comparison_rows(reports)}
    assert rows["mIoU"].cells == ("0.500", "0.600", "0.900") and rows["mIoU"].best == {1}
    assert rows["latency p50, ms"].cells == ("10.0", "12.0", "-") and rows["latency p50, ms"].best == {0}
    assert rows["agreement with first"].best == frozenset() and "TC" not in rows
