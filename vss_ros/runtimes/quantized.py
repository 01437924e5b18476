# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stages in int8: their files with pairs of QuantizeLinear and DequantizeLinear, calibrated on a few pictures.

TensorRT turns such pairs into convolutions of int8, in every version and without a calibrator of its own; ONNX Runtime
runs the same file on a CPU, so how far the labels are off can be seen without a GPU.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError
from vss_ros.core.frame import Frame, UInt8Array
from vss_ros.core.memory import Array
from vss_ros.core.method import Outputs, TemporalMethod
from vss_ros.core.prepare import Resize
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.runtimes.onnx import OnnxRuntime

_QUANTIZED = ["Conv"]  # sums of few terms gain little, and lose most
_PERIOD_NS = 66_666_667  # of the pictures, which a method takes for consecutive ones
_SCHEMA = 1  # raise it when the way files are quantized changes

Inputs = Mapping[str, npt.NDArray[Any]]


class QuantizedStages:
    """The quantized files of a model; made when the first one is asked for.

    Weights have a scale for each output channel, activations one for each tensor, from their largest magnitude on the
    pictures; zero is zero, as TensorRT wants it. Batch norms are folded into convolutions before.

    Args:
        card: the model.
        plan: as the streams run it.
        images: `(H, W, 3)` uint8 RGB, consecutive, of what the camera is going to see.
        resize: to the model's picture.
    """

    def __init__(self, card: ModelCard, plan: TemporalMethod, images: Sequence[UInt8Array], resize: Resize) -> None:
        self._card, self._plan, self._images, self._resize = card, plan, images, resize
        self._seen: dict[str, list[Inputs]] = {}
        self._made: dict[str, bytes] = {}

    @property
    def digest(self) -> str:
        """What the files depend on beside the model, for the keys of engines."""
        try:
            from onnxruntime import __version__ as library
        except ImportError as error:
            raise _missing(error) from error
        pictures = hashlib.sha256()
        for image in self._images:
            pictures.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        return f"{_SCHEMA} onnxruntime {library} {self._plan} {pictures.hexdigest()}"

    def content(self, stage: str) -> bytes:
        """The ONNX file of a stage.

        Raises:
            BackendError: onnx or onnxruntime is missing, or refuses the file.
        """
        if stage not in self._made:
            self._seen = self._seen or self._inputs()
            if stage not in self._seen:
                raise BackendError(
                    f"pictures on which stage '{stage}' runs were wanted to calibrate int8, in {len(self._images)} it "
                    "did not; name a folder with more of them in runtime.calibration, or use runtime.precision fp16"
                )
            self._made[stage] = _quantized(self._card.stage_path(stage), self._seen[stage])
        return self._made[stage]

    def _inputs(self) -> dict[str, list[Inputs]]:
        """What each stage is given while a stream sees the pictures."""
        recorder = _Recorder(OnnxRuntime(self._card, self._plan.stages(self._card.host), threads=1))
        size = self._card.input_size
        options = StreamOptions(size, input_size=size, output_size="model")
        stream = StreamSegmenter(self._plan, self._card.host, recorder, options, resize=self._resize)
        for number, image in enumerate(self._images):
            stream(Frame(number * _PERIOD_NS, image))
        return recorder.seen


class _Recorder:
    """A runtime that keeps what its stages are given."""

    def __init__(self, runtime: OnnxRuntime) -> None:
        self.name, self._runtime = runtime.name, runtime
        self.seen: dict[str, list[Inputs]] = {}
        self.attend, self.empty = runtime.attend, runtime.empty
        self.upload, self.download = runtime.upload, runtime.download

    def run(self, stage: str, /, **inputs: Array) -> Outputs:
        self.seen.setdefault(stage, []).append({name: np.array(x) for name, x in inputs.items()})
        return self._runtime.run(stage, **inputs)


def _quantized(path: Path, seen: Sequence[Inputs]) -> bytes:
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise _missing(error) from error

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[Inputs] = iter(seen)

        def get_next(self) -> Inputs | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory() as folder, _refusals(path):
        folded, made = Path(folder) / "folded.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(made),
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=_QUANTIZED,
            # TensorRT knows no zero points, no int32 biases, and weights as pairs like all else
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": True,
            },
        )
        model = onnx.load(made)
    standard = [opset for opset in model.opset_import if opset.domain == ""]  # of the others nothing is used
    del model.opset_import[:]
    model.opset_import.extend(standard)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the quantizer has no class of errors of its own
        raise BackendError(
            f"{path} was to be quantized, onnxruntime refuses: {error}; use runtime.precision fp16"
        ) from error


def _missing(error: ImportError) -> BackendError:
    return BackendError(
        f"precision int8 wants the packages onnx and onnxruntime: {error}; pip install onnx onnxruntime, or use fp16"
    )
