# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the files are said to cost is what torch counts on the modules that they were made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from test.conftest import random_model

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from vss_ros.assemble import build_stages, load_card, plan_for  # noqa: E402
from vss_ros.core.method import Host  # noqa: E402
from vss_ros.methods.arseg.plan import ARSeg  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402
from vss_ros.runtimes.cost import Cost, macs_per_frame, method_cost  # noqa: E402

SIZE = (96, 160)


@pytest.mark.parametrize("name", ["single_erfnet_camvid", "lmanet_erfnet_camvid"])
def test_stages_cost_what_torch_counts(name: str) -> None:
    card = load_card(name)
    plan = plan_for(card.method, card.options)
    stages = build_stages(card.method, plan, card.host.name, len(card.labels), mean=card.mean, std=card.std).eval()
    costs = method_cost(card, plan, SIZE)
    for spec in plan.stages(card.host):
        dtypes = {"uint8": torch.uint8, "float32": torch.float32}
        inputs = {t.name: torch.zeros(1, *t.at(*SIZE), dtype=dtypes[t.dtype]) for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        assert costs[spec.name].macs == counter.get_total_flops() // 2, spec.name
        assert costs[spec.name].parameters == sum(p.numel() for p in stages[spec.name].parameters()), spec.name


def test_the_look_back_by_hand() -> None:
    card = load_card("lmanet_erfnet_camvid")
    plan = plan_for(card.method, {**card.options, "slots": 4, "window": 21})
    cost = method_cost(card, plan, (512, 1024))["attend"]
    assert (cost.parameters, cost.macs) == (0, 4 * 21 * 21 * 64 * 128 * (16 + 64)), "1.16 GMAC in the paper's setting"
    assert "attend" not in method_cost(load_card("single_erfnet_camvid"), plan_for("single", {}), SIZE)


def test_a_look_back_of_some_cells_into_windows_of_different_size(tmp_path: Path) -> None:
    options = {"width": 64, "heads": 4, "hidden": 32}
    card = load_card(random_model(tmp_path / "stt", "stt", input_size=(32, 48), **options))
    plan = plan_for("stt", card.options)
    costs = method_cost(card, plan, (512, 1024))
    assert costs["attend"].macs == (7**2 + 11**2 + 15**2) * 64 * 128 // 2 * (64 + 64)
    stages = build_stages("stt", plan, "erfnet", 11, mean=card.mean, std=card.std)
    for name, stage in stages.items():
        assert costs[name].parameters == sum(p.numel() for p in stage.parameters()), name


@pytest.mark.parametrize(("period", "gmac"), [(12, 101.9), (1, 308.6)])
def test_keyframes_of_pspnet_at_camvids_size_save_what_the_paper_says(period: int, gmac: float) -> None:
    """Hu et al., CVPR 2023: 67 % less than every frame at full resolution.

    The fused features are classified at full resolution, 0.53 GMAC; counted at half of it the average would be 101.5.
    """
    height, width, channels = 720, 960, 64
    net = NETS["pspnet18_camvid"]
    widths = net.feature_channels, net.stride, net.classified_channels, net.classified_stride
    plan, host = ARSeg(period=period), Host("pspnet18_camvid", *widths)
    with torch.device("meta"):
        stages = build_stages("arseg", plan, host.name, 12, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    costs = {"attend": Cost(0, 7 * 7 * height * width * 2 * channels)}
    for spec in plan.stages(host):
        inputs = {t.name: torch.empty(1, *t.at(height, width), device="meta") for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        costs[spec.name] = Cost(0, counter.get_total_flops() // 2)
    assert macs_per_frame(costs, plan, host) / 1e9 == pytest.approx(gmac, rel=1e-3)
    assert costs["project"].macs + stages["encode"].query.groups * 9 * height * width == pytest.approx(1.19e9, rel=5e-3)


@pytest.mark.parametrize("motion", ["warp", "offset"])
def test_a_period_of_files(motion: str, tmp_path: Path) -> None:
    folder = random_model(tmp_path / "arseg", "arseg", input_size=(32, 48), period=4, motion=motion)
    card = load_card(folder)
    plan = plan_for("arseg", card.options)
    costs = method_cost(card, plan, (64, 80))
    assert costs["attend"].macs == 49 * 32 * 40 * (16 + 16), "half of 64x80, 16 channels"
    total = {name: cost.macs for name, cost in costs.items()}
    once = total["keyframe"] + (total["project"] if motion == "offset" else 0)
    others = total["encode"] + total["attend"] + (total["project"] if motion == "warp" else 0)
    wanted = total["decode"] + (once + 3 * others) / 4
    assert macs_per_frame(costs, plan, card.host) == pytest.approx(wanted)


def test_without_keyframes_a_frame_costs_all_that_it_runs() -> None:
    card = load_card("lmanet_erfnet_camvid")
    plan = plan_for(card.method, card.options)
    costs = method_cost(card, plan, SIZE)
    assert macs_per_frame(costs, plan, card.host) == sum(cost.macs for cost in costs.values())
