# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

torch = pytest.importorskip("torch")

from vss_ros.nets.bisenet import BiSeNet18  # noqa: E402
from vss_ros.nets.layers import tapped  # noqa: E402


@pytest.mark.parametrize("size", [(64, 32), (8, 40)])
def test_shapes_follow_any_picture_in_multiples_of_8(size: tuple[int, int]) -> None:
    net = BiSeNet18(7).eval()
    cells = (size[0] // 8, size[1] // 8)
    with torch.no_grad(), tapped(net.encoder, net.auxiliary) as maps:
        features = net.encoder(torch.zeros(1, 3, *size))
        assert features.shape == (1, 256, *cells)
        assert net.decoder(features).shape == (1, 7, *size)
    assert maps["smooth8"].shape[2:] == cells
    assert maps["smooth16"].shape[2:] == tuple(-(-side // 2) for side in cells), "half of an odd size is rounded up"
    for name, head in net.auxiliary.items():
        assert head.eval()(maps[name]).shape[1:] == (7, *maps[name].shape[2:])


def test_the_context_sees_the_whole_picture() -> None:
    encoder = BiSeNet18(2).eval().encoder
    image = torch.rand(1, 3, 32, 160, requires_grad=True)
    encoder(image)[0, :, 0, 0].sum().backward()
    assert image.grad[0, :, -1, -1].any()


def test_auxiliary_losses_reach_the_backbone() -> None:
    net = BiSeNet18(2)
    with tapped(net.encoder, net.auxiliary) as maps:
        net.encoder(torch.rand(2, 3, 32, 64))
    net.auxiliary["smooth16"](maps["smooth16"]).sum().backward()
    assert net.encoder.backbone.layer4[0].convs[0][0].weight.grad is not None
    assert net.encoder.detail[0][0].weight.grad is None
