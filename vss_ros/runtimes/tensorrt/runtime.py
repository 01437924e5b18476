# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stages as TensorRT engines with the attention kernel between them, all queued on one stream.

NOT YET RUN ON A GPU: tested with stand-ins for TensorRT's bindings and for the GPU's memory and graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention.ptx_loader import PtxAttention
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError, StageError
from vss_ros.core.memory import Array
from vss_ros.core.method import Outputs, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.stage import StageSpec
from vss_ros.core.step import Memory
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.preparing import Observe, Step
from vss_ros.runtimes.quantized import QuantizedStages
from vss_ros.runtimes.tensorrt import api
from vss_ros.runtimes.tensorrt.attend import DeviceAttention, LoadKernel
from vss_ros.runtimes.tensorrt.build import BuildOptions, build_plan
from vss_ros.runtimes.tensorrt.cache import EngineCache, EngineKey
from vss_ros.runtimes.tensorrt.device import Device, open_device
from vss_ros.runtimes.tensorrt.engine import StageEngine

_ALIGNED = 256  # bytes; TensorRT may refuse inputs and outputs that begin elsewhere


@dataclass(frozen=True)
class _Bound:
    """An engine and the arrays that its outputs always go to.

    Attributes:
        engine: of a stage.
        outputs: arrays by name.
        addresses: of these.
        copies: `(1, ...)` by name, of inputs that began where an engine cannot read.
    """

    engine: StageEngine
    outputs: Mapping[str, Array]
    addresses: Mapping[str, int]
    copies: dict[str, Array] = field(default_factory=dict)


class TensorRTRuntime:
    """Runs a model folder's stages on the first GPU; engines are built, or taken from the cache, for each picture size.

    For one thread at a time: all streams share the arrays that the stages write to.

    With precision `fp16` or `int8` the float tensors between stages, memory included, are float16 on the device.

    Args:
        card: the model.
        stages: what the plan wants of each file.
        options: precision and effort of the builds.
        trt: TensorRT's bindings, or a stand-in; None = those that are installed.
        device: arrays and stream; None = the first GPU's.
        cache: of engines; None = the user's.
        load_kernel: makes the attention kernel of a dtype and numbers of channels.
        quantized: the files for precision `int8`.
        graphs: replay whole steps as CUDA graphs; may be changed later, for the steppers made after it.

    Raises:
        BackendError: TensorRT, a GPU or an array library is missing, or TensorRT lacks an option.
        CardError: a stage file is missing or damaged.
    """

    name = "tensorrt"
    spare_slots = 1  # engines write a frame's keys and values into it while the other slots are read

    def __init__(
        self,
        card: ModelCard,
        stages: Sequence[StageSpec],
        options: BuildOptions | None = None,
        *,
        trt: Any = None,
        device: Device | None = None,
        cache: EngineCache | None = None,
        load_kernel: LoadKernel = PtxAttention,
        quantized: QuantizedStages | None = None,
        graphs: bool = True,
    ) -> None:
        self._card, self._specs = card, {spec.name: spec for spec in stages}
        self._options = options or BuildOptions()
        self._quantized, self.graphs = quantized, graphs
        if (self._options.precision == "int8") != (quantized is not None):
            raise BackendError(f"quantized files were wanted for int8 alone, got {self._options.precision}")
        self._trt = trt or api.bindings()
        compatible = self._options.version_compatible
        self._found_by = api.library_of_major(self._trt) if compatible else api.library(self._trt)
        self._device = device or open_device()
        self._cache = cache or EngineCache()
        self._paths = {name: card.stage_path(name) for name in self._specs}
        self._bound: dict[tuple[str, Size], _Bound] = {}
        self.attend = DeviceAttention(self._device, load_kernel)

    def prepare(self, size: Size, observe: Observe = lambda step: None) -> None:
        """Have the engines of all stages for pictures of `(height, width)` px; building them may take minutes.

        Args:
            size: of the pictures.
            observe: called as each stage begins.

        Raises:
            BackendError: TensorRT refuses a stage.
        """
        missing = [spec for spec in self._specs.values() if (spec.name, size) not in self._bound]
        for index, spec in enumerate(missing):
            left_s = self._expected_seconds(missing[index:], size)
            observe(Step(f"{self._options.precision} engine of {spec.name}", index + 1, len(missing), left_s))
            self._bound[spec.name, size] = self._bind(spec, size)

    def run(self, stage: str, /, **inputs: Array) -> Outputs:
        """One stage, queued; its outputs are overwritten by its next run at the same size.

        Raises:
            StageError: the inputs are not those of the stage.
            BackendError: TensorRT refuses; at the first picture of a size also while it builds.
        """
        return self.run_into(stage, inputs, {})

    @property
    def specs(self) -> Sequence[StageSpec]:
        """The plan's stages."""
        return tuple(self._specs.values())

    def stepper(self, plan: TemporalMethod, memory: Memory) -> GraphedStep:
        """Runs whole steps, as CUDA graphs where these are wanted."""
        return GraphedStep(plan, memory, self, self._device, records=self.graphs)

    def run_into(self, stage: str, inputs: Mapping[str, Array], into: Mapping[str, Array]) -> Outputs:
        """One stage, queued; the outputs that `into` names are written there, where an engine can write there.

        Raises:
            StageError: the inputs are not those of the stage.
            BackendError: TensorRT refuses; at the first picture of a size also while it builds.
        """
        spec = self._specs[stage]
        spec.check_inputs(inputs)
        size = picture_size(spec, inputs)
        if (stage, size) not in self._bound:
            self.prepare(size)  # all stages, so that the stream does not stop again at the first one that is new
        bound = self._bound[stage, size]
        for name, port in bound.engine.inputs.items():
            found = self._device.dtype(inputs[name]), tuple(inputs[name].shape)
            if found != (port.dtype, port.shape):
                raise StageError(
                    f"stage '{stage}' at {size} px wants {name} {port.shape} {port.dtype}, got {found[1]} {found[0]}; "
                    "give it what this runtime's stages and banks hold"
                )
        there = {name: self._device.address(x) for name, x in into.items()}
        there = {name: address for name, address in there.items() if address % _ALIGNED == 0}
        addresses = {name: self._readable(bound, name, x) for name, x in inputs.items()}
        bound.engine.enqueue({**bound.addresses, **there, **addresses}, self._device.stream())
        return {**bound.outputs, **{name: into[name] for name in there}}

    def _readable(self, bound: _Bound, name: str, array: Array) -> int:
        """Where an engine reads an input: of a slot of a ring that begins elsewhere, a copy that is queued before."""
        address = self._device.address(array)
        if address % _ALIGNED == 0:
            return address
        if name not in bound.copies:
            bound.copies[name] = self._device.empty((1, *array.shape), self._device.dtype(array))
        self._device.stream()
        bound.copies[name][0] = array
        return self._device.address(bound.copies[name])

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self._device.empty(shape, self._on_device(dtype))

    def upload(self, array: npt.NDArray[Any]) -> Array:
        return self._device.upload(np.ascontiguousarray(array, self._on_device(array.dtype.name)))

    def download(self, array: Array) -> npt.NDArray[Any]:
        return self._device.download(array)

    def _on_device(self, dtype: str) -> str:
        return self._options.seam if dtype == "float32" else dtype

    def _expected_seconds(self, specs: Sequence[StageSpec], size: Size) -> float | None:
        known = [self._cache.expected_seconds(self._key(spec, _input_shapes(spec, size))) for spec in specs]
        return None if None in known else sum(seconds for seconds in known if seconds is not None)

    def _bind(self, spec: StageSpec, size: Size) -> _Bound:
        shapes = _input_shapes(spec, size)
        label = f"{self._card.name} {spec.name} {size[1]}x{size[0]} {self._options.precision}"
        engine = self._cache.fetch(
            self._key(spec, shapes),
            label,
            lambda: self._build(spec, shapes),
            lambda plan: StageEngine(self._trt, plan, label, shapes, carries_code=self._options.version_compatible),
            built_by=api.library(self._trt),
        )
        wanted = {t.name: (self._on_device(t.dtype), t.at(*size)) for t in (*spec.inputs, *spec.outputs)}
        found = {name: (port.dtype, port.shape) for name, port in {**engine.inputs, **engine.outputs}.items()}
        if wanted != found:
            raise BackendError(f"the engine of {label} wants tensors {wanted}, got {found}; export the model again")
        outputs = {name: self._device.empty(port.shape, port.dtype) for name, port in engine.outputs.items()}
        return _Bound(engine, outputs, {name: self._device.address(array) for name, array in outputs.items()})

    def _key(self, spec: StageSpec, shapes: Mapping[str, tuple[int, ...]]) -> EngineKey:
        gpu = self._device.about()
        return EngineKey(
            onnx_sha256=self._card.stages[spec.name].sha256,
            tensorrt=self._found_by,
            capability=gpu.capability,
            gpu=gpu.name,
            processors=gpu.processors,
            precision=self._options.precision,
            shapes=shapes,
            flags=self._options.flags() | ({} if self._quantized is None else {"calibration": self._quantized.digest}),
        )

    def _build(self, spec: StageSpec, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
        machine = f"{api.library(self._trt)} {self._device.about()}"
        timing = self._cache.read_timing(machine)
        content = None if self._quantized is None else self._quantized.content(spec.name)
        path = self._paths[spec.name]
        built = build_plan(self._trt, path, shapes, self._options, content=content, timing=timing)
        if built.timing:
            self._cache.write_timing(machine, built.timing)
        return built.plan


def _input_shapes(spec: StageSpec, size: Size) -> dict[str, tuple[int, ...]]:
    return {t.name: t.at(*size) for t in spec.inputs}


def picture_size(spec: StageSpec, inputs: Mapping[str, Array]) -> Size:
    """`(height, width)` px of the picture that a stage's inputs belong to.

    Raises:
        StageError: no input has the picture's height and width.
    """
    found: dict[str, int] = {}
    for t in spec.inputs:
        for dim, length in zip(t.shape, inputs[t.name].shape, strict=True):
            if isinstance(dim, str) and not t.is_list:
                axis, _, stride = dim.partition("/")
                found.setdefault(axis, int(length) * int(stride or 1))
    if found.keys() != {"H", "W"}:
        raise StageError(
            f"stage '{spec.name}' wants an input with the picture's H and W, got {sorted(found)}; see its plan"
        )
    return found["H"], found["W"]
