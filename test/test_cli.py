# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The commands as a user runs them, in processes of their own; wrong input is one sentence and exit code 1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def vss(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vss_ros.cli", *map(str, arguments)]
    wide = {**os.environ, "COLUMNS": "200", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, cwd=cwd, env=wide, capture_output=True, text=True, timeout=120)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refused command."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "replay",
        "segment",
        "evaluate",
        "compare",
        "node",
        "export",
        "train",
        "models",
        "planner-config",
        "doctor",
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = vss(command, "--help")
    assert done.returncode == 0 and f"Example: vss {command}" in done.stdout.replace("`", "")


def test_demo_says_where_everything_lies(lmanet_folder: Path, tmp_path: Path) -> None:
    done = vss("demo", "--model", lmanet_folder, "--frames", 5, "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    for what in ("drive", "labels", "overlay.mp4", "report.json"):
        assert what in done.stdout and (tmp_path / "demo" / what).exists()
    again = vss("demo", "--model", lmanet_folder, "--frames", 5, "--out", tmp_path / "demo")
    assert again.returncode == 0 and (tmp_path / "demo" / "labels-2").exists(), "an earlier bag is never overwritten"


def test_evaluate_puts_models_side_by_side(single_folder: Path, lmanet_folder: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    source = ("--data", "synthetic:3x10", "--memory", "off", "--threads", 1, "--json", figures)
    done = vss("evaluate", single_folder, lmanet_folder, *source)
    assert done.returncode == 0, done.stderr
    models = json.loads(figures.read_text())["models"]
    assert [row["model"] for row in models][1:] == ["tiny_lmanet", "tiny_lmanet, slots 0", "truth of the frame before"]
    assert models[1]["latency_times_first"] > 0 and "tiny_lmanet, slots 0" in done.stdout
    assert "--memory wants one of" in refused(
        vss("evaluate", lmanet_folder, "--data", "synthetic:3x2", "--memory", "x")
    )


def test_replay_twice_gives_the_same_bytes(lmanet_folder: Path, tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    seen = []
    for run in ("a", "b"):
        figures = tmp_path / f"{run}.json"
        done = vss("replay", "synthetic:1x6", "-m", lmanet_folder, "--out", tmp_path / run, "--json", figures)
        assert done.returncode == 0, done.stderr
        report = json.loads(figures.read_text())
        assert report["frames"] == 6 and report["miou"] >= 0 and report["latency_p50_ms"] > 0
        with AnyReader([tmp_path / run / "labels"]) as bag:
            seen.append([(c.topic, bytes(raw)) for c, _, raw in bag.messages()])
    assert seen[0] == seen[1] and len(seen[0]) == 13


def test_memory_can_be_switched_off(lmanet_folder: Path, tmp_path: Path) -> None:
    vss("replay", "synthetic:1x4", "-m", lmanet_folder, "--memory-slots", 0, "--json", tmp_path / "off.json")
    report = json.loads((tmp_path / "off.json").read_text())
    assert report["settings"]["memory.slots"] == 0 and "attend" not in report["parts"]


def test_segment_writes_label_images(single_folder: Path, tmp_path: Path) -> None:
    done = vss("segment", "synthetic:2x2", "--model", single_folder, "--out", tmp_path)
    assert done.returncode == 0 and "2 frames labelled" in done.stdout
    assert (tmp_path / "000001_labels.png").is_file()


def test_export_again_keeps_every_weight_and_writes_one_file(lmanet_folder: Path, tmp_path: Path) -> None:
    import onnx

    from vss_ros.assemble import load_card
    from vss_ros.runtimes.export import read_weights

    graph = tmp_path / "graphs" / "lmanet.onnx"
    done = vss("export", lmanet_folder, "--out", tmp_path / "again", "--single-graph", graph, "--size", "48x32")
    assert done.returncode == 0, done.stderr
    image = onnx.load(graph).graph.input[0]
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [32, 48, 3]
    before, after = read_weights(load_card(lmanet_folder)), read_weights(load_card(tmp_path / "again"))
    assert before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)
    again = load_card(tmp_path / "again")
    assert again.golden_path().is_file() and again.limits == load_card(lmanet_folder).limits == ("Knows nothing.",)


def test_golden_frames_are_written_into_the_models_own_folder(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.assemble import load_card

    folder = tmp_path / "copy"
    shutil.copytree(single_folder, folder)
    (folder / "golden.jpg").unlink(missing_ok=True)
    before = load_card(single_folder)
    done = vss("export", folder, "--golden")
    assert done.returncode == 0 and "golden frames written to" in done.stdout
    card = load_card(folder)
    assert card.golden_path() == folder / "golden.jpg" and card.golden is not None and card.golden.frames == 3
    assert (card.stages, card.training, card.labels) == (before.stages, before.training, before.labels)


def test_doctor_and_models_answer(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.assemble import model_folders

    done = vss("doctor", "--json", tmp_path / "doctor.json")
    found = {f["what"]: f for f in json.loads((tmp_path / "doctor.json").read_text())["findings"]}
    assert "attention kernel" in found and found["python"]["good"]
    assert done.returncode == (1 if any(f["needed"] and not f["good"] for f in found.values()) else 0)
    listed = vss("models")
    assert listed.returncode == 0 and all(folder.name in listed.stdout for folder in model_folders())
    shown = vss("models", single_folder)
    assert shown.returncode == 0 and "single on erfnet" in shown.stdout and "- Knows nothing." in shown.stdout
    assert "installed are" in refused(vss("models", "no_such_model"))


def test_planner_config_is_shown_or_written_once(single_folder: Path, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "nav2" / "labels.yaml"
    shown = vss("planner-config", "nav2", single_folder, "--topic-prefix", "/vss/front")
    assert shown.returncode == 0 and "/vss/front/labels" in shown.stdout
    written = vss("planner-config", "nav2", single_folder, "--topic-prefix", "/vss/front", "--out", file)
    assert written.returncode == 0, written.stderr
    assert yaml.safe_load(file.read_text()) == yaml.safe_load(shown.stdout)
    again = refused(vss("planner-config", "nav2", single_folder, "--out", file))
    assert f"a new file was wanted at {file}: File exists" in again


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("planner-config", "nav2", "lmanet_erfnet_camvit"), "was wanted for 'lmanet_erfnet_camvit'"),
        (("replay", "no/such/bag"), "no/such/bag"),
        (("replay", "synthetic:1x2", "--model", "lmanet_erfnet_camvit"), "was wanted for 'lmanet_erfnet_camvit'"),
        (("replay", "synthetic:1x2", "--memory-slots", "99"), "memory.slots wants -1..64 frames, got 99"),
        (
            ("replay", "synthetic:1x2", "--backend", "tpu"),
            "runtime.backend wants one of auto, onnx, tensorrt, torch, got 'tpu'",
        ),
        (("replay", "synthetic:1x2", "--settings", "nowhere.yaml"), "YAML file of settings was wanted at nowhere.yaml"),
        (("node", "--transport", "tcp"), "transport wants one of auto, rclpy, dds, got 'tcp'"),
        (
            ("export", "lmanet_erfnet_camvid"),
            "export wants --out FOLDER, --single-graph FILE.onnx or --golden, got none",
        ),
        (("export", "x", "--out", "x", "--size", "96x64"), "--size 96x64 wants --single-graph FILE.onnx"),
        (("export", "x", "--single-graph", "x.onnx", "--size", "96"), "--size wants model or WIDTHxHEIGHT"),
        (("replay", "synthetic:1x2", "--json", "docs"), "a file was wanted at docs, but a folder is there"),
        (("demo", "--out", "README.md"), "a folder was wanted at README.md"),
    ],
)
def test_wrong_input_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(vss(*arguments))


@pytest.mark.parametrize("name", ["[old]", "[/x]", ":warning:"])
def test_a_path_is_told_as_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vss_ros.cli import main
    from vss_ros.cli.options import say

    path = tmp_path / name / "run.json"
    with pytest.raises(SystemExit):
        main(["compare", str(path), str(path)])
    say(f"written to {path}")
    told = capsys.readouterr()
    assert f"error: figures of a run were wanted at {path}: " in told.err and told.out == f"written to {path}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_figures_that_cannot_be_written_are_shown(single_folder: Path) -> None:
    done = vss("replay", "synthetic:1x2", "--model", single_folder, "--json", "/dev/full")
    assert "figures were to be written to /dev/full: " in refused(done) and "frames per second" in done.stdout


def test_training_refuses_what_is_no_recipe_and_what_is_no_folder() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    assert "a recipe file was wanted at nowhere.yaml" in refused(vss("train", "nowhere.yaml"))
    done = vss("train", "config/recipes/single_erfnet_camvid.yaml", "--out", "README.md")
    assert "a folder was wanted at README.md/single_erfnet_camvid" in refused(done)


def test_an_even_window_is_refused(lmanet_folder: Path) -> None:
    done = vss("replay", "synthetic:1x2", "--model", lmanet_folder, "--memory-window", "20")
    assert "odd side length of at least 1 cell, got 20; try 21" in refused(done)


def test_a_damaged_stage_file_is_refused(lmanet_folder: Path, tmp_path: Path) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(lmanet_folder, damaged)
    content = (damaged / "fuse.onnx").read_bytes()
    (damaged / "fuse.onnx").write_bytes(content[: len(content) // 2])
    assert "fuse.onnx wants sha256" in refused(vss("replay", "synthetic:1x2", "--model", damaged))


def test_a_truncated_bag_keeps_its_good_frames(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.data.synthetic import SyntheticDrive, write_bag

    write_bag(tmp_path / "drive", SyntheticDrive(seed=1, size=(360, 480), frames=10))
    (file,) = (tmp_path / "drive").glob("*.mcap")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    done = vss("replay", tmp_path / "drive", "--model", single_folder, "--out", tmp_path / "out")
    sentence = refused(done)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert 2 <= report["frames"] < 10 and f"{report['frames']} frame" in sentence
    assert report["broken"] in sentence


def test_an_odd_picture_size_is_segmented_at_its_own_size(single_folder: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "odd.png"), picture)
    done = vss("segment", tmp_path / "in", "--model", single_folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "out" / "000000_labels.png"), cv2.IMREAD_UNCHANGED).shape == (97, 131)


def test_an_unknown_topic_names_the_ones_there_are(single_folder: Path, tmp_path: Path) -> None:
    from vss_ros.data.synthetic import SyntheticDrive, write_bag

    write_bag(tmp_path / "drive", SyntheticDrive(seed=1, size=(64, 96), frames=2))
    sentence = refused(vss("replay", tmp_path / "drive", "--model", single_folder, "--topic", "/camera/image_ra"))
    assert "/camera/image_ra" in sentence and "/camera/image_raw" in sentence


def test_odd_messages_are_dropped_and_stamps_that_go_back_reset(single_folder: Path, tmp_path: Path) -> None:
    import numpy as np

    from vss_ros.data.bag_writer import BagWriter
    from vss_ros.data.typestore import IMAGE, ros2_types

    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    types = ros2_types().types
    with BagWriter(tmp_path / "bag") as bag:
        for stamp_ns in (10**9, 11 * 10**8):
            bag.write_image("/image", picture, stamp_ns)
        stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=2 * 10**8)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
        strange = types[IMAGE](
            header=header, height=4, width=4, encoding="32SC1", is_bigendian=0, step=16, data=np.zeros(64, np.uint8)
        )
        bag.write("/image", IMAGE, strange, 12 * 10**8)
        bag.write_image("/image", picture, 13 * 10**8)
        # received later than the frame before, but stamped earlier, as when a recording loops
        earlier = types["builtin_interfaces/msg/Time"](sec=0, nanosec=5 * 10**8)
        header = types["std_msgs/msg/Header"](stamp=earlier, frame_id="camera")
        flat = picture.reshape(-1)
        looped = types[IMAGE](header=header, height=64, width=96, encoding="rgb8", is_bigendian=0, step=288, data=flat)
        bag.write("/image", IMAGE, looped, 14 * 10**8)
    done = vss("replay", tmp_path / "bag", "--model", single_folder, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["frames"] == 4 and report["resets"] == {"stamp went back": 1}
    assert list(report["dropped"].values()) == [1]
    assert "32SC1" in done.stderr + json.dumps(report["dropped"])
