# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

torch = pytest.importorskip("torch")

from test.nets.test_counts import gmac  # noqa: E402
from vss_ros.nets.erfnet import ERFNet  # noqa: E402


def test_has_the_papers_parameters() -> None:
    assert sum(p.numel() for p in ERFNet(20).parameters()) == 2_064_256  # 2.06 M


def test_costs_26_6_gmac_at_1024x512() -> None:
    net = ERFNet(20).eval().to("meta")
    image, features = torch.empty(1, 3, 512, 1024, device="meta"), torch.empty(1, 128, 64, 128, device="meta")
    assert gmac(net.encoder, image) == pytest.approx(21.51, abs=0.01)
    assert gmac(net.decoder, features) == pytest.approx(5.10, abs=0.01)


def test_shapes_follow_the_picture() -> None:
    net = ERFNet(7).eval()
    with torch.no_grad():
        features = net.encode(torch.zeros(2, 3, 40, 56))
        assert features.shape == (2, 128, 5, 7)
        assert net.decode(features).shape == (2, 7, 40, 56)
        assert torch.equal(net(torch.zeros(2, 3, 40, 56)), net.decode(features))
