# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Quantized files: made of the shipped model, run by ONNX Runtime near float32, and taken by TensorRT's stand-in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

onnx = pytest.importorskip("onnx")

import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from test.runtimes.tensorrt.host_gpu import HostDevice, HostKernel  # noqa: E402
from test.runtimes.tensorrt.stand_in import Bindings  # noqa: E402
from vss_ros import assemble  # noqa: E402
from vss_ros.assemble import load_card, load_settings, quantized_stages  # noqa: E402
from vss_ros.core.card import ModelCard  # noqa: E402
from vss_ros.core.errors import BackendError, DataError  # noqa: E402
from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter  # noqa: E402
from vss_ros.data.resize import resize  # noqa: E402
from vss_ros.data.synthetic import SyntheticDrive  # noqa: E402
from vss_ros.methods.lmanet.plan import LMANet  # noqa: E402
from vss_ros.runtimes.golden import golden_images  # noqa: E402
from vss_ros.runtimes.onnx import OnnxRuntime  # noqa: E402
from vss_ros.runtimes.quantized import QuantizedStages  # noqa: E402
from vss_ros.runtimes.tensorrt.build import BuildOptions  # noqa: E402
from vss_ros.runtimes.tensorrt.cache import EngineCache  # noqa: E402
from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime  # noqa: E402

SIZE = (64, 96)
PLAN = LMANet(slots=2, window=5)
STAGES = ("encode", "fuse", "decode")


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return replace(load_card("lmanet_erfnet_camvid"), input_size=SIZE)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Frame(f.stamp_ns, f.image) for f in SyntheticDrive(3, size=SIZE, frames=5, motion=False)]


@pytest.fixture(scope="module")
def quantized(card: ModelCard, frames: list[Frame]) -> QuantizedStages:
    return QuantizedStages(card, PLAN, [frame.image for frame in frames[:3]], resize)


class Int8Runtime(OnnxRuntime):
    """ONNX Runtime on the quantized files."""

    def __init__(self, card: ModelCard, quantized: QuantizedStages) -> None:
        super().__init__(card, PLAN.stages(card.host), threads=1)
        self._sessions = {name: onnxruntime.InferenceSession(quantized.content(name)) for name in self._specs}


def labels(runtime: Any, card: ModelCard, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    stream = StreamSegmenter(PLAN, card.host, runtime, StreamOptions(SIZE, input_size=SIZE))
    return np.stack([stream(frame).labels for frame in frames])


@pytest.fixture(scope="module")
def wanted(card: ModelCard, frames: list[Frame]) -> npt.NDArray[np.uint8]:
    return labels(OnnxRuntime(card, PLAN.stages(card.host), threads=1), card, frames)


def test_the_labels_are_near_those_of_float32(
    card: ModelCard, frames: list[Frame], quantized: QuantizedStages, wanted: npt.NDArray[np.uint8]
) -> None:
    differ = np.mean(labels(Int8Runtime(card, quantized), card, frames) != wanted)
    assert 0 < differ < 0.03, "near, and not the same file"


@pytest.mark.parametrize("stage", STAGES)
def test_every_convolution_is_quantized_as_tensorrt_wants_it(stage: str, quantized: QuantizedStages) -> None:
    model = onnx.load_from_string(quantized.content(stage))
    graph, writer = model.graph, {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        for name in node.input[:2]:
            pair = writer[name], writer[writer[name].input[0]]
            assert [x.op_type for x in pair] == ["DequantizeLinear", "QuantizeLinear"]
        assert all(name not in writer for name in node.input[2:]), "biases stay float32"
    numbers = {x.name: numpy_helper.to_array(x) for x in graph.initializer}
    points = [numbers[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert all(point.dtype == np.int8 and not point.any() for point in points)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]


def test_the_digest_names_pictures_and_plan(card: ModelCard, frames: list[Frame], quantized: QuantizedStages) -> None:
    images = [frame.image for frame in frames[:3]]
    assert QuantizedStages(card, PLAN, images, resize).digest == quantized.digest
    assert QuantizedStages(card, PLAN, images[:2], resize).digest != quantized.digest
    assert QuantizedStages(card, LMANet(slots=3, window=5), images, resize).digest != quantized.digest


@pytest.mark.parametrize("version", ["8.5.3", "10.3.0", "11.4.0"])
def test_engines_are_built_of_the_quantized_files(
    version: str,
    card: ModelCard,
    frames: list[Frame],
    quantized: QuantizedStages,
    wanted: npt.NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    trt, cache = Bindings(version), EngineCache(tmp_path / "engines")
    parts: dict[str, Any] = {"trt": trt, "cache": cache, "device": HostDevice(), "load_kernel": HostKernel}
    specs = PLAN.stages(card.host)
    runtime = TensorRTRuntime(card, specs, BuildOptions("int8"), quantized=quantized, **parts)
    differ = np.mean(labels(runtime, card, frames) != wanted)
    assert 0 < differ < 0.03
    assert trt.flags >= {"INT8", "FP16"} if version.startswith("8.") else not trt.flags & {"INT8", "FP16"}
    assert runtime.empty((1,), "float32").dtype == np.float16, "the memory is half"
    other = QuantizedStages(card, PLAN, [frames[4].image], resize)
    assert (
        runtime._key(specs[0], {}).digest
        != TensorRTRuntime(card, specs, BuildOptions("int8"), quantized=other, **parts)._key(specs[0], {}).digest
    )


def test_int8_and_quantized_files_belong_together(card: ModelCard, quantized: QuantizedStages, tmp_path: Path) -> None:
    parts: dict[str, Any] = {"trt": Bindings("10.3.0"), "device": HostDevice(), "cache": EngineCache(tmp_path / "e")}
    for precision, files in (("int8", None), ("fp16", quantized)):
        with pytest.raises(BackendError, match=f"quantized files were wanted for int8 alone, got {precision}"):
            TensorRTRuntime(card, (), BuildOptions(precision), quantized=files, **parts)


def test_a_stage_that_never_ran_cannot_be_calibrated(card: ModelCard, frames: list[Frame]) -> None:
    first = QuantizedStages(card, PLAN, [frames[0].image], resize)
    with pytest.raises(BackendError, match="pictures on which stage 'fuse' runs were wanted to calibrate int8, in 1"):
        first.content("fuse")


def test_a_file_that_cannot_be_quantized_is_named(card: ModelCard, tmp_path: Path) -> None:
    from vss_ros.runtimes.quantized import _quantized

    (tmp_path / "encode.onnx").write_bytes(b"no file")
    with pytest.raises(BackendError, match=r"encode\.onnx was to be quantized, onnxruntime refuses"):
        _quantized(tmp_path / "encode.onnx", [])


def test_pictures_are_the_golden_frames_or_those_of_a_folder(tmp_path: Path) -> None:
    card = load_card("lmanet_erfnet_camvid")
    found = quantized_stages(card, PLAN, load_settings())
    np.testing.assert_array_equal(found._images, golden_images(card))
    with pytest.raises(DataError, match="a folder of images was wanted"):
        quantized_stages(card, PLAN, load_settings(values={"runtime.calibration": str(tmp_path / "none")}))
    import cv2

    for number in range(assemble.MOST_PICTURES + 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    found = quantized_stages(card, PLAN, load_settings(values={"runtime.calibration": str(tmp_path)}))
    assert [int(image[0, 0, 0]) for image in found._images] == list(range(assemble.MOST_PICTURES))
