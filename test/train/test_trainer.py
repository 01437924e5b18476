# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A few steps on rendered streets: the loss falls, frozen parts stand still, and a resumed run is the same run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.data.pseudo_video import PseudoVideo  # noqa: E402
from vss_ros.train.clips import PhaseClips  # noqa: E402
from vss_ros.train.publish import prepare_training, publish  # noqa: E402
from vss_ros.train.recipe import Data, Phase, Recipe  # noqa: E402

STREETS = (Data("synthetic", samples=8, drives=3),)
MEMORY = ("encode.key_query", "encode.key_memory", "encode.value_query", "encode.value_memory", "fuse")
RECIPE = Recipe(
    name="tiny",
    summary="A test's model.",
    terms="synthetic streets",
    licence="Apache-2.0",
    net="erfnet",
    method="lmanet",
    labels="camvid11",
    options={"slots": 2, "window": 5},
    phases=(
        Phase(epochs=2, rate=1e-3, data=STREETS, remembered=2, batch=4),
        Phase(epochs=1, rate=5e-4, data=STREETS, remembered=1, batch=4),  # as many weights, its own schedule
        Phase(epochs=1, rate=1e-3, data=STREETS, remembered=2, trains=MEMORY, batch=4),
    ),
    crop=(64, 80),
    input_size=(64, 80),
)


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    whole = prepare_training(RECIPE, tmp_path / "whole", None).run(None).state_dict()
    for _ in range(4):
        parts = prepare_training(RECIPE, tmp_path / "parts", None).run(None, minutes=0).state_dict()
    losses = [[line["loss"] for line in logged(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert all(whole[name].equal(parts[name]) for name in whole)


def test_frozen_parts_stand_still_and_their_norms_too(tmp_path: Path) -> None:
    recipe = replace(RECIPE, phases=RECIPE.phases[2:])
    training = prepare_training(recipe, tmp_path, None)
    before = {name: tensor.clone() for name, tensor in training.stages.state_dict().items()}
    training.run(None)
    after = training.stages.state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved and all(name.startswith(MEMORY) for name in moved)
    assert "fuse.norm.running_mean" in moved and "encode.key_memory.weight" in moved


def test_learns_one_street_by_heart(tmp_path: Path) -> None:
    phase = Phase(epochs=8, rate=3e-3, data=(Data("synthetic", samples=8, drives=1),), batch=4)
    recipe = replace(RECIPE, method="single", options={}, phases=(phase,))
    prepare_training(recipe, tmp_path, None).run(None)
    losses = [line["loss"] for line in logged(tmp_path)]
    assert losses[-1] < 0.75 * losses[0]


def test_another_recipe_does_not_resume(tmp_path: Path) -> None:
    prepare_training(RECIPE, tmp_path, None).run(None, minutes=0)
    with pytest.raises(TrainError, match="written by another recipe"):
        prepare_training(replace(RECIPE, seed=1), tmp_path, None).run(None, minutes=0)


def test_publishes_a_folder_that_loads(tmp_path: Path) -> None:
    from vss_ros.assemble import load_card, load_model, load_settings
    from vss_ros.core.frame import Frame
    from vss_ros.runtimes.export import write_entries
    from vss_ros.runtimes.golden import golden_images

    training = prepare_training(replace(RECIPE, limits=("Not by night.",)), tmp_path / "run", None)
    stages = training.run(None, minutes=0)
    card = publish(training, stages, tmp_path / "models" / "tiny", None)
    assert card.training["epochs"] == 1 and card.training["data"] == "synthetic streets"
    assert card.limits == ("Not by night.",) and card.folder == tmp_path / "models" / "tiny"
    model = load_model(load_settings(values={"model.name": str(card.folder)}))
    assert model.stream()(Frame(0, np.zeros((64, 80, 3), np.uint8))).labels.shape == (64, 80)
    before = {path.name: path.read_bytes() for path in card.folder.glob("*.onnx")}
    measured = write_entries(card, results={"val": {"miou": 0.5}})
    assert load_card(card.folder) == measured and measured.results == {"val": {"miou": 0.5}}
    assert len(golden_images(measured)) == 3, "for the check of engines"
    assert {path.name: path.read_bytes() for path in card.folder.glob("*.onnx")} == before


def test_clips_depend_on_seed_epoch_and_index_alone() -> None:
    first, second = (PhaseClips(RECIPE, 0, None) for _ in range(2))
    assert torch.equal(first[3][0], second[3][0])
    second.epoch = 1
    assert not torch.equal(first[3][0][-1], second[3][0][-1])
    assert first[4][0].shape == first[7][0].shape, "a batch has clips of one length"


def test_equal_phases_have_clips_of_their_own() -> None:
    twice = replace(RECIPE, phases=(RECIPE.phases[0], RECIPE.phases[0]))
    first, second = (PhaseClips(twice, number, None)[0][0][-1] for number in range(2))
    assert not torch.equal(first, second)


def of(source: str) -> Recipe:
    return replace(RECIPE, phases=(replace(RECIPE.phases[0], data=(Data(source, 8),)),))


def test_unknown_data_is_refused() -> None:
    with pytest.raises(TrainError, match="a data source is one of camvid, cityscapes, vspw, or 'synthetic' with at"):
        PhaseClips(of("kitti"), 0, None)
    with pytest.raises(TrainError, match="source 'camvid' wants the data folder"):
        PhaseClips(of("camvid"), 0, None)


def test_pseudo_video_moves_labels_and_picture_alike() -> None:
    """Labels are painted into the picture: wherever they go, they must go together, and as `motion` says."""
    labels = np.repeat(np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8), 40, 0), 40, 1)
    image = np.stack([labels * 5] * 3, axis=-1)
    moving = PseudoVideo((120, 160), scale=(0.8, 1.2), pan_px=4, light=0.0)
    for seed in range(5):
        clip = moving.clip(image, labels, 4, np.random.default_rng(seed))
        inside = clip.labels != 255
        close = np.abs(clip.images[..., 0].astype(int) - clip.labels.astype(int) * 5) <= 8
        assert close[inside].mean() > 0.9  # all but cell borders and blur
        y, x = np.mgrid[:120, :160]
        for now in range(1, 4):
            there = np.stack([x, y], -1) + clip.motion[now]
            column, row = (np.rint(there[..., axis]).astype(int) for axis in (0, 1))
            seen = (column >= 0) & (column < 160) & (row >= 0) & (row < 120)
            before = clip.labels[now - 1][row[seen], column[seen]]
            assert np.mean(before == clip.labels[now][seen]) > 0.95


def test_the_average_follows_at_first_and_lingers_later() -> None:
    from vss_ros.train.trainer import _warm_average

    update = _warm_average(0.99)
    for updates, kept in ((1, 2 / 11), (10_000, 0.99)):
        averaged, current = [torch.ones(2)], [torch.zeros(2)]
        update(averaged, current, torch.tensor(updates))
        assert averaged[0].tolist() == pytest.approx([kept, kept])


def test_a_run_that_was_stopped_says_that_it_has_not_finished(tmp_path: Path) -> None:
    finished = []
    for _ in RECIPE.phases[:2] + RECIPE.phases[1:]:
        training = prepare_training(RECIPE, tmp_path, None)
        training.run(None, minutes=0)
        finished.append(training.finished)
    assert finished == [False, False, False, True]


def test_a_loss_that_is_lost_names_its_phase_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    phase = Phase(epochs=1, rate=5e-4, data=(Data("synthetic", samples=4, drives=1),), batch=4)
    recipe = replace(RECIPE, method="single", options={}, phases=(phase, phase))
    training = prepare_training(recipe, tmp_path, None)
    training.extra = lambda *_: {"lost": torch.tensor(torch.nan if training.done else 0.0)}
    with pytest.raises(TrainError, match=r"the loss of phase 2 became nan; lower its rate of 0\.0005"):
        training.run(None)
    assert len(logged(tmp_path)) == 1 and (tmp_path / "checkpoint.pt").exists()
