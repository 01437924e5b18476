# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

torch = pytest.importorskip("torch")

from vss_ros.nets.layers import Enlarge, initialise, tapped  # noqa: E402


def test_taps_give_what_a_part_gave_last_and_leave_no_trace() -> None:
    net = torch.nn.Sequential(torch.nn.Threshold(0.0, -1.0), torch.nn.ReLU())
    with tapped(net, ["0"]) as maps:
        net(torch.tensor([1.0]))
        net(torch.tensor([-3.0, 2.0]))
    net(torch.tensor([5.0]))
    assert maps["0"].tolist() == [-1.0, 2.0]


def test_taps_are_taken_off_after_an_error() -> None:
    net = torch.nn.Sequential(torch.nn.ReLU())
    with pytest.raises(AttributeError, match="1"), tapped(net, ["0", "1"]):
        pass
    with pytest.raises(RuntimeError, match="stop"), tapped(net, ["0"]):
        raise RuntimeError("stop")
    assert not net[0]._forward_hooks


def test_initialisation_keeps_the_spread_of_what_flows_through() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(*[m for _ in range(8) for m in (torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.ReLU())])
    initialise(net)
    with torch.no_grad():
        assert 0.3 < net(torch.randn(1, 64, 16, 16)).std() < 3
    assert not net[0].bias.any()


def test_a_classifier_of_few_classes_starts_near_zero() -> None:
    torch.manual_seed(0)
    classify = torch.nn.Conv2d(256, 2, 1)
    initialise(classify)
    with torch.no_grad():
        assert classify(torch.rand(1, 256, 8, 8)).abs().max() < 5


def test_enlarging_with_and_without_aligned_corners() -> None:
    x = torch.tensor([[[[0.0, 3.0]]]])
    assert Enlarge(2)(x)[0, 0, 0].tolist() == [0.0, 0.75, 2.25, 3.0]
    assert Enlarge(2, align_corners=True)(x)[0, 0, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
