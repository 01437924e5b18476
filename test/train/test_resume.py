# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A run may be killed at any moment: what is on disk is whole, and what comes after is as if nothing had been."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from test.train.test_trainer import MEMORY, RECIPE, logged  # noqa: E402
from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.train import trainer  # noqa: E402
from vss_ros.train.checkpoint import align_log, load_state, save_whole  # noqa: E402
from vss_ros.train.progress import Progress  # noqa: E402
from vss_ros.train.publish import prepare_training  # noqa: E402
from vss_ros.train.recipe import Data, Phase  # noqa: E402

ROOT = Path(__file__).parents[2]
STREETS = (Data("synthetic", samples=8, drives=1),)
SHORT = replace(RECIPE, phases=(Phase(epochs=2, rate=1e-3, data=STREETS, remembered=1, batch=4),))


class Killed(BaseException):
    """As a signal ends a run."""


def kill_at(epoch: int, step: int):
    def observe(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (epoch, step):
            raise Killed

    return observe


def test_a_run_killed_within_an_epoch_ends_as_a_whole_one(tmp_path: Path) -> None:
    whole = prepare_training(SHORT, tmp_path / "whole", None).run(None).state_dict()
    with pytest.raises(Killed):
        prepare_training(SHORT, tmp_path / "killed", None, observe=kill_at(2, 1)).run(None)
    assert len(logged(tmp_path / "killed")) == 1
    resumed = prepare_training(SHORT, tmp_path / "killed", None).run(None).state_dict()
    assert all(whole[name].equal(resumed[name]) for name in whole)
    losses = [[line["loss"] for line in logged(tmp_path / name)] for name in ("whole", "killed")]
    assert losses[0] == losses[1]


def test_a_finished_run_goes_on_with_further_phases(tmp_path: Path) -> None:
    (first,) = SHORT.phases
    grown = replace(SHORT, phases=(first, replace(first, epochs=1, rate=5e-4)))
    whole = prepare_training(grown, tmp_path / "whole", None).run(None).state_dict()
    prepare_training(SHORT, tmp_path / "grown", None).run(None)
    found = prepare_training(grown, tmp_path / "grown", None).run(None).state_dict()
    assert all(whole[name].equal(found[name]) for name in whole)
    assert [line["phase"] for line in logged(tmp_path / "grown")] == [0, 0, 1]
    with pytest.raises(TrainError, match="only by further phases"):
        prepare_training(SHORT, tmp_path / "grown", None).run(None)


def test_a_run_killed_between_checkpoint_and_log_gets_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(path: Path, figures: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "append_line", kill)
        with pytest.raises(Killed):
            prepare_training(SHORT, tmp_path, None).run(None)
    prepare_training(SHORT, tmp_path, None).run(None)
    assert [line["epoch"] for line in logged(tmp_path)] == [0, 1]


def test_a_half_written_checkpoint_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_whole({"done": 1}, path)

    def half(state: object, scratch: Path) -> None:
        scratch.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Killed):
        save_whole({"done": 2}, path)
    assert load_state(path) == {"done": 1}


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_whole({"done": torch.arange(1000)}, path)
    for content in (b"no checkpoint", path.read_bytes()[:2000], b"", b".", b"junk"):
        path.write_bytes(content)
        with pytest.raises(TrainError, match=r"checkpoint\.pt was wanted as a checkpoint and is damaged; remove it"):
            load_state(path)


def test_a_log_is_brought_to_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    align_log(path, 0, {})
    assert not path.exists()
    path.write_text('{"epoch": 0}\n{"epoch": 1}\n')
    align_log(path, 3, {"epoch": 2})
    assert [line["epoch"] for line in logged(tmp_path)] == [0, 1, 2]
    align_log(path, 1, {"epoch": 0})
    assert [line["epoch"] for line in logged(tmp_path)] == [0]


@pytest.mark.parametrize("torn", ['{"epo', '{"epoch": 1}', ""])
def test_a_line_that_a_full_disk_tore_is_written_whole(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 0}\n' + torn)
    align_log(path, 2, {"epoch": 1})
    assert path.read_text() == '{"epoch": 0}\n{"epoch": 1}\n'


def test_a_phase_that_trains_all_follows_one_that_does_not(tmp_path: Path) -> None:
    first = Phase(epochs=1, rate=1e-3, data=STREETS, remembered=1, batch=4, trains=MEMORY)
    training = prepare_training(replace(SHORT, phases=(first, replace(first, trains=()))), tmp_path, None)
    before = training.stages["decode"].decoder.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    training.run(None)
    after = training.stages["decode"].decoder.state_dict()
    assert any(not before[name].equal(after[name]) for name in before if name.endswith("weight"))


RECIPE_FILE = """
name: tiny
summary: A test's model.
terms: synthetic streets
licence: Apache-2.0
net: erfnet
method: single
labels: camvid11
crop: [64, 80]
input_size: [64, 80]
phases: [{epochs: 500, rate: 1.0e-3, batch: 4, data: [{source: synthetic, samples: 8, drives: 1}]}]
"""


def test_a_signal_ends_the_command_with_where_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE_FILE)
    command = [sys.executable, "-m", "vss_ros.cli", "train", "tiny.yaml"]
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not (tmp_path / "runs" / "tiny" / "checkpoint.pt").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, log = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in log
    assert "stopped; run again to go on from the last whole epoch in runs/tiny" in said
    assert re.search(r"'epoch': 0, 'loss'", log)
