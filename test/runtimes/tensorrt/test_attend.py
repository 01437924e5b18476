# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the GPU kernel is told between two engines, and that it reads as `local_attention` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from test.attention.cases import random
from test.attention.test_ptx import Libcuda
from test.runtimes.tensorrt.host_gpu import HostDevice, HostKernel
from vss_ros.attention import local_attention
from vss_ros.attention.ptx_loader import Driver, PtxAttention
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look
from vss_ros.runtimes.tensorrt.attend import DeviceAttention

LOOK = Look((3, 5), Border.MASK, scale=0.5)
QUERY, KEYS, VALUES = random(6, 7, slots=2, heads=2, dk=4, dv=6)
RNG = np.random.default_rng(0)
CALLS: dict[str, dict[str, Any]] = {
    "dense": {"query": QUERY},
    "zero border": {"query": QUERY, "look": Look(7, Border.ZERO)},
    "sink": {"query": QUERY, "sink": 0.5},
    "motion": {"query": QUERY, "centres": RNG.integers(-2, 8, (6, 7, 2), np.int32), "sink": np.float32([0.5, -1])},
    "list": {"query": QUERY[2], "centres": RNG.integers(-2, 8, (7, 2), np.int32), "valid": np.array([True, False])},
    "empty list": {"query": QUERY[2, :0], "centres": np.zeros((0, 2), np.int32)},
}


def uploaded(device: HostDevice, call: dict[str, Any]) -> dict[str, Any]:
    return {name: device.upload(x) if name in ("query", "centres") else x for name, x in call.items()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_reads_as_the_definition(call: dict[str, Any]) -> None:
    device = HostDevice()
    attend = DeviceAttention(device, HostKernel)
    memory = {"keys": device.upload(KEYS), "values": device.upload(VALUES)}
    for _ in range(2):  # the second one finds tables and results
        got = attend(**{"look": LOOK, **memory, **uploaded(device, call)})
        wanted = local_attention(**{"look": LOOK, "keys": KEYS, "values": VALUES, **call})
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_the_driver_is_told_addresses_stream_and_slots() -> None:
    device, library = HostDevice(), Libcuda()
    attend = DeviceAttention(device, lambda *about: PtxAttention(*about, driver=Driver(library)))
    halves = [device.upload(x.astype(np.float16)) for x in random(8, 9, slots=3, heads=1, dk=16, dv=64)]
    out = attend(*halves, Look(21), valid=np.array([True, False, True]), sink=None)
    first, second = library.launches
    assert (first["kernel"], second["kernel"], first["stream"]) == ("local_read", "merge_parts", HostDevice.STREAM)
    assert first["arguments"][:3] == [x.ctypes.data for x in halves] and first["arguments"][6] == out.ctypes.data
    assert first["arguments"][9:18] == [72, 9, 8, 9, 1, 2, 2, 1, 0]
    assert (out.shape, out.dtype) == ((8, 9, 1, 64), np.float16)
    again = attend(*halves, Look(21), valid=np.array([True, False, True]))
    assert again is out and library.launches[2]["arguments"] == first["arguments"], "nothing is allocated anew"
    assert len(library.images) == 2, "the PTX is loaded once"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "dtypes": ({"query": QUERY.astype(np.float16)}, "want one dtype, got float16, float32, float32"),
    "frame": ({"query": QUERY[1:]}, r"query wants \(h, w, heads, dk\) = \(6, 7, 2, 4\) or, .* got \(5, 7, 2, 4\)"),
    "values": ({"values": VALUES[:1]}, "push key and value of one frame together"),
    "list": ({"query": QUERY[0]}, r"a list of queries \(7, 2, 4\) wants centres \(7, 2\), got None"),
    "centres": ({"centres": np.zeros((6, 7, 2))}, r"centres wants \(6, 7, 2\) int32, got \(6, 7, 2\) float64"),
    "windows": ({"look": Look((3, 5, 7))}, "one window, or one for each of the 2 slots"),
    "valid": ({"valid": np.zeros(2, bool)}, "at least one valid slot"),
    "sink": ({"sink": np.float32([1, np.nan])}, r"sink wants a number or \(2,\), finite or -inf, got \[1.0, nan\]"),
    "sink on the device": (
        {"sink": object()},
        r"a sink wants a number or \(2,\) of numpy, .* read it from the model's options",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refuses_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    call = {"query": QUERY, "keys": KEYS, "values": VALUES, "look": LOOK, **change}
    with pytest.raises(AttentionError, match=message):
        DeviceAttention(HostDevice(), HostKernel)(**call)


def no_file(*about: Any) -> Any:
    raise AttentionError("no PTX for float32")


def test_without_a_file_arrays_of_no_library_are_refused() -> None:
    with pytest.raises(AttentionError, match=r"^no PTX for float32$"):
        DeviceAttention(HostDevice(), no_file)(QUERY, KEYS, VALUES, LOOK)


def test_without_a_file_triton_reads_torchs_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from vss_ros.attention import triton_launch

    class Torch(HostDevice):
        def dtype(self, array: Any) -> str:
            return str(array.dtype).removeprefix("torch.")

    tensors = [torch.from_numpy(x) for x in (QUERY, KEYS, VALUES)]
    monkeypatch.setattr(triton_launch, "why_not", lambda device: "Triton is not installed")
    with pytest.raises(AttentionError, match="no PTX for float32; Triton is not installed, which would compile one"):
        DeviceAttention(Torch(), no_file)(*tensors, LOOK)
    monkeypatch.setattr(triton_launch, "why_not", lambda device: "")
    monkeypatch.setattr(triton_launch, "attend_triton", lambda *arrays, **more: (arrays, more))
    (*arrays, look), more = DeviceAttention(Torch(), no_file)(*tensors, LOOK, sink=1.0)
    assert all(a is b for a, b in zip(arrays, tensors, strict=True)) and look == LOOK
    assert more == {"valid": None, "centres": None, "sink": 1.0}
