# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The table of all methods, at a tiny size: every method has a row, and its figures are those of `vss evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # which is no package
import methods as bench

from vss_ros.assemble import load_card, load_model, load_settings, methods, plan_for
from vss_ros.core.frame import Frame
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.side_by_side import Contender, evaluate
from vss_ros.methods.arseg.plan import ARSeg
from vss_ros.nets import NETS
from vss_ros.runtimes.cost import macs_per_frame, method_cost

SIZE = (32, 48)
Rows = dict[str, dict[str, Any]]


def drive(*_: object, **__: object) -> SyntheticDrive:
    return SyntheticDrive(seed=3, size=SIZE, frames=9)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models with random weights stay."""
    return tmp_path_factory.mktemp("untrained")


@pytest.fixture(scope="module")
def rows(single_folder: Path, lmanet_folder: Path, kept: Path) -> Rows:
    file, untrained = kept / "methods.json", bench.untrained
    asked = ["--hosts", "erfnet", "--size", "48x32", "--seconds", "0", "--data", "drive", "--json", str(file)]
    asked += ["--options", "{ssltm: {frames: 2}}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "open_source", drive)
        patch.setattr(
            bench, "untrained", lambda method, host, _, options: untrained(method, host, kept / method, options)
        )
        bench.main([*asked, "--models", str(single_folder), str(lmanet_folder)])
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["not_run"] == {} and found["size"] == list(SIZE)
    return {row["method"]: row for row in found["rows"]}


def test_every_method_has_a_row_and_the_host_alone_is_the_first(rows: Rows) -> None:
    assert set(rows) == set(methods()) and next(iter(rows)) == "single"
    assert {row["host"] for row in rows.values()} == {"erfnet"}
    assert rows["single"]["time_over_host"] == 1 and rows["single"]["memory_mb"] == 0
    for row in rows.values():
        assert row["frames"] == 12 and row["time_per_frame_ms"] > 0
        assert row["parameters"] >= rows["single"]["parameters"]


def test_a_trained_model_costs_what_its_files_do(rows: Rows, lmanet_folder: Path) -> None:
    card = load_card(lmanet_folder)
    plan = plan_for(card.method, card.options)
    costs = method_cost(card, plan, SIZE)
    assert rows["lmanet"]["model"] == card.name and rows["stt"]["model"] is None
    assert rows["lmanet"]["gmac_per_frame"] == pytest.approx(macs_per_frame(costs, plan, card.host) / 1e9)
    slots, cells, channels = 3, 4 * 6, 16 + 64
    assert rows["lmanet"]["memory_mb"] == pytest.approx(slots * cells * channels * 4 / 1e6)


def test_keyframes_are_averaged_over_whole_periods(rows: Rows, kept: Path) -> None:
    card = load_card(kept / "arseg")
    costs = method_cost(card, ARSeg(), SIZE)
    assert rows["arseg"]["gmac_per_frame"] == pytest.approx(macs_per_frame(costs, ARSeg(), card.host) / 1e9)


def test_accuracy_is_that_of_vss_evaluate_beside_the_twins(
    rows: Rows, single_folder: Path, lmanet_folder: Path
) -> None:
    models = [load_model(load_settings(values={"model.name": str(f)})) for f in (single_folder, lmanet_folder)]
    twin, lmanet, _ = evaluate(drive(), [Contender(model.card.name, model) for model in models])
    for key in ("miou", "tc", "vc8"):
        assert rows["lmanet"][key] == lmanet[key] is not None
        assert rows["lmanet"][f"twin_{key}"] == rows["single"][key] == twin[key]
        assert bench.cell(rows["lmanet"], key) == f"{lmanet[key]:.3f} ({twin[key]:.3f})"
        assert bench.cell(rows["stt"], key) == "untrained" and key not in rows["stt"]
        assert bench.cell({"model": "not judged"}, key) == "-"


def test_options_given_are_taken_and_parts_add_up(rows: Rows, kept: Path) -> None:
    assert load_card(kept / "ssltm").options == {"frames": 2}
    assert load_card(kept / "stt").options == bench.options_of("stt", "erfnet") != {}
    assert set(rows["stt"]["parts_ms"]) >= {"prepare", "encode", "attend", "fuse", "decode", "total"}
    assert bench.medians([{"a": 1.0, "b": 5.0}, {"a": 3.0}]) == {"a": 2.0, "b": 5.0}


def test_frames_of_a_kind_are_weighed_by_how_often_they_come() -> None:
    key, between = {"keyframe": 1.0}, {"encode": 1.0}
    spent = [key | {"total": 30.0}, *(between | {"total": total} for total in (4.0, 6.0, 5.0))]
    host = [{"encode": 1.0, "total": 10.0}] * 4
    assert bench.per_frame(spent, host) == (pytest.approx((30 + 3 * 5) / 4), pytest.approx((3 + 3 * 0.5) / 4))


@pytest.mark.parametrize(("seconds", "frames"), [(0.0, 6), (60.0, 10)])
def test_rounds_are_whole_and_at_least_two(seconds: float, frames: int) -> None:
    pictures = [Frame(n, np.zeros((1, 1, 3), np.uint8)) for n in range(10)]
    assert len(list(bench.rounds(pictures, 3, seconds))) == frames


def test_a_pair_that_is_refused_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "methods", lambda: {"stt": methods()["stt"]})
    monkeypatch.setattr(bench, "options_of", lambda method, host: {"head": "slim"})
    entries, refused = bench.entries_of("erfnet", [], SIZE, tmp_path, {})
    assert entries == [] and "a slim head wants bisenet* or pspnet18" in refused["stt on erfnet"]


@pytest.mark.parametrize("host", NETS)
def test_every_method_takes_the_options_of_every_host(host: str) -> None:
    import torch

    for method in methods():
        with torch.device("meta"):
            plan = plan_for(method, bench.options_of(method, host))
            bench.build_stages(method, plan, host, 11, mean=(0, 0, 0), std=(1, 1, 1))


def test_unknown_hosts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--hosts", "erfnet,vgg"])
    assert "--hosts wants some of erfnet, pspnet18" in capsys.readouterr().err


@pytest.mark.parametrize("options", ["sst: {width: 128}", "width"])
def test_options_of_unknown_methods_are_refused(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--options", options])
    assert "--options wants 'METHOD: {option: value}'" in capsys.readouterr().err
