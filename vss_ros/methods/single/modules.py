# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The stages of the single-frame method: the host's own two halves."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from vss_ros.methods.single.plan import Single
from vss_ros.nets.stages import Decode, Encode, HostNet


def build_stages(plan: Single, net: HostNet, *, mean: Sequence[float], std: Sequence[float]) -> nn.ModuleDict:
    """`encode` and `decode` around `net`'s encoder and decoder."""
    return nn.ModuleDict({"encode": Encode(net.encoder, mean, std), "decode": Decode(net.decoder)})
