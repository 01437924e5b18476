# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training of methods with keyframes: pairs of pictures with the motion between them, and a run on a trained host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test.conftest import random_model  # noqa: E402
from test.train.test_trainer import RECIPE as TINY  # noqa: E402
from vss_ros.assemble import load_card  # noqa: E402
from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.data.pseudo_video import PseudoVideo  # noqa: E402
from vss_ros.runtimes.export import read_weights  # noqa: E402
from vss_ros.train.clips import PhaseClips, Stills  # noqa: E402
from vss_ros.train.publish import prepare_training, publish  # noqa: E402
from vss_ros.train.recipe import Data, Phase  # noqa: E402

PHASE = Phase(
    epochs=1,
    rate=1e-3,
    data=(Data("synthetic", samples=4, drives=1),),
    trains=("encode", "project"),
    distance=11,
    batch=2,
)
RECIPE = replace(
    TINY,
    name="tiny_arseg",
    method="arseg",
    options={"period": 4, "window": 3},
    phases=(PHASE,),
    crop=(48, 64),
    input_size=(96, 128),
)


def test_a_pair_moves_labels_and_picture_as_its_motion_says() -> None:
    labels = np.repeat(np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8), 40, 0), 40, 1)
    paint = (np.arange(256) * 97 % 251).astype(np.uint8)  # neighbours are far from each other
    image = np.stack([paint[labels]] * 3, axis=-1)
    moving = PseudoVideo((112, 160), scale=(1.0, 1.0), pan_px=3, light=0.0)
    for seed in range(8):
        images, truth, motion = Stills([(image, labels)]).pair(11, moving, np.random.default_rng(seed))
        assert images.shape == (2, 112, 160, 3) and motion.shape == (2, 7, 10, 2) and not motion[0].any()
        y, x = np.mgrid[:112, :160]
        there = np.stack([x, y], -1) + motion[1].repeat(16, 0).repeat(16, 1)
        column, row = (np.rint(there[..., axis]).astype(int) for axis in (0, 1))
        seen = (column >= 0) & (column < 160) & (row >= 0) & (row < 112) & (truth != 255)
        agree = np.abs(images[0][row[seen], column[seen], 0].astype(int) - paint[truth[seen]]) <= 10
        stay = np.abs(images[0][..., 0].astype(int) - paint[truth])[truth != 255] <= 10
        assert agree.mean() > 0.85 and agree.mean() > stay.mean()


def test_the_further_apart_the_more_has_moved() -> None:
    rng = np.random.default_rng(0)
    stills = Stills([(np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), np.uint8))])
    moving = PseudoVideo((64, 80), scale=(1.0, 1.0))
    near, far = (
        np.median([np.abs(stills.pair(distance, moving, rng)[2]).max() for _ in range(60)]) for distance in (1, 11)
    )
    assert far > 3 * near


def test_a_phase_of_pairs_gives_batches_with_motion() -> None:
    clips = PhaseClips(RECIPE, 0, None)
    images, labels, motion = next(clips.batches())
    assert motion is not None and motion.dtype == torch.float32
    assert (images.shape, labels.shape, motion.shape) == ((2, 2, 48, 64, 3), (2, 48, 64), (2, 2, 3, 4, 2))


@pytest.mark.parametrize("more", [{"remembered": 2}, {"unlabelled": PHASE.data}])
def test_pairs_are_not_mixed_with_other_clips(more: dict[str, Any]) -> None:
    with pytest.raises(TrainError, match="pairs up to 11 frames apart remembers nothing else and wants labels"):
        replace(PHASE, **more)


def test_a_run_on_a_trained_host_leaves_it_alone_and_can_be_published(tmp_path: Path) -> None:
    host = load_card(random_model(tmp_path / "host", "single", input_size=(48, 64)))
    recipe = replace(RECIPE, start_from="host")
    training = prepare_training(recipe, tmp_path / "run", None, models=tmp_path)
    before = {name: tensor.clone() for name, tensor in training.stages.state_dict().items()}
    assert before["keyframe.encoder.0.conv.weight"].equal(read_weights(host)["encode.encoder.0.conv.weight"])
    stages = training.run(None)
    moved = {name.split(".")[0] for name, x in stages.state_dict().items() if not x.equal(before[name])}
    assert moved == {"encode", "project"}
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert line["loss"] == pytest.approx(line["loss_labels"] + line["loss_similarity"])
    card = publish(training, stages, tmp_path / "tiny_arseg", None)
    assert set(card.stages) == {"keyframe", "encode", "project", "fuse", "decode"}
