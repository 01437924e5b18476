# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stage's ONNX file to a TensorRT plan for one size of picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt import api
from vss_ros.runtimes.tensorrt.graph import fit_for_tensorrt

Shapes = Mapping[str, tuple[int, ...]]

_MIB = 1 << 20


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built; all of it is part of an engine's key.

    Attributes:
        precision: `fp32`, which is float32 throughout and never TF32; `fp16`; or `int8`, which wants quantized files.
        workspace_mib: scratch memory that a layer may take, MiB.
        optimization_level: 0 (fast to build) to 5 (fast to run); -1 = TensorRT's own choice.
        version_compatible: later versions of TensorRT, of the same major one, can load the engine.
    """

    precision: str = "fp16"
    workspace_mib: int = 1024
    optimization_level: int = -1
    version_compatible: bool = False

    @property
    def seam(self) -> str:
        """Dtype of what float tensors between stages are on the device."""
        return "float32" if self.precision == "fp32" else "float16"

    def flags(self) -> dict[str, str | int | bool]:
        """What the key says of them beside the precision."""
        return {
            "workspace_mib": self.workspace_mib,
            "optimization_level": self.optimization_level,
            "version_compatible": self.version_compatible,
        }


@dataclass(frozen=True)
class Built:
    """A plan, and what TensorRT measured while it made it."""

    plan: bytes
    timing: bytes


def build_plan(
    trt: Any,
    path: Path,
    shapes: Shapes,
    options: BuildOptions,
    *,
    content: bytes | None = None,
    timing: bytes = b"",
    capability: str = "",
) -> Built:
    """Build one stage.

    Args:
        trt: TensorRT's bindings.
        path: of the ONNX file.
        shapes: of its inputs, the only ones that the engine will take.
        options: precision and effort.
        content: what the file was made into, such as its quantized form; None = as it is.
        timing: of earlier builds on this GPU, which are then not measured again.
        capability: a GPU to build for instead of this machine's, such as `8.0`; TensorRT-RTX only.

    Raises:
        BackendError: TensorRT refuses the file or an option; the message has its own lines.
    """
    api.logger(trt).drain()
    builder = api.made(trt, "Builder", api.logger(trt))
    network = builder.create_network(api.network_flags(trt))
    if network is None:
        raise api.refusal(trt, "made no network", "see whether the GPU and its driver work")
    _parse(trt, network, path, path.read_bytes() if content is None else content, options.precision)
    config = _configured(trt, builder, options)
    _set_shapes(trt, builder, network, config, shapes, path)
    if options.seam == "float16" and not api.is_strongly_typed(trt):
        _ask_for_half(trt, network, config)
        if options.precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
    if capability:
        _build_for(trt, config, capability)
    cache = _with_timing(config, timing)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise api.refusal(
            trt, f"built no engine of {path}", "give it more runtime.workspace_mib, or use runtime.precision fp32"
        )
    return Built(bytes(plan), b"" if cache is None else bytes(cache.serialize()))


def _parse(trt: Any, network: Any, path: Path, content: bytes, precision: str) -> None:
    parser = api.made(trt, "OnnxParser", network, api.logger(trt))
    typed = api.is_strongly_typed(trt)
    fitted = fit_for_tensorrt(content, half=typed and precision == "fp16", half_ends=typed and precision == "int8")
    if not parser.parse(fitted):
        said = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise api.refusal(trt, f"does not take {path}", "export the model again, or use runtime.backend onnx", said)


def _configured(trt: Any, builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    if config is None:
        raise api.refusal(trt, "made no builder configuration", "see whether the GPU and its driver work")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    config.clear_flag(trt.BuilderFlag.TF32)  # it is set at first, and rounds float32 to 10 bits
    if options.optimization_level >= 0:
        if not hasattr(config, "builder_optimization_level"):
            raise BackendError(
                f"an optimization level wants TensorRT 8.6 or newer, got {api.library(trt)}; "
                "set runtime.optimization_level to -1"
            )
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        api.library_of_major(trt)  # or it says that there is no such flag
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    return config


def _set_shapes(trt: Any, builder: Any, network: Any, config: Any, shapes: Shapes, path: Path) -> None:
    """One profile whose smallest, best and largest shapes are the same."""
    names = [network.get_input(number).name for number in range(network.num_inputs)]
    if sorted(names) != sorted(shapes):
        raise BackendError(f"{path} wants shapes of {sorted(names)}, got {sorted(shapes)}; export the model again")
    profile = builder.create_optimization_profile()
    if profile is None:
        raise api.refusal(trt, "made no optimization profile", "see whether the GPU and its driver work")
    for name, shape in shapes.items():
        profile.set_shape(name, shape, shape, shape)
    if config.add_optimization_profile(profile) < 0:
        raise api.refusal(trt, f"does not take the shapes {dict(shapes)} of {path}", "use another model.input_size")


def _ask_for_half(trt: Any, network: Any, config: Any) -> None:
    """Before 10: layers may compute in half, and floats come and go in half."""
    config.set_flag(trt.BuilderFlag.FP16)
    puts = [network.get_input(number) for number in range(network.num_inputs)]
    puts += [network.get_output(number) for number in range(network.num_outputs)]
    for put in puts:
        if put.dtype == trt.DataType.FLOAT:
            put.dtype = trt.DataType.HALF


def _build_for(trt: Any, config: Any, capability: str) -> None:
    if not hasattr(config, "set_compute_capability"):
        raise BackendError(
            f"{api.library(trt)} builds for the GPU it runs on alone, {capability} was wanted; build there"
        )
    config.num_compute_capabilities = 1
    name = f"SM{capability.replace('.', '')}"
    if not hasattr(trt.ComputeCapability, name):
        raise BackendError(f"{api.library(trt)} has no compute capability {capability}; use TensorRT itself")
    config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)


def _with_timing(config: Any, timing: bytes) -> Any:
    """The cache of timings that the build reads and fills; a file of another version is left aside."""
    cache = config.create_timing_cache(timing)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache
