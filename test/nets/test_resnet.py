# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

torch = pytest.importorskip("torch")

from vss_ros.nets.resnet import Layout, ResNet  # noqa: E402

BASIC, DEEP = Layout((2, 2, 2, 2)), Layout((3, 4, 6, 3), bottleneck=True)


def parameters(layout: Layout) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in ResNet(layout).parameters())


def dilations(layout: Layout, layer: str) -> list[int]:
    """Of the 3x3 convolutions of a layer, in the order they are run in."""
    with torch.device("meta"):
        modules = ResNet(layout).get_submodule(layer).modules()
    return [m.dilation[0] for m in modules if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]


def test_has_the_papers_parameters() -> None:
    # of the published networks without their classifiers of 1000 classes: 11.69 M - 0.51 M, 25.56 M - 2.05 M
    assert parameters(BASIC) == 11_689_512 - 513_000
    assert parameters(DEEP) == 25_557_032 - 2_049_000


def test_a_dilated_network_stays_at_stride_8() -> None:
    image = torch.zeros(1, 3, 40, 72)
    for layout, shape in ((BASIC, (512, 2, 3)), (Layout((2, 2, 2, 2), dilated=True), (512, 5, 9))):
        with torch.no_grad():
            assert ResNet(layout).eval()(image).shape[1:] == shape


def test_dilation_costs_no_parameters() -> None:
    assert parameters(Layout((2, 2, 2, 2), dilated=True)) == parameters(BASIC)


@pytest.mark.parametrize(
    ("undilated", "wanted"),
    [(0, [4, 4, 4, 4]), (1, [1, 4, 4, 4]), (2, [1, 1, 4, 4])],
)
def test_the_first_convolutions_of_a_layer_may_stay_undilated(undilated: int, wanted: list[int]) -> None:
    layout = Layout((2, 2, 2, 2), dilated=True, undilated=undilated)
    assert dilations(layout, "layer4") == wanted
    assert dilations(layout, "layer3") == [2 if d == 4 else 1 for d in wanted]
    assert dilations(layout, "layer2") == [1] * 4


def test_a_bottleneck_has_one_dilated_convolution() -> None:
    layout = Layout((1, 1, 2, 3), bottleneck=True, deep_stem=True, dilated=True)
    assert dilations(layout, "layer3") == [2, 2] and dilations(layout, "layer4") == [4, 4, 4]
    assert layout.channels == (256, 512, 1024, 2048)


def test_a_dilated_layer_sees_as_far_as_its_dilation() -> None:
    layer = ResNet(Layout((1, 1, 1, 1), dilated=True)).eval().layer4
    x = torch.rand(1, 256, 1, 33, requires_grad=True)
    layer(x)[0, :, 0, 16].sum().backward()
    seen = x.grad[0, :, 0].abs().sum(0).nonzero().flatten().tolist()
    assert (min(seen), max(seen)) == (16 - 8, 16 + 8), "two convolutions of dilation 4"
