# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What LMANet adds on PSPNet and BiSeNet, against the counts that its design was chosen by."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from test.nets.test_counts import gmac  # noqa: E402
from vss_ros.core.errors import CardError  # noqa: E402
from vss_ros.methods.lmanet.modules import FuseThroughBottleneck, build_stages  # noqa: E402
from vss_ros.methods.lmanet.plan import LMANet  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402


def added_gmac(plan: LMANet, name: str, height: int, width: int) -> dict[str, float]:
    """Projections, read and fusion for a picture with a map of `height` x `width` cells."""
    with torch.device("meta"):
        net = NETS[name](19).eval()
        stages = build_stages(plan, net, mean=(0.0,) * 3, std=(1.0,) * 3).eval()
        picture = (8 * height, 8 * width)
        encoder = gmac(net.encoder, torch.empty(1, 3, *picture))
        encode = gmac(stages["encode"], torch.empty(1, *picture, 3, dtype=torch.uint8))
        value = torch.empty(1, plan.value_channels, height, width)
        fuse = gmac(stages["fuse"], value, value.permute(0, 2, 3, 1).unsqueeze(3))
    read = plan.slots * plan.window**2 * (plan.key_channels + plan.value_channels) * height * width / 1e9
    return {"projections": encode - encoder, "read": read, "fusion": fuse}


def test_on_pspnet101_as_published() -> None:
    plan = LMANet(slots=3, key_channels=128, value_channels=2048, fusion="bottleneck")
    added = added_gmac(plan, "pspnet101", 65, 129)
    assert added["projections"] == pytest.approx(39.6, abs=0.1)
    assert added["read"] == pytest.approx(24.1, abs=0.1)
    # 17.6 in the paper's form, which narrows both values before it adds them: 4.4 are saved
    assert added["fusion"] == pytest.approx(17.6 - 4.4, abs=0.1)


def test_on_pspnet18_with_values_passed_through() -> None:
    plan = LMANet(slots=3, key_channels=64, value_channels=512, fusion="bottleneck")
    narrowed_once = 65 * 129 * 512 * 256 / 1e9
    assert sum(added_gmac(plan, "pspnet18", 65, 129).values()) == pytest.approx(15.7 - narrowed_once, abs=0.1)


def test_on_bisenet18_with_a_1x1_to_its_width() -> None:
    assert sum(added_gmac(LMANet(), "bisenet18", 64, 128).values()) == pytest.approx(8.1, abs=0.1)


def test_on_erfnet_nothing_is_widened() -> None:
    stages = build_stages(LMANet(), NETS["erfnet"](3), mean=(0.0,) * 3, std=(1.0,) * 3)
    assert not [name for name, _ in stages["fuse"].named_parameters() if name.startswith("widen")]


def test_narrowing_the_sum_is_narrowing_both() -> None:
    torch.manual_seed(0)
    fuse = FuseThroughBottleneck(8).eval()
    own, seen = torch.randn(1, 8, 3, 4), torch.randn(1, 8, 3, 4)
    with torch.no_grad():
        # the bias is added once instead of twice: the batch norm behind it takes up the difference
        apart = fuse.narrow(own) + fuse.narrow(seen) - fuse.narrow.bias[:, None, None]
        narrow = fuse.norm_gate(apart).relu()
        fused = own * fuse.gate_own(narrow).sigmoid() + seen * fuse.gate_seen(narrow).sigmoid()
        wanted = fuse.norm(fused).relu()
        got = fuse(own, seen.permute(0, 2, 3, 1).unsqueeze(3))["features"]
    torch.testing.assert_close(got, wanted)


def test_values_passed_through_are_the_features() -> None:
    plan = LMANet(key_channels=4, value_channels=128, fusion="bottleneck")
    encode = build_stages(plan, NETS["erfnet"](3), mean=(0.0,) * 3, std=(1.0,) * 3)["encode"].eval()
    with torch.no_grad():
        out: dict[str, Any] = encode(torch.zeros(1, 16, 24, 3, dtype=torch.uint8))
    assert out["own_value"].equal(out["features"])
    assert out["value"].shape == (1, 2, 3, 1, 128) and out["value"][0, 1, 2, 0].equal(out["features"][0, :, 1, 2])


def test_refuses_values_of_another_width() -> None:
    with pytest.raises(CardError, match="bottleneck wants value_channels of 128, the host's own, got 64"):
        build_stages(LMANet(fusion="bottleneck"), NETS["erfnet"](3), mean=(0.0,) * 3, std=(1.0,) * 3)
