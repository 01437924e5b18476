# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Auxiliary heads and a method's own losses reach the weights, and what is not asked for is not computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from test.train.test_trainer import RECIPE, logged  # noqa: E402
from vss_ros.assemble import build_stages, plan_for  # noqa: E402
from vss_ros.core.method import Host  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402
from vss_ros.train.objective import Objective, extra_losses_of, nothing_more  # noqa: E402
from vss_ros.train.publish import prepare_training  # noqa: E402
from vss_ros.train.recipe import Data, Phase  # noqa: E402

STREETS = (Data("synthetic", samples=4, drives=1),)
PHASE = Phase(epochs=1, rate=1e-3, data=STREETS, batch=4)


def objective(net: str, **options: object) -> Objective:
    torch.manual_seed(0)
    plan = plan_for("single", {})
    stages = build_stages("single", plan, net, 3, heads=True, mean=(0.5,) * 3, std=(0.3,) * 3)
    host = Host(net, NETS[net].feature_channels, NETS[net].stride)
    return Objective(plan, host, stages, torch.ones(3), **options)  # type: ignore[arg-type]


CLIP = torch.zeros(1, 2, 64, 64, 3, dtype=torch.uint8)
LABELS = torch.zeros(2, 64, 64, dtype=torch.uint8)


@pytest.mark.parametrize("net", ["bisenet18", "pspnet18", "pspnet18_camvid"])
def test_auxiliary_heads_learn_and_teach_the_encoder(net: str) -> None:
    asked = objective(net, auxiliary=0.4)
    losses = asked(CLIP, LABELS)
    assert losses.keys() == {"labels", "auxiliary"}
    losses["auxiliary"].backward()
    heads, encoder = asked.stages["auxiliary"], asked.stages["encode"]
    assert all(p.grad is not None for p in heads.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_the_weight_is_a_factor() -> None:
    once, thrice = (objective("bisenet18", auxiliary=weight)(CLIP, LABELS)["auxiliary"] for weight in (0.2, 0.6))
    torch.testing.assert_close(thrice, 3 * once, rtol=1e-3, atol=0)


def test_heads_without_a_weight_and_hosts_without_heads_add_nothing() -> None:
    assert objective("bisenet18")(CLIP, LABELS).keys() == {"labels"}
    assert objective("erfnet", auxiliary=0.4)(CLIP, LABELS).keys() == {"labels"}


def test_a_method_may_ask_for_what_its_stages_gave() -> None:
    seen = {}

    def extra(stages, image, labels, outputs):
        seen.update(image=image, names=set(outputs))
        return {"size": outputs["encode"]["features"].float().square().mean()}

    losses = objective("erfnet", extra=extra)(CLIP, LABELS)
    losses["size"].backward()
    assert losses.keys() == {"labels", "size"} and seen["names"] == {"encode", "decode"}
    assert seen["image"].shape == (2, 64, 64, 3)
    assert extra_losses_of("lmanet") is nothing_more


def test_a_run_logs_each_loss_and_publishes_without_the_heads(tmp_path: Path) -> None:
    recipe = replace(
        RECIPE, net="bisenet18", method="single", options={}, input_size=(64, 64), phases=(replace(PHASE, auxiliary=1),)
    )
    training = prepare_training(replace(recipe, crop=(64, 64)), tmp_path, None)
    stages = training.run(None)
    (line,) = logged(tmp_path)
    assert line["loss"] == pytest.approx(line["loss_labels"] + line["loss_auxiliary"], rel=1e-5)
    assert "auxiliary" in stages, "kept for a run that goes on"
    assert [spec.name for spec in training.plan.stages(training.host)] == ["encode", "decode"]
