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
from vss_ros.runtimes.cost import method_cost  # noqa: E402

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
