# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""LMANet fused by concatenation or as a residual keeps the contract of a method, in its files and in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test.conftest import random_model  # noqa: E402
from test.methods.test_contract import SIZE, frames, model, run, same  # noqa: E402, F401
from vss_ros.assemble import build_stages  # noqa: E402
from vss_ros.core.errors import CardError  # noqa: E402
from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.methods.lmanet.modules import Concatenate, FuseAsResidual  # noqa: E402
from vss_ros.methods.lmanet.plan import LMANet  # noqa: E402
from vss_ros.runtimes.export import load_weights  # noqa: E402
from vss_ros.train.unroll import unroll  # noqa: E402

STATISTICS = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


@pytest.fixture(scope="module", params=["concatenation", "residual"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export is compared with torch on the way."""
    path = tmp_path_factory.mktemp("fusion") / request.param
    return random_model(path, "lmanet", input_size=SIZE, slots=3, window=5, fusion=request.param)


def test_a_stream_uses_its_memory_and_nothing_beyond(folder: Path, frames: list[Frame]) -> None:  # noqa: F811
    streamed = run(folder, frames[:7])[-1]  # 7 and not 8: at another slot of the ring sums round in another order
    assert same(streamed, run(folder, frames[3:7])[-1])
    assert not same(streamed, run(folder, frames[6:7])[0])


def test_training_unrolls_to_the_same_labels(folder: Path, frames: list[Frame]) -> None:  # noqa: F811
    loaded = model(folder)
    stages = build_stages("lmanet", loaded.plan, "erfnet", 11, mean=loaded.card.mean, std=loaded.card.std)
    load_weights(stages, loaded.card)
    clip = torch.from_numpy(np.stack([frame.image for frame in frames[:4]])).unsqueeze(1)
    with torch.no_grad():
        logits = unroll(loaded.plan, loaded.card.host, stages.eval(), clip)
    assert np.mean(logits[0].argmax(0).numpy() != run(folder, frames[:4])[-1].labels) < 2e-3


def test_the_own_value_comes_first() -> None:
    fuse = Concatenate(2).eval()
    own, seen = torch.full((1, 2, 1, 1), 3.0), torch.full((1, 1, 1, 1, 2), -5.0)
    seen[..., 1] = 7.0
    features = fuse(own, seen)["features"].flatten().tolist()
    assert features == pytest.approx([3, 3, 0, 7], rel=1e-3)


def test_it_has_no_gates() -> None:
    stages = build_stages("lmanet", LMANet(fusion="concatenation"), "erfnet", 11, **STATISTICS)
    assert {name for name, _ in stages["fuse"].named_parameters()} == {
        f"norm_{which}.{what}" for which in ("own", "seen") for what in ("weight", "bias")
    }


@pytest.mark.parametrize("channels", [8, 12])
def test_an_untrained_residual_leaves_the_host_as_it_is(channels: int) -> None:
    torch.manual_seed(0)
    fuse = FuseAsResidual(4, channels)
    raw, own, seen = torch.rand(1, channels, 5, 6), torch.randn(1, 4, 5, 6), torch.randn(1, 5, 6, 1, 4)
    assert fuse(raw, own, seen)["features"].equal(raw)
    fuse(raw, own, seen)["features"].sum().backward()
    assert fuse.norm.weight.grad.abs().sum() > 0, "and learns from the first step on"


def test_a_residual_adds_what_was_seen() -> None:
    fuse = FuseAsResidual(2, 4).eval()
    torch.nn.init.ones_(fuse.norm.weight)
    torch.nn.init.zeros_(fuse.norm.bias)
    raw, own, seen = torch.ones(1, 4, 3, 3), torch.randn(1, 2, 3, 3), torch.randn(1, 3, 3, 1, 2)
    other = fuse(raw, own, seen + 1)["features"]
    assert not fuse(raw, own, seen)["features"].equal(other)
    fuse.gate_seen.bias.data.fill_(-100.0)  # a gate that is shut
    torch.nn.init.zeros_(fuse.gate_seen.weight)
    torch.testing.assert_close(fuse(raw, own, seen)["features"], raw)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(CardError, match="fusion 'gated', 'concatenation', 'bottleneck', 'residual', got 'sum'"):
        LMANet(fusion="sum")
    with pytest.raises(CardError, match="wants value_channels of 64, half of the host's 128, got 32"):
        build_stages("lmanet", LMANet(fusion="concatenation", value_channels=32), "erfnet", 11, **STATISTICS)
