# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""RAFT as TC's flow: what goes into torchvision's network and what becomes of what it gives, and what is refused.

A stand-in has the interface of torchvision's networks; where torchvision is installed they are called, too. Which way
trained weights point is theirs: no test here has any.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.core.errors import BackendError, ConfigError, DataError
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.compare import Run, compare
from vss_ros.evaluate.raft import RaftFlow
from vss_ros.evaluate.side_by_side import Contender, evaluate
from vss_ros.evaluate.steadiness import DisFlow, TemporalConsistency, flow_named
from vss_ros.evaluate.table import comparison_tables

torch = pytest.importorskip("torch")

OPTICAL_FLOW = "torchvision.models.optical_flow"


class StandIn(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Gives what its weights say for every pixel, as the last of two refinements."""

    def __init__(self, large: bool) -> None:
        super().__init__()
        self.moved = torch.nn.Parameter(torch.zeros(2))
        self.seen: list[tuple[Any, Any]] = []
        if large:
            self.mask_predictor = torch.nn.Linear(1, 1)

    def forward(self, image1: Any, image2: Any, num_flow_updates: int = 12) -> list[Any]:
        assert image1.shape == image2.shape and image1.shape[1] == 3 and image1.dtype == torch.float32
        assert all(side % 8 == 0 and side >= 128 for side in image1.shape[-2:])
        self.seen.append((image1, image2))
        flow = self.moved.detach()[None, :, None, None].expand(1, 2, *image1.shape[-2:])
        return [torch.zeros_like(flow), flow]


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The stand-ins that were made."""
    made: list[StandIn] = []

    def maker(large: bool) -> Any:
        def make(*, weights: None, progress: bool) -> StandIn:
            made.append(StandIn(large))
            return made[-1]

        return make

    both = SimpleNamespace(raft_small=maker(False), raft_large=maker(True))
    monkeypatch.setitem(sys.modules, OPTICAL_FLOW, both)  # type: ignore[arg-type]
    return made


def saved(path: Path, *, large: bool = False, x: float = 0.0, y: float = 0.0) -> Path:
    network = StandIn(large)
    network.moved.data = torch.tensor([x, y])
    torch.save(network.state_dict(), path)
    return path


def test_labels_are_brought_back_along_it(networks: list[StandIn], tmp_path: Path) -> None:
    flow = RaftFlow(saved(tmp_path / "a.pth", x=3.0, y=-2.0))
    assert flow.name == "RAFT small (a.pth)"
    labels = np.random.default_rng(0).integers(0, 3, (40, 50), np.uint8)
    image = np.zeros((40, 50, 3), np.uint8)
    tc = TemporalConsistency(3, flow)
    tc.add(image, labels)
    tc.add(image.copy(), np.roll(labels, (-2, 3), axis=(0, 1)))  # all has moved 3 px to the right and 2 up
    assert tc.value() == 1.0 and tc.flow_name == flow.name


@pytest.mark.parametrize(
    ("size", "taken"), [((40, 50), (128, 128)), ((130, 201), (136, 208)), ((136, 160), (136, 160))]
)
def test_any_size_is_filled_up_and_cut_off(
    networks: list[StandIn], tmp_path: Path, size: tuple[int, int], taken: tuple[int, int]
) -> None:
    flow = RaftFlow(saved(tmp_path / "b.pth", large=True, x=1.0))
    assert flow.name == "RAFT large (b.pth)"
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = flow(image, 255 - image)
    assert found.shape == (*size, 2) and found.dtype == np.float32 and (found == [1.0, 0.0]).all()
    ((before, now),) = networks[0].seen
    assert before.shape == (1, 3, *taken)
    inside = before[0, :, : size[0], : size[1]].permute(1, 2, 0).numpy()
    assert np.allclose(inside, image / 127.5 - 1) and torch.allclose(before, -now, atol=1e-6)
    assert (before[..., size[0] :, 0] == before[..., size[0] - 1, 0, None]).all(), "the border goes on"


def test_one_flow_serves_all_contenders_and_is_named(
    networks: list[StandIn], single_folder: Path, tmp_path: Path
) -> None:
    from test.evaluate.test_side_by_side import SIZE, load

    contenders = [Contender("a", load(single_folder)), Contender("b", load(single_folder))]
    flow = flow_named(f"raft:{saved(tmp_path / 'c.pth')}")
    reports = evaluate(SyntheticDrive(seed=3, size=SIZE, frames=4), contenders, flow=flow)
    assert [report["tc_flow"] for report in reports] == ["RAFT small (c.pth)"] * 3
    assert len(networks[0].seen) == 3, "once for each two frames"
    titles = [str(table.title) for table in comparison_tables(reports, "x")]
    assert titles[:2] == ["x: accuracy", "x: steadiness, TC along RAFT small (c.pth)"]
    by_dis = Run({"a": {**reports[0], "tc_flow": "DIS medium"}}, {})
    found = compare(by_dis, Run({"a": reports[0]}, {}))["differs"]
    assert found == {"tc_flow of a": ["DIS medium", "RAFT small (c.pth)"]}


def test_names_of_flows() -> None:
    assert isinstance(flow_named("dis"), DisFlow) and DisFlow.name == "DIS medium"
    for name in ("raft", "raft:", "dis:x", "farneback"):
        with pytest.raises(ConfigError, match=rf"--flow wants dis or raft:WEIGHTS.pth, got '{name}'"):
            flow_named(name)


def test_what_is_no_weights_of_raft_is_refused(networks: list[StandIn], tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    for _ in range(2):  # no file, then a folder
        with pytest.raises(DataError, match=r"weights of RAFT were wanted at .*w\.pth: .*; give the path of the file"):
            RaftFlow(file)
        file.mkdir(exist_ok=True)
    file.rmdir()
    for content, got in (
        ([1], "a list"),
        ({"conv.weight": torch.zeros(1)}, "other weights"),
        (None, "no weights of t"),
    ):
        file.write_bytes(b"text")
        if content is not None:
            torch.save(content, file)
        with pytest.raises(DataError, match=f"a state dict of torchvision's raft_small or raft_large, got {got}"):
            RaftFlow(file)


def test_without_torchvision_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, OPTICAL_FLOW, None)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=r"--flow raft wants torch and .*; pip install torch torchvision"):
        RaftFlow(tmp_path / "w.pth")


@pytest.mark.parametrize("size", ["small", "large"])
def test_torchvisions_own_networks_take_it(tmp_path: Path, size: str) -> None:
    try:
        from torchvision.models import optical_flow
    except (ImportError, RuntimeError) as error:  # RuntimeError: of another torch
        pytest.skip(f"torchvision: {error}")
    network = getattr(optical_flow, f"raft_{size}")(weights=None)
    torch.save(network.state_dict(), tmp_path / "random.pth")
    flow = RaftFlow(tmp_path / "random.pth")
    image = np.random.default_rng(0).integers(0, 256, (60, 130, 3), np.uint8)
    found = flow(image, image.copy())
    assert flow.name.startswith(f"RAFT {size}") and found.shape == (60, 130, 2) and np.isfinite(found).all()
