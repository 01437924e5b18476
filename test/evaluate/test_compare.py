# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Two runs: signs, verdicts, and what else differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vss_ros.core.errors import DataError
from vss_ros.evaluate.compare import Run, compare, differs_line, read_run
from vss_ros.evaluate.quantities import FLOOR
from vss_ros.evaluate.table import difference_table


def run(*models: dict[str, Any], **circumstances: Any) -> Run:
    return Run({model["model"]: model for model in models}, {"source": "drive", **circumstances})


def model(name: str = "m", **figures: Any) -> dict[str, Any]:
    return {"model": name, "frames": 10, **figures}


@pytest.mark.parametrize(
    ("key", "a", "b", "verdict"),
    [
        ("miou", 0.5, 0.6, "better"),
        ("miou", 0.6, 0.5, "worse"),
        ("miou", 0.5, 0.5004, "same"),
        ("vc8", 0.9, 0.8, "worse"),
        ("churn", 0.10, 0.05, "better"),
        ("calibration_error", 0.01, 0.02, "worse"),
        ("latency_p50_ms", 100.0, 90.0, "better"),
        ("fps", 10.0, 9.0, "worse"),
        ("gmac", 10.0, 11.0, "worse"),
        ("parameters", 1000, 900, "better"),
        ("memory_mb", 1.0, 2.0, "worse"),
        ("confidence_mean", 0.8, 0.9, ""),
        ("agreement_with_first", 0.8, 0.9, ""),
    ],
)
def test_each_figure_has_its_better_direction(key: str, a: float, b: float, verdict: str) -> None:
    (pair,) = compare(run(model(**{key: a})), run(model(**{key: b})))["models"]
    assert pair["figures"] == {key: {"a": a, "b": b, "difference": pytest.approx(b - a), "verdict": verdict}}


def test_classes_are_compared_where_both_runs_have_them() -> None:
    one = model(miou=None, iou={"road": 0.9, "pole": 0.2, "sky": None, "car": 0.5})
    other = model(miou=0.5, iou={"road": 0.8, "pole": 0.4, "sky": 0.1})
    (pair,) = compare(run(one), run(other))["models"]
    assert {name: found["verdict"] for name, found in pair["iou"].items()} == {"road": "worse", "pole": "better"}
    assert pair["figures"] == {}, "a figure that one of the runs does not have cannot be compared"


def test_models_meet_by_name_or_when_they_are_alone() -> None:
    both = compare(run(model("x"), model("y")), run(model("y"), model("z")))
    assert [(pair["a"], pair["b"]) for pair in both["models"]] == [("y", "y")]
    assert both["differs"] == {"models": ["x", "z"]}
    alone = compare(run(model("before")), run(model("after")))
    assert [(pair["a"], pair["b"]) for pair in alone["models"]] == [("before", "after")] and alone["differs"] == {}
    with pytest.raises(DataError, match="a model in common were wanted, got x, y and z"):
        compare(run(model("x"), model("y")), run(model("z")))


def test_what_else_differs_is_said_in_one_line() -> None:
    a = run(model(frames=10), settings={"memory.slots": 4, "model.name": "a"}, machine={"cpu": "X", "cores": 2})
    b = run(model(frames=9), settings={"memory.slots": 0, "model.name": "b"}, machine={"cpu": "X", "cores": 8})
    differs = compare(a, b)["differs"]
    assert differs == {"settings memory.slots": [4, 0], "machine cores": [2, 8], "frames of m": [10, 9]}
    line = differs_line(differs)
    assert "\n" not in line and "settings memory.slots (4 / 0), machine cores (2 / 8), frames of m (10 / 9)" in line
    assert differs_line(compare(a, a)["differs"]) == ""
    old = compare(run(model(), machine=None), a)["differs"]
    assert old == {"machine": [None, {"cpu": "X", "cores": 2}]} and "machine (not said / said)" in differs_line(old)


def test_files_of_evaluate_and_replay_are_read(tmp_path: Path) -> None:
    evaluated, replayed = tmp_path / "e.json", tmp_path / "r.json"
    evaluated.write_text(json.dumps({"source": "drive", "models": [model(miou=0.5), model(FLOOR, miou=0.7)]}))
    replayed.write_text(json.dumps({"source": "bags/drive", "settings": {"model.name": "m"}, **model(miou=0.6)}))
    found = compare(read_run(evaluated), read_run(replayed))
    assert [pair["a"] for pair in found["models"]] == ["m"], "the floor says nothing of a model"
    assert found["models"][0]["figures"]["miou"]["verdict"] == "better" and list(found["differs"]) == ["settings"]
    table = difference_table(found, "[x]")
    assert list(table.columns[1].cells) == ["", "0.500"] and list(table.columns[3].cells) == ["", "+0.100"]


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"models": [1]}', '{"models": [{"x": 1}]}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"x\.json"):
        read_run(file)
    with pytest.raises(DataError, match="write them with --json"):
        read_run(tmp_path / "none.json")
