# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""cuda-python's arrays on a stand-in for its library, and who is asked for a GPU."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.runtimes.tensorrt.host_gpu import HostDevice, host_cudart
from vss_ros.core.errors import BackendError, StageError
from vss_ros.runtimes.tensorrt import device as device_module
from vss_ros.runtimes.tensorrt import device_cuda
from vss_ros.runtimes.tensorrt.device import Gpu, open_device
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice


def test_copies_there_and_back_and_into_slots() -> None:
    device = CudaDevice(host_cudart())
    frames = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    ring = device.empty((2, 3, 4), "float32")
    assert (ring.shape, ring.itemsize, ring.nbytes, device.dtype(ring)) == ((2, 3, 4), 4, 96, "float32")
    for slot in (1, 0):
        ring[slot] = device.upload(frames[slot])
    np.testing.assert_array_equal(device.download(ring), frames)
    turned = device.upload(frames.T)
    np.testing.assert_array_equal(device.download(turned), frames.T)
    assert device.address(ring) == ring.address and device.stream() == HostDevice.STREAM
    assert device.about() == Gpu("Orin", "8.7", 16)


@pytest.mark.parametrize(("slot", "shape", "dtype"), [(2, (3,), "float32"), (0, (4,), "float32"), (0, (3,), "float16")])
def test_a_slot_takes_only_what_fits(slot: int, shape: tuple[int, ...], dtype: str) -> None:
    device = CudaDevice(host_cudart())
    ring, other = device.empty((2, 3), "float32"), device.empty(shape, dtype)
    with pytest.raises(ValueError, match=r"slot \d of \(2, 3\) float32 wants \(3,\)"):
        ring[slot] = other


def test_pinned_memory_goes_there_and_back() -> None:
    cudart = host_cudart()
    device = CudaDevice(cudart)
    host, array = device.pinned((2, 3), "float16"), device.empty((2, 3), "float16")
    host[...] = np.arange(6).reshape(2, 3)
    device.send(host, array)
    np.testing.assert_array_equal(device.download(array), host)
    device.send(np.zeros((2, 3), np.float16), array)
    device.fetch(array, host)
    device.wait()
    assert not host.any() and host.ctypes.data in cudart.rooms
    view = host[1]
    del host
    gc.collect()
    assert view.base is not None and len(cudart.rooms) == 2, "a part of it keeps it"
    del view
    gc.collect()
    assert list(cudart.rooms) == [array.address]


def test_a_part_keeps_the_whole_and_can_be_copied_into() -> None:
    cudart = host_cudart()
    device = CudaDevice(cudart)
    part = device.upload(np.arange(6, dtype=np.float32).reshape(2, 3))[1]
    gc.collect()
    np.testing.assert_array_equal(device.download(part), [3, 4, 5])
    with pytest.raises(IndexError, match="a slot of 0 to 2 was wanted, got 3"):
        part[3]
    del part
    gc.collect()
    assert not cudart.rooms


def test_memory_is_freed_with_its_array() -> None:
    cudart = host_cudart()
    array = CudaDevice(cudart).empty((4,), "uint8")
    assert list(cudart.rooms) == [array.address]
    del array
    gc.collect()
    assert not cudart.rooms


def test_says_what_cuda_says() -> None:
    with pytest.raises(BackendError, match="cudaMalloc of the CUDA runtime failed: out of memory; see the GPU's state"):
        CudaDevice(host_cudart(cudaMalloc=2)).empty((4,), "uint8")
    with pytest.raises(BackendError, match="cudaStreamCreate of the CUDA runtime failed"):
        CudaDevice(host_cudart(cudaStreamCreate=100))


def test_without_torch_cuda_python_is_taken_under_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for names in (("cuda", "cuda.bindings"), ("cuda",)):
        for name in ("cuda", "cuda.bindings"):
            monkeypatch.setitem(sys.modules, name, SimpleNamespace() if name in names else None)  # type: ignore[arg-type]
        attribute = "runtime" if "cuda.bindings" in names else "cudart"
        monkeypatch.setattr(sys.modules[names[-1]], attribute, host_cudart(), raising=False)
        assert isinstance(open_device(), CudaDevice)


def test_a_torch_that_does_not_load_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudnn.so.8: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(device_cuda, "cuda_runtime", host_cudart)
    assert isinstance(open_device(), CudaDevice)


def test_each_runtime_has_a_stream_of_its_own_which_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cudart = host_cudart()
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(device_cuda, "cuda_runtime", lambda: cudart)
    one, other = open_device(), open_device()
    assert len(cudart.streams) == 2
    array = one.empty((4,), "uint8")
    del one, other
    gc.collect()
    assert len(cudart.streams) == 1, "an array keeps its stream"
    del array
    gc.collect()
    assert not cudart.streams and not cudart.rooms


def test_torchs_work_goes_to_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What of it can be seen without a GPU: tensors stay on the CPU here, and memory is not pinned."""
    torch = pytest.importorskip("torch")
    from vss_ros.runtimes.tensorrt import device_torch

    done: list[str] = []
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: done.append("wait"))
    about = SimpleNamespace(name="H200", major=9, minor=0, multi_processor_count=132)
    plain = torch.empty

    def empty(*shape: Any, pin_memory: bool = False, device: Any = None, **more: Any) -> Any:
        done.append("pinned" if pin_memory else "on the GPU")
        return plain(*shape, **more)

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "set_stream", lambda chosen: done.append(f"stream {chosen.cuda_stream}"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(torch, "empty", empty)
    device = device_torch.TorchDevice()
    device.where = torch.device("cpu")
    assert device.about() == Gpu("H200", "9.0", 132) and device.stream() == 7
    done.clear()
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    array.flags.writeable = False  # as pictures of a bag are
    there = device.upload(array)
    np.testing.assert_array_equal(device.download(there), array)
    assert done == ["stream 7", "pinned", "stream 7", "pinned", "wait"]
    done.clear()
    host = device.pinned((2, 3), "float16")
    host[...] = 2
    device.send(host, there)
    host[...] = 0
    device.fetch(there, host)
    device.wait()
    assert (host == 2).all() and done == ["pinned", "stream 7", "stream 7", "wait"]
    assert device.dtype(there) == "float16" and device.address(there) == there.data_ptr()
    assert device.empty((2,), "uint8").dtype == torch.uint8
    with pytest.raises(StageError, match=r"wants contiguous tensors, got strides \(1, 3\)"):
        device.address(there.T)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'cuda'")

    monkeypatch.setattr(device_cuda, "cuda_runtime", missing)
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), __version__="2.13")
    for found, why in ((torch, "torch 2.13 sees no GPU"), (None, "torch")):
        monkeypatch.setitem(sys.modules, "torch", found)  # type: ignore[arg-type]
        with pytest.raises(BackendError, match=rf"{why}.*; No module named 'cuda'; pip install cuda-python, or use"):
            device_module.open_device()
