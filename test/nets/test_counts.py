# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Parameters and multiply-adds of the hosts, beside those of the published networks."""

import pytest

torch = pytest.importorskip("torch")
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from vss_ros.nets import NETS  # noqa: E402
from vss_ros.nets.stages import split_at_classifier  # noqa: E402


def gmac(module: torch.nn.Module, *inputs: torch.Tensor) -> float:
    """Multiply-adds of a forward pass in 1e9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("name", "classes", "size", "parameters", "macs"),
    [
        ("bisenet18", 19, (512, 1024), 13.3e6, 29.6),
        ("bisenet18", 12, (720, 960), 13.3e6, 39.1),
        ("bisenet18", 19, (1024, 2048), 13.3e6, 118.3),
        ("bisenet34", 19, (512, 1024), 23.4e6, 48.9),
        ("pspnet18", 19, (513, 1025), 16.2e6, 138.1),
        ("pspnet18", 19, (512, 1024), 16.2e6, 135.0),
        ("pspnet18", 19, (1024, 2048), 16.2e6, 540.0),
        ("pspnet50", 19, (513, 1025), 46.7e6, 376.6),
        ("pspnet101", 19, (513, 1025), 65.7e6, 535.4),
        ("pspnet18_camvid", 19, (512, 1024), 17.4e6, 234.4),
        ("pspnet18_camvid", 12, (720, 960), 17.4e6, 308.6),
        ("pspnet18_camvid", 12, (360, 480), 17.4e6, 77.2),
    ],
)
def test_costs_what_the_published_network_does(
    name: str, classes: int, size: tuple[int, int], parameters: float, macs: float
) -> None:
    # convolutions and the pooling's products; enlarging, norms and auxiliary heads are not counted, here or there
    with torch.device("meta"):
        net = NETS[name](classes).eval()
        counted = gmac(net, torch.empty(1, 3, *size))
    assert counted == pytest.approx(macs, rel=2e-3)
    halves = [*net.encoder.parameters(), *net.decoder.parameters()]
    assert sum(p.numel() for p in halves) == pytest.approx(parameters, rel=5e-3)


@pytest.mark.parametrize("name", NETS)
def test_a_decoder_is_what_makes_the_classified_features_and_the_classifier(name: str) -> None:
    torch.manual_seed(0)
    with torch.device("meta" if name in ("pspnet50", "pspnet101") else "cpu"):
        net = NETS[name](11).eval()
        features = torch.rand(1, net.feature_channels, 4, 6)
        head, classifier = split_at_classifier(net.decoder)
        with torch.no_grad():
            classified, logits = head(features), net.decoder(features)
            again = classifier(classified)
    stride = net.classified_stride
    assert classified.shape == (1, net.classified_channels, 8 * 4 // stride, 8 * 6 // stride)
    parts = {f"{key}" for part in (head, classifier) for key in part.state_dict()}
    assert parts == set(net.decoder.state_dict()), "names stay, so that weights find their places"
    assert again.shape == logits.shape and (again.is_meta or again.equal(logits))
