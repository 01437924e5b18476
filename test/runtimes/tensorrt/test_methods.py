# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files of the other methods on the stand-in for TensorRT, with steps as graphs: the labels of ONNX Runtime.

The picture is of 5x7 cells, so that slots of SSLTM's memory begin where TensorRT may refuse to read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("onnx")

from test.conftest import random_model
from test.runtimes.tensorrt.host_gpu import HostKernel, host_cudart
from test.runtimes.tensorrt.stand_in import Bindings
from vss_ros.assemble import load_card, plan_for
from vss_ros.core.frame import Frame
from vss_ros.core.motion import ZeroMotion
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.onnx import OnnxRuntime
from vss_ros.runtimes.tensorrt.build import BuildOptions
from vss_ros.runtimes.tensorrt.cache import EngineCache
from vss_ros.runtimes.tensorrt.device_cuda import CudaDevice
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime

SIZE = (40, 56)
STT: dict[str, Any] = {"slots": 2, "start": 1, "growth": 1, "end": 2, "width": 32, "heads": 2, "hidden": 32}
SSLTM: dict[str, Any] = {"frames": 3, "block": 4, "width": 32, "heads": 2, "hidden": 32, "context_width": 16}
ARSEG: dict[str, Any] = {"period": 3, "window": 3}
METHODS: dict[str, dict[str, Any]] = {
    "stt": STT,
    "ssltm": {**SSLTM, "distance": 4, "every": 2},
    "arseg": ARSEG,
}


def labels(stream: StreamSegmenter) -> npt.NDArray[np.uint8]:
    drive = SyntheticDrive(3, size=SIZE, frames=11, motion=False)
    return np.stack([stream(Frame(frame.stamp_ns, frame.image)).labels for frame in drive])


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_gives_onnx_runtimes_labels(method: str, tmp_path: Path) -> None:
    card = load_card(random_model(tmp_path / method, method, "erfnet", input_size=SIZE, **METHODS[method]))
    plan = plan_for(card.method, card.options)
    specs, device = plan.stages(card.host), CudaDevice(host_cudart())
    parts: dict[str, Any] = {"trt": Bindings("10.3.0"), "device": device, "load_kernel": HostKernel}
    engines = TensorRTRuntime(card, specs, BuildOptions("fp32"), cache=EngineCache(tmp_path / "engines"), **parts)
    options, motion = StreamOptions(card.input_size, input_size=SIZE), ZeroMotion()
    ours, reference = (
        StreamSegmenter(plan, card.host, runtime, options, motion=motion)
        for runtime in (engines, OnnxRuntime(card, specs, threads=1))
    )
    assert np.mean(labels(ours) != labels(reference)) <= 1e-3  # with a spare slot sums have another order
    assert isinstance(ours._stepper, GraphedStep)
    assert ours._stepper.graphs == (4 if method == "arseg" else 3)
    near = engines._bound.get(("near", SIZE))
    assert near is None or set(near.copies) == {"key_1", "value_1", "key_2", "value_2"}
