# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss evaluate` and `vss compare` as a user runs them: files first, then the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.test_cli import ROOT, refused, vss


def run_into_a_closed_pipe(*arguments: object) -> None:
    """`vss ... | true`: the reader is gone before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vss_ros.cli", *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.DEVNULL, timeout=120)
    os.close(writer)


def test_figures_are_written_before_a_table_that_nobody_reads(single_folder: Path, tmp_path: Path) -> None:
    replayed, evaluated = tmp_path / "replay.json", tmp_path / "evaluate.json"
    run_into_a_closed_pipe("replay", "synthetic:3x2", "--model", single_folder, "--json", replayed)
    run_into_a_closed_pipe("evaluate", single_folder, "--data", "synthetic:3x2", "--json", evaluated)
    assert json.loads(replayed.read_text())["frames"] == 2
    content = json.loads(evaluated.read_text())
    wanted = {"model", "miou", "tc", "vc8", "latency_p50_ms", "gmac", "parameters", "memory_mb"}
    assert all(wanted <= model.keys() for model in content["models"]) and len(content["models"]) == 2
    assert content["machine"]["cores"] >= 1 and content["settings"]["runtime.threads"] == 0
    assert content["command"].startswith("vss evaluate ") and str(evaluated) in content["command"]


def test_a_report_of_a_bag_with_and_without_truth(single_folder: Path, lmanet_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from vss_ros.data.bag_writer import BagWriter
    from vss_ros.data.synthetic import SyntheticDrive

    with BagWriter(tmp_path / "drive") as bag:
        for frame in SyntheticDrive(seed=1, size=(64, 96), frames=3):
            bag.write_image("/camera/image_raw", frame.image, frame.stamp_ns)
            assert frame.truth is not None
            bag.write_labels("/camera/labels", frame.truth, frame.stamp_ns)
    topics = "--topic", "/camera/image_raw"
    common = ("evaluate", single_folder, lmanet_folder, "--data", tmp_path / "drive", *topics)
    done = vss(*common, "--html", tmp_path / "blind.html")
    assert done.returncode == 0 and "mIoU" not in done.stdout and "agreement" in done.stdout, done.stderr
    assert 'id="classes"' not in (tmp_path / "blind.html").read_text()
    done = vss(*common, "--truth-topic", "/camera/labels", "--html", tmp_path / "seen.html")
    assert done.returncode == 0 and "mIoU" in done.stdout, done.stderr
    page = (tmp_path / "seen.html").read_text()
    assert 'id="classes"' in page and "--truth-topic /camera/labels" in page and "TC is along DIS medium" in page


def test_a_report_without_its_libraries_is_refused_before_the_models_are_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from vss_ros.cli import main;"
        "main(['evaluate', 'no_such_model', '--data', 'nowhere', '--html', 'x.html'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert "pip install jinja2 matplotlib" in refused(done)


def test_what_could_not_be_written_in_the_end_is_refused_before_the_models_are_loaded(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    for option in ("--json", "--html"):
        run = ("evaluate", "no_such_model", "--data", "nowhere", option)
        assert "a file was wanted at" in refused(vss(*run, tmp_path))
        assert "a folder was wanted at" in refused(vss(*run, tmp_path / "file" / "x"))


def test_a_flow_that_is_not_there_is_refused_before_the_models_are_loaded() -> None:
    run = ("evaluate", "no_such_model", "--data", "nowhere", "--flow")
    assert "--flow wants dis or raft:WEIGHTS.pth, got 'raft'" in refused(vss(*run, "raft"))


def test_training_without_its_libraries_says_how_to_get_them(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None; from vss_ros.cli import main;"
        "main(['train', 'config/recipes/single_erfnet_camvid.yaml'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "vss train wants torch and onnx" in refused(done) and "requirements-train.txt" in done.stderr


def test_a_split_is_evaluated_whole(single_folder: Path, tmp_path: Path) -> None:
    import cv2

    for kind in ("images", "labels"):
        (tmp_path / "camvid" / "test" / kind).mkdir(parents=True)
    for name in ("A_00001", "A_00031", "B_00001"):
        cv2.imwrite(str(tmp_path / "camvid" / "test" / "images" / f"{name}.jpg"), np.zeros((64, 96, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "camvid" / "test" / "labels" / f"{name}.png"), np.zeros((64, 96), np.uint8))
    (tmp_path / "camvid" / "sequences.json").write_text("{}")
    figures = tmp_path / "test.json"
    done = vss("evaluate", single_folder, "--data", tmp_path / "camvid", "--split", "test", "--json", figures)
    assert done.returncode == 0, done.stderr
    content = json.loads(figures.read_text())
    assert content["source"] == "camvid/test/all" and content["models"][0]["frames"] == 3
    sentence = refused(vss("evaluate", single_folder, "--data", tmp_path / "camvid"))
    assert "split 'val' has no images" in sentence


def test_a_truncated_bag_keeps_its_good_frames(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.data.synthetic import SyntheticDrive, write_bag

    write_bag(tmp_path / "drive", SyntheticDrive(seed=1, size=(360, 480), frames=6))
    (file,) = (tmp_path / "drive").glob("*.mcap")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    figures = tmp_path / "figures.json"
    sentence = refused(vss("evaluate", single_folder, "--data", tmp_path / "drive", "--json", figures))
    (report, *_) = json.loads(figures.read_text())["models"]
    assert 1 <= report["frames"] < 6 and report["broken"] in sentence


def test_truth_of_other_classes_is_refused_before_a_frame_is_compared(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.data.bag_writer import BagWriter
    from vss_ros.data.cityscapes import cityscapes_labels

    picture = np.zeros((64, 96, 3), np.uint8)
    with BagWriter(tmp_path / "drive") as bag:
        bag.write_label_info("/camera/label_info", cityscapes_labels().names, 1)
        bag.write_image("/camera/image_raw", picture, 1)
        bag.write_labels("/camera/labels_truth", picture[..., 0], 1)
    sentence = refused(vss("evaluate", single_folder, "--data", tmp_path / "drive"))
    assert "truth of the 11 classes of 'tiny_single' was wanted, drive has 19 classes: id 0 is sky" in sentence


def test_two_runs_are_compared(tmp_path: Path) -> None:
    a, b, out = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "out" / "difference.json"
    one = {"model": "m", "frames": 9, "miou": 0.5, "latency_p50_ms": 10.0, "iou": {"road": 0.9}}
    a.write_text(json.dumps({"source": "drive", "models": [one]}))
    b.write_text(json.dumps({"source": "other", "models": [{**one, "miou": 0.4, "iou": {"road": 0.95}}]}))
    done = vss("compare", a, b, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "-0.100" in done.stdout and "worse" in done.stdout and "source (drive / other)" in done.stdout
    found = json.loads(out.read_text())["models"][0]
    assert found["figures"]["miou"]["verdict"] == "worse" and found["iou"]["road"]["verdict"] == "better"
    assert found["figures"]["latency_p50_ms"]["verdict"] == "same"
    assert "write them with --json" in refused(vss("compare", a, tmp_path / "none.json"))
