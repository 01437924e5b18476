# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every runtime reads as `local_attention` does: lists of queries, centres and sinks included."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.attention.cases import random
from vss_ros.assemble import load_card
from vss_ros.attention import local_attention
from vss_ros.core.look import Border, Look
from vss_ros.runtimes.onnx import OnnxRuntime

LOOK = Look((3, 5), Border.MASK, scale=0.5)
QUERY, KEYS, VALUES = random(6, 7, slots=2, heads=2, dk=4, dv=6)
RNG = np.random.default_rng(0)
CALLS: dict[str, dict[str, Any]] = {
    "dense": {"query": QUERY},
    "sink": {"query": QUERY, "sink": 0.5},
    "motion": {"query": QUERY, "centres": RNG.integers(-2, 8, (6, 7, 2)), "sink": np.float32([0.5, -1])},
    "list": {"query": QUERY[2], "centres": RNG.integers(-2, 8, (7, 2)), "valid": np.array([False, True])},
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
def test_onnx(call: dict[str, Any], single_folder: Path) -> None:
    got = OnnxRuntime(load_card(single_folder), ()).attend(keys=KEYS, values=VALUES, look=LOOK, **call)
    np.testing.assert_array_equal(got, local_attention(keys=KEYS, values=VALUES, look=LOOK, **call))


@each_call
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_torch(call: dict[str, Any], device: str) -> None:
    torch = pytest.importorskip("torch")
    from vss_ros.runtimes.torch import TorchRuntime

    runtime = TorchRuntime(torch.nn.ModuleDict(), ())
    if device == "other":  # what runs on a GPU, here on the CPU
        runtime._device = SimpleNamespace(type="other")  # type: ignore[assignment]
    tensors = {name: torch.from_numpy(x) for name, x in call.items() if isinstance(x, np.ndarray) and name != "valid"}
    got = runtime.attend(
        **{"keys": torch.from_numpy(KEYS), "values": torch.from_numpy(VALUES), "look": LOOK, **call, **tensors}
    )
    wanted = local_attention(keys=KEYS, values=VALUES, look=LOOK, **call)
    assert isinstance(got, torch.Tensor)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-6)
