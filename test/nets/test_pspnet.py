# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""PSPNet's shapes, and its pooling against torch's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from test.nets.test_counts import gmac  # noqa: E402
from vss_ros.nets.layers import tapped  # noqa: E402
from vss_ros.nets.pspnet import BINS, PSPNet18, PSPNet18CamVid, Pyramid, average_grid  # noqa: E402

SIDES = st.integers(1, 40)


def test_the_pooling_is_free_beside_the_rest() -> None:
    pyramid = Pyramid([torch.nn.Identity() for _ in BINS])
    assert gmac(pyramid, torch.empty(1, 512, 64, 128, device="meta")) < 0.06


@settings(deadline=None, max_examples=40)
@given(height=SIDES, width=SIDES, bins=st.sampled_from(BINS))
def test_the_grid_is_adaptive_average_pooling(height: int, width: int, bins: int) -> None:
    x = torch.rand(1, 2, height, width, dtype=torch.float64)
    torch.testing.assert_close(average_grid(x, bins), torch.nn.functional.adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize("kind", [PSPNet18, PSPNet18CamVid])
def test_shapes_follow_the_picture(kind: type) -> None:
    net = kind(7).eval()
    image = torch.zeros(1, 3, 24, 40)
    with torch.no_grad(), tapped(net.encoder, net.auxiliary) as maps:
        features = net.encoder(image)
        assert features.shape == (1, 512, 3, 5)
        assert net.decoder(features).shape == (1, 7, 24, 40)
        shape = (1, 7) if kind is PSPNet18CamVid else (1, 7, 3, 5)
        assert net.auxiliary["layer3"](maps["layer3"]).shape == shape


def test_the_pyramid_sees_the_whole_picture() -> None:
    pyramid = Pyramid([torch.nn.Identity() for _ in BINS])
    features = torch.zeros(1, 1, 6, 12)
    features[..., 5, 11] = 72.0
    assert pyramid(features)[0, :, 0, 0].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert pyramid(features)[0, :, 5, 11].tolist() == [72.0, 1.0, 4.0, 9.0, 36.0]
