# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""LMANet's networks against the paper's counts, and its plan against the paper's order of things."""

from typing import Any

import numpy as np
import pytest

from vss_ros.core.errors import AttentionError, CardError
from vss_ros.core.look import Border
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Host, StepInput
from vss_ros.methods.lmanet.plan import LMANet

HOST = Host("erfnet", 128, 8)


class Journal:
    """Records the order in which a plan calls its stages and its memory."""

    def __init__(self, plan: LMANet) -> None:
        self.calls: list[str] = []
        self.plan = plan
        self.memory = {spec.name: MemoryBank(spec, 8, 8, np.zeros) for spec in plan.banks(HOST)}
        self.frame = 0

    def run(self, stage: str, /, **inputs: Any) -> dict[str, Any]:
        self.calls.append(f"{stage}({', '.join(inputs)})")
        value = np.float32(self.frame)
        outputs = {spec.name: spec.outputs for spec in self.plan.stages(HOST)}[stage]
        return {t.name: np.full(t.at(8, 8), value, t.dtype) for t in outputs}

    def attend(self, query: Any, keys: Any, values: Any, look: Any, *, valid: Any = None) -> Any:
        self.calls.append(f"attend({sorted(values[valid][:, 0, 0, 0, 0].tolist())})")
        return query

    def step(self) -> list[str]:
        self.frame += 1
        self.calls.clear()
        image = np.zeros((8, 8, 3), np.uint8)
        self.plan.step(StepInput(image), self.memory, self.run, self.attend)
        return list(self.calls)


def test_an_empty_memory_decodes_the_encoders_own_features() -> None:
    assert Journal(LMANet()).step() == ["encode(image)", "decode(features)"]


def test_a_frame_reads_the_past_and_not_itself() -> None:
    journal = Journal(LMANet(slots=2))
    journal.step()
    assert journal.step() == ["encode(image)", "attend([1.0])", "fuse(own_value, seen)", "decode(features)"]
    assert journal.step()[1] == "attend([1.0, 2.0])"
    assert journal.step()[1] == "attend([2.0, 3.0])"


def test_no_slots_is_the_single_frame_network() -> None:
    journal = Journal(LMANet(slots=0))
    assert journal.step() == journal.step() == ["encode(image)", "decode(features)"]


def test_looks_as_the_paper_does() -> None:
    look = LMANet().look
    assert (look.window, look.border, look.scale) == (21, Border.ZERO, 1.0)


def test_refuses_options_it_cannot_run_with() -> None:
    with pytest.raises(AttentionError, match="odd side length of at least 1 cell, got 20; try 21"):
        LMANet(window=20)
    with pytest.raises(CardError, match="slots of 0 or more, got -1"):
        LMANet(slots=-1)


def stages_on_erfnet() -> Any:
    pytest.importorskip("torch")
    from vss_ros.methods.lmanet.modules import build_stages
    from vss_ros.nets.erfnet import ERFNet

    return build_stages(LMANet(), ERFNet(20), mean=(0.0,) * 3, std=(1.0,) * 3)


def test_adds_the_papers_0_63_million_parameters() -> None:
    stages = stages_on_erfnet()
    added = sum(p.numel() for p in stages.parameters()) - 2_064_256
    assert added == 184_480 + 443_392


def test_adds_6_3_gmac_at_1024x512() -> None:
    torch = pytest.importorskip("torch")
    from test.nets.test_counts import gmac

    stages = stages_on_erfnet().eval().to("meta")
    encode = gmac(stages["encode"], torch.empty(1, 512, 1024, 3, dtype=torch.uint8, device="meta"))
    value = torch.empty(1, 64, 64, 128, device="meta"), torch.empty(1, 64, 128, 1, 64, device="meta")
    projections, fusion = encode - 21.51, gmac(stages["fuse"], *value)
    read = 4 * 21 * 21 * (16 + 64) * 64 * 128 / 1e9  # slots, window, dk + dv, cells
    assert projections == pytest.approx(1.51, abs=0.01)
    assert fusion == pytest.approx(3.62, abs=0.01)
    assert projections + fusion + read == pytest.approx(6.29, abs=0.01)


def test_keys_start_equal_so_that_like_finds_like() -> None:
    encode = stages_on_erfnet()["encode"]
    assert encode.key_query.weight.equal(encode.key_memory.weight)
    assert not encode.value_query.weight.equal(encode.value_memory.weight)
