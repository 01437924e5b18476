# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One loaded engine: a stage at one size, run on addresses of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt import api

_DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}
_REMEDY = "run `vss engines clear` and start again"


@dataclass(frozen=True)
class Port:
    """A named input or output: numpy's name of its dtype, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class StageEngine:
    """A plan with one execution context; not for two threads at once.

    Args:
        trt: TensorRT's bindings.
        plan: what `build_plan` gave, on a GPU of the same kind.
        label: what it is, for messages.
        shapes: of the inputs.
        carries_code: the plan is version-compatible: it brings a runtime of the version that built it, which TensorRT
            runs in this process. Only for plans that this user built.

    Raises:
        BackendError: TensorRT refuses the plan or a shape; the message has its own lines.
    """

    def __init__(
        self, trt: Any, plan: bytes, label: str, shapes: Mapping[str, tuple[int, ...]], *, carries_code: bool = False
    ) -> None:
        self._trt, self._label = trt, label
        api.logger(trt).drain()
        self._runtime = api.made(trt, "Runtime", api.logger(trt))  # kept: the engine must not outlive it
        if carries_code:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise api.refusal(trt, f"does not load the engine of {label}", _REMEDY)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise api.refusal(
                trt, f"has no room to run the engine of {label}", "free memory of the GPU, or use a smaller picture"
            )
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        mode = {name: self._engine.get_tensor_mode(name) for name in names}
        inputs = [name for name in names if mode[name] == trt.TensorIOMode.INPUT]
        if sorted(inputs) != sorted(shapes):
            raise BackendError(f"the engine of {label} wants {sorted(inputs)}, got {sorted(shapes)}; {_REMEDY}")
        for name in inputs:
            if not self._context.set_input_shape(name, shapes[name]):
                raise api.refusal(trt, f"does not take {name} {shapes[name]} in the engine of {label}", _REMEDY)
        ports = {name: self._port(name) for name in names}
        self.inputs = {name: ports[name] for name in inputs}
        self.outputs = {name: port for name, port in ports.items() if name not in inputs}

    def _port(self, name: str) -> Port:
        dtype, shape = self._engine.get_tensor_dtype(name).name, tuple(self._context.get_tensor_shape(name))
        if dtype not in _DTYPES or min(shape, default=0) < 0:
            raise BackendError(
                f"the engine of {self._label} has {name} {shape} {dtype}, known shapes of {', '.join(_DTYPES)} were "
                "wanted; export the model again"
            )
        return Port(_DTYPES[dtype], shape)

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Queue one run.

        Args:
            addresses: of every input and output on the device.
            stream: handle of a CUDA stream.

        Raises:
            BackendError: TensorRT refuses.
        """
        for name in (*self.inputs, *self.outputs):
            if not self._context.set_tensor_address(name, addresses[name]):
                raise api.refusal(self._trt, f"does not take the address of {name} of {self._label}", _REMEDY)
        if not self._context.execute_async_v3(stream):
            raise api.refusal(self._trt, f"did not run {self._label}", "see the GPU's state with nvidia-smi")
