# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What of torch's GPU runtime can be seen without a GPU: dtypes, memory format, and streams like ONNX Runtime's.

The device is the CPU; a recorded step is run again at each replay, from the same arrays.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # which is no package
import torch
from gpu_smoke import CpuDevice

from vss_ros import assemble
from vss_ros.assemble import load_card, load_model, load_settings, loaded_stages
from vss_ros.core.errors import StageError
from vss_ros.core.frame import Frame
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.methods.lmanet.plan import LMANet
from vss_ros.runtimes.onnx import OnnxRuntime
from vss_ros.runtimes.torch_cuda import TorchCudaRuntime

SIZE = (32, 48)
PLAN = LMANet(slots=2, window=5)
CARD = load_card("lmanet_erfnet_camvid")


@pytest.fixture(scope="module")
def stages() -> Any:
    return loaded_stages(CARD, PLAN)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Frame(f.stamp_ns, f.image) for f in SyntheticDrive(3, size=SIZE, frames=6, motion=False)]


def runtime_of(stages: Any, *, half: bool) -> tuple[TorchCudaRuntime, CpuDevice]:
    device = CpuDevice()
    return TorchCudaRuntime(stages, PLAN.stages(CARD.host), half=half, device=device), device  # type: ignore[arg-type]


def labels(runtime: Any, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    stream = StreamSegmenter(PLAN, CARD.host, runtime, StreamOptions(CARD.input_size, input_size=SIZE))
    return np.stack([stream(frame).labels for frame in frames])


@pytest.mark.parametrize("half", [False, True])
def test_a_stream_gives_onnx_runtimes_labels(half: bool, stages: Any, frames: list[Frame]) -> None:
    wanted = labels(OnnxRuntime(CARD, PLAN.stages(CARD.host), threads=1), frames)
    runtime, device = runtime_of(stages, half=half)
    assert np.mean(labels(runtime, frames) != wanted) <= (0.01 if half else 0.0)
    assert device.replays == len(frames) - 2 * PLAN.slots, "filled, run once at each place of the ring, then replayed"


def test_graphs_can_be_switched_off(stages: Any, frames: list[Frame]) -> None:
    device = CpuDevice()
    given: Any = device
    runtime = TorchCudaRuntime(stages, PLAN.stages(CARD.host), half=False, graphs=False, device=given)
    wanted = labels(OnnxRuntime(CARD, PLAN.stages(CARD.host), threads=1), frames)
    np.testing.assert_array_equal(labels(runtime, frames), wanted)
    assert not device.replays


def test_in_half_precision_the_memory_and_all_between_stages_is_half(stages: Any) -> None:
    runtime, _ = runtime_of(stages, half=True)
    assert runtime.empty((2,), "float32").dtype == torch.float16 and runtime.empty((2,), "uint8").dtype == torch.uint8
    assert runtime.upload(np.ones(2, np.float32)).dtype == torch.float16
    made = runtime.run("encode", image=torch.zeros((*SIZE, 3), dtype=torch.uint8))
    assert {x.dtype for x in made.values()} == {torch.float16}
    labels = runtime.run("decode", features=made["features"])
    assert {x.dtype for x in labels.values()} == {torch.uint8} and labels["labels"].shape == SIZE


def test_the_modules_that_were_given_stay_as_they_are(stages: Any) -> None:
    runtime, _ = runtime_of(stages, half=True)
    weights = [x for x in stages.parameters() if x.ndim == 4]
    assert {x.dtype for x in weights} == {torch.float32}
    ours = [x for x in runtime._stages.parameters() if x.ndim == 4]
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in ours)
    features = runtime.run("encode", image=torch.zeros((*SIZE, 3), dtype=torch.uint8))["features"]
    assert features.unsqueeze(0).is_contiguous(memory_format=torch.channels_last), "no layer changed the format"


def test_refuses_what_a_stage_does_not_want(stages: Any) -> None:
    runtime, _ = runtime_of(stages, half=False)
    with pytest.raises(StageError, match="stage 'decode' wants"):
        runtime.run("decode", image=torch.zeros((*SIZE, 3), dtype=torch.uint8))


@pytest.mark.parametrize(("precision", "half"), [("fp16", True), ("fp32", False)])
def test_the_backend_torch_takes_it_where_there_is_a_gpu(
    precision: str, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vss_ros.runtimes import torch_cuda

    monkeypatch.setattr(torch_cuda, "TorchDevice", CpuDevice)
    monkeypatch.setattr(assemble, "loaded_stages", lambda card, plan: torch.nn.ModuleDict())
    values = {"runtime.backend": "torch", "runtime.precision": precision}
    assert not isinstance(load_model(load_settings(values=values)).runtime, TorchCudaRuntime)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    runtime = load_model(load_settings(values=values)).runtime
    assert isinstance(runtime, TorchCudaRuntime) and (runtime._float == torch.float16) == half


def test_a_read_takes_the_gpus_kernel_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from vss_ros.attention import triton_launch
    from vss_ros.core.look import Look
    from vss_ros.runtimes.torch import attend_on_gpu

    query = torch.ones((2, 3, 1, 4))
    memory, none = torch.ones((1, 2, 3, 1, 4)), {"valid": None, "centres": None, "sink": None}
    asked: list[Any] = []
    monkeypatch.setattr(triton_launch, "attend_triton", lambda *given, **more: asked.append((given, more)))
    assert attend_on_gpu(query, memory, memory, Look(1), **none).shape == (2, 3, 1, 4) and not asked
    monkeypatch.setattr(triton_launch, "why_not", lambda device: "")
    attend_on_gpu(query, memory, memory, Look(1), **none)
    ((given, more),) = asked
    assert given[0] is query and given[3] == Look(1) and more == none
