# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The mean teacher: what it believes, how its views are made, and that its loss moves the student alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test.train.test_trainer import RECIPE, logged  # noqa: E402
from vss_ros.core.errors import TrainError  # noqa: E402
from vss_ros.train.clips import Part, PhaseClips  # noqa: E402
from vss_ros.train.publish import prepare_training  # noqa: E402
from vss_ros.train.recipe import Data, Phase, load_recipe  # noqa: E402
from vss_ros.train.teacher import MeanTeacher, cut_and_mix, pseudo_labels, ramp, recoloured  # noqa: E402

STREETS = (Data("synthetic", samples=4, drives=1),)
SEMI = replace(RECIPE, phases=(Phase(epochs=2, rate=1e-3, data=STREETS, unlabelled=STREETS, remembered=1, batch=4),))


def test_only_certain_labels_are_believed() -> None:
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0] = torch.tensor([math.log(99.0), math.log(4.0), -math.log(99.0)])  # 0.99, 0.8 and 0.01 of class 1
    assert pseudo_labels(logits, 0.9).tolist() == [[[1, 255, 0]]]
    assert pseudo_labels(logits, 0.9).dtype == torch.uint8


def test_the_weight_grows_to_one() -> None:
    assert ramp(0.0) == pytest.approx(math.exp(-5)) and ramp(0.15) == pytest.approx(math.exp(-1.25))
    assert ramp(0.3) == ramp(1.0) == 1.0


def test_a_rectangle_comes_from_the_neighbour_with_its_labels() -> None:
    torch.manual_seed(0)
    images = torch.arange(3, dtype=torch.uint8)[None, :, None, None, None].expand(2, 3, 8, 12, 3)
    mixed, labels = cut_and_mix(images, images[-1, ..., 0])
    for clip, neighbour in ((0, 2), (1, 0), (2, 1)):
        strange = labels[clip] != clip
        assert strange.sum() == 8 * 12 // 4 and (labels[clip][strange] == neighbour).all()
        for frame in mixed[:, clip]:
            assert (frame == labels[clip][..., None]).all(), "one place in all frames"
    assert (images[:, 0] == 0).all(), "the weak view stays as it was"


def test_a_strong_view_treats_the_frames_of_a_clip_alike() -> None:
    torch.manual_seed(0)
    picture = torch.randint(0, 256, (1, 20, 6, 6, 3), dtype=torch.uint8)
    strong = recoloured(picture.expand(3, -1, -1, -1, -1))
    assert strong[0].equal(strong[2]) and strong.dtype == torch.uint8
    grey = (strong[0].float().std(dim=-1) < 1).flatten(1).all(dim=1)
    assert 1 <= grey.sum() <= 9, "about a fifth"
    assert not strong[0].equal(picture[0])


def test_a_run_uses_both_and_resumes_exactly(tmp_path: Path) -> None:
    whole = prepare_training(SEMI, tmp_path / "whole", None).run(None).state_dict()
    for _ in range(2):
        parts = prepare_training(SEMI, tmp_path / "parts", None).run(None, minutes=0).state_dict()
    assert all(whole[name].equal(parts[name]) for name in whole)
    assert all("loss_unlabelled" in line for line in logged(tmp_path / "whole"))


def test_the_teacher_gets_no_gradient() -> None:
    training = prepare_training(SEMI, Path("unused"), None)
    taught = prepare_training(SEMI, Path("unused"), None).stages
    with torch.no_grad():  # an untrained teacher is certain of nothing
        for parameter in taught["decode"].decoder[-1].parameters():
            parameter.mul_(100)
    loss = MeanTeacher(training.plan, training.host, training.stages, taught)(
        torch.randint(0, 256, (2, 2, 64, 80, 3), dtype=torch.uint8), 1.0
    )
    loss.backward()
    assert loss > 0 and all(p.grad is None for p in taught.parameters())
    assert any(p.grad is not None for p in training.stages.parameters())


def test_two_parts_are_the_whole() -> None:
    whole = [(np.full((1, 1, 3), n), np.full((1, 1), n)) for n in range(9)]
    first, second = (Part(whole, part, seed=3) for part in ((0.0, 0.5), (0.5, 1.0)))
    numbers = [[int(part[i][1][0, 0]) for i in range(len(part))] for part in (first, second)]
    assert sorted(numbers[0] + numbers[1]) == list(range(9)) and numbers[0] != sorted(numbers[0])
    with pytest.raises(TrainError, match=r"two shares in 0\.\.1"):
        Part(whole, (0.5, 0.5), seed=0)


def test_unlabelled_clips_are_others_of_the_same_lengths() -> None:
    roomy = replace(SEMI, input_size=(96, 128))
    labelled, unlabelled = (PhaseClips(roomy, 0, None, unlabelled=more) for more in (False, True))
    assert labelled[0][0].shape == unlabelled[0][0].shape and not labelled[0][0].equal(unlabelled[0][0])


def test_a_recipe_file_names_them(tmp_path: Path) -> None:
    path = tmp_path / "half.yaml"
    path.write_text(
        "{name: half, summary: s, terms: t, licence: l, net: erfnet, method: single, labels: camvid11, phases: ["
        "{epochs: 1, rate: 0.1, data: [{source: camvid, samples: 8, part: [0, 0.5]}],"
        " unlabelled: [{source: camvid, samples: 8, part: [0.5, 1]}]}]}"
    )
    (phase,) = load_recipe(path).phases
    assert phase.data[0].part == (0, 0.5) and phase.unlabelled[0].part == (0.5, 1)
