# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stand-in for TensorRT's Python bindings, to run everything around them without TensorRT and without a GPU.

It has exactly the attributes that `tensorrt_api.json` lists for a version, so that touching one that this
version lacks fails as it would there. Engines are run by ONNX Runtime, on addresses of the host's memory.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from test.runtimes.tensorrt.host_gpu import STREAM, HostDevice, at

API: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text(encoding="utf-8"))
VERSIONS = tuple(API)

_ENUMS = {"name", "value"}
_ONNX_TYPES = {1: "FLOAT", 2: "UINT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}
_NUMPY_TYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT32": "int32", "INT64": "int64"}


class Thing:
    """An object of one of TensorRT's classes; `does` says how those of its attributes behave that the code may use."""

    def __init__(self, kind: str, attributes: list[str], **does: Any) -> None:
        self.__dict__.update(_kind=kind, _attributes=frozenset(attributes), _does=does)

    def __getattr__(self, name: str) -> Any:
        if name not in self._attributes:
            raise AttributeError(f"{self._kind} of this version has no {name}")
        assert name in self._does, f"the stand-in does not know what {self._kind}.{name} does"
        return self._does[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._attributes:
            raise AttributeError(f"{self._kind} of this version has no {name}")
        self._does[name] = value


class Bindings:
    """The module `tensorrt` of one version.

    Args:
        version: a key of `tensorrt_api.json`.
        fails: names of calls that refuse, each with a line in the log.
    """

    def __init__(self, version: str, *fails: str) -> None:
        self.table, self.fails = API[version], set(fails)
        self.__name__ = "tensorrt_rtx" if version.startswith("rtx") else "tensorrt"
        self.__version__ = self.table["version"]
        self.flags: set[str] = set()  # of the last build
        self.config: Any = None
        self.builds = 0

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__.get("table", {}):
            raise AttributeError(f"this TensorRT has no {name}")
        attributes = self.table[name]
        if name == "ILogger":
            severities = {level: number for number, level in enumerate(("INTERNAL_ERROR", "ERROR", "WARNING", "INFO"))}
            made: Any = type("ILogger", (), {level: severities[level] for level in attributes if level in severities})
        elif set(attributes) >= _ENUMS:
            made = enum.IntEnum(name, [x for x in attributes if x not in _ENUMS], start=0)  # type: ignore[misc]
        else:
            made = getattr(self, f"_{name}")
        self.__dict__[name] = made
        return made

    def thing(self, kind: str, **does: Any) -> Thing:
        return Thing(kind, self.table[kind], **does)

    def answer(self, call: str, good: Any, bad: Any) -> Any:
        """What a call gives, and a line in the log where it refuses."""
        if call not in self.fails:
            return good
        self.logger.log(self.ILogger.WARNING, "a mere warning")
        self.logger.log(self.ILogger.ERROR, f"because {call} was\n told to")
        return bad

    def may_be_null(self, name: str) -> None:
        """What pybind11 does where a class gives no object."""
        if not self.answer(name, True, False):
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def _Builder(self, logger: Any) -> Thing:  # noqa: N802  TensorRT's names
        self.logger, self.flags = logger, set()
        self.may_be_null("Builder")

        def create_network(flags: int) -> Any:
            typed = getattr(self.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
            batch = getattr(self.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
            assert flags == 1 << (batch if typed is None else typed)
            return self.answer("create_network", Network(self, typed is not None).thing, None)

        def build(network: Thing, config: Any) -> Any:
            self.builds += 1
            return self.answer("build_serialized_network", network._network.plan(config), None)

        return self.thing(
            "Builder",
            create_network=create_network,
            create_builder_config=lambda: self.answer("create_builder_config", self._config(), None),
            create_optimization_profile=lambda: self.answer("create_optimization_profile", self._profile(), None),
            build_serialized_network=build,
        )

    def _config(self) -> Thing:
        timing = {"taken": True}

        def set_timing_cache(cache: Any, ignore_mismatch: bool) -> bool:
            return timing["taken"] and not ignore_mismatch

        def create_timing_cache(content: bytes) -> Any:
            known = content in (b"", b"measured")
            cache = self.thing("ITimingCache", serialize=lambda: b"measured")
            return self.answer("create_timing_cache", cache if known else None, None)

        def set_memory_pool_limit(pool: Any, size: int) -> None:
            assert pool == self.MemoryPoolType.WORKSPACE and size % (1 << 20) == 0

        self.flags.add("TF32")
        self.config = self.thing(
            "IBuilderConfig",
            add_optimization_profile=lambda profile: self.answer("add_optimization_profile", 0, -1),
            builder_optimization_level=3,
            clear_flag=lambda flag: self.flags.discard(flag.name),
            create_timing_cache=create_timing_cache,
            num_compute_capabilities=0,
            set_compute_capability=lambda capability, at: self.flags.add(capability.name),
            set_flag=lambda flag: self.flags.add(flag.name),
            set_memory_pool_limit=set_memory_pool_limit,
            set_timing_cache=set_timing_cache,
        )
        return self.config

    def _profile(self) -> Thing:
        shapes: dict[str, tuple[int, ...]] = {}

        def set_shape(name: str, least: Any, best: Any, most: Any) -> None:
            assert least == best == most
            shapes[name] = best

        return self.thing("IOptimizationProfile", set_shape=set_shape)

    def _OnnxParser(self, network: Thing, logger: Any) -> Thing:  # noqa: N802
        assert logger is self.logger, "TensorRT 8 takes one logger"
        self.may_be_null("OnnxParser")

        def parse(content: bytes) -> bool:
            network._network.load(content)
            return bool(self.answer("parse", network._network.takes_uint8(), False))

        error = self.thing("ParserError", desc=lambda: "node 3 is\nnot to its taste")
        return self.thing("OnnxParser", parse=parse, num_errors=1, get_error=lambda number: error)

    def _Runtime(self, logger: Any) -> Thing:  # noqa: N802
        self.logger = logger
        self.may_be_null("Runtime")

        def deserialize(plan: bytes) -> Any:
            good = plan.startswith(b"PLAN") and self.loads(head_of(plan), runtime)
            return self.answer("deserialize_cuda_engine", Engine(self, plan).thing if good else None, None)

        runtime = self.thing("Runtime", deserialize_cuda_engine=deserialize, engine_host_code_allowed=False)
        return runtime

    def loads(self, head: Mapping[str, Any], runtime: Thing) -> bool:
        """A plan is for the version that built it, or, where it brings its own code, for that one and later ones."""
        if not head["compatible"]:
            return bool(head["version"] == self.__version__)
        numbers, own = ([int(n) for n in v.split(".")[:3]] for v in (head["version"], self.__version__))
        return bool(numbers[0] == own[0] and numbers <= own and runtime.engine_host_code_allowed)


class Network:
    """A network definition: the ONNX file that was parsed, and what its inputs and outputs are to be."""

    def __init__(self, trt: Bindings, typed: bool) -> None:
        self.trt, self.typed, self.puts = trt, typed, {}  # type: ignore[var-annotated]
        self.thing = trt.thing("INetworkDefinition")
        self.thing.__dict__["_network"] = self

    def load(self, content: bytes) -> None:
        import onnx

        self.model = onnx.load_from_string(content)
        self.content, graph = content, self.model.graph
        sides = {"input": list(graph.input), "output": list(graph.output)}
        for side, puts in sides.items():
            self.puts[side] = [self._tensor(put) for put in puts]
            self.thing._does[f"num_{side}s"] = len(puts)
            self.thing._does[f"get_{side}"] = self.puts[side].__getitem__

    def _tensor(self, put: Any) -> Thing:
        dtype = self.trt.DataType[_ONNX_TYPES[put.type.tensor_type.elem_type]]
        return self.trt.thing("ITensor", name=put.name, dtype=dtype)

    def takes_uint8(self) -> bool:
        """As TensorRT: only casts may touch uint8, and only between the network's ends and floats."""
        graph = self.model.graph
        pixels = {put.name for put in (*graph.input, *graph.output) if put.type.tensor_type.elem_type == 2}
        readers = {node.op_type for node in graph.node if pixels & {*node.input, *node.output}}
        casts = sum(a.i == 2 for node in graph.node if node.op_type == "Cast" for a in node.attribute)
        return readers <= {"Cast"} and casts == sum(put.name in pixels for put in graph.output)

    def plan(self, config: Any) -> bytes:
        typed_half = any(initializer.data_type == 10 for initializer in self.model.graph.initializer)
        assert not (self.typed and "FP16" in self.trt.flags), "flags of precision are not for typed networks"
        assert self.typed or not typed_half, "before 10 the file is float32"
        assert "TF32" not in self.trt.flags
        dtypes = {put.name: put.dtype.name for side in self.puts.values() for put in side}
        about = {"version": self.trt.__version__, "compatible": "VERSION_COMPATIBLE" in self.trt.flags}
        return b"PLAN" + json.dumps({"dtypes": dtypes, **about}).encode() + b"\0" + self.content


def head_of(plan: bytes) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(plan.removeprefix(b"PLAN").partition(b"\0")[0])
    return head


class Engine:
    """An engine and its one context."""

    def __init__(self, trt: Bindings, plan: bytes) -> None:
        import onnxruntime

        self.trt, self.dtypes, content = trt, head_of(plan)["dtypes"], plan.partition(b"\0")[2]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(content, options)
        self.inputs = [x.name for x in self.session.get_inputs()]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.names = list(self.dtypes)
        modes = trt.TensorIOMode
        self.thing = trt.thing(
            "ICudaEngine",
            num_io_tensors=len(self.names),
            get_tensor_name=self.names.__getitem__,
            get_tensor_mode=lambda name: modes.INPUT if name in self.inputs else modes.OUTPUT,
            get_tensor_dtype=lambda name: trt.DataType[self.dtypes[name]],
            create_execution_context=lambda: trt.answer("create_execution_context", self.context(), None),
        )

    def context(self) -> Thing:
        def set_input_shape(name: str, shape: tuple[int, ...]) -> bool:
            self.shapes[name] = tuple(shape)
            return bool(self.trt.answer("set_input_shape", True, False))

        def set_tensor_address(name: str, address: int) -> bool:
            assert address % 256 == 0, f"TensorRT may refuse {name} at {address}"
            self.addresses[name] = address
            return bool(self.trt.answer("set_tensor_address", True, False))

        def execute(stream: int) -> bool:
            assert stream == HostDevice.STREAM
            views = {name: self.view(name) for name in self.names}  # of now, which a graph keeps
            STREAM.queue(lambda: self.do(views))
            return bool(self.trt.answer("execute_async_v3", True, False))

        return self.trt.thing(
            "IExecutionContext",
            set_input_shape=set_input_shape,
            get_tensor_shape=self.shape,
            set_tensor_address=set_tensor_address,
            execute_async_v3=execute,
        )

    def do(self, views: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, result in self.run({name: views[name] for name in self.inputs}).items():
            views[name][...] = result

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        types = {x.name: "float16" if "float16" in x.type else "float32" for x in self.session.get_inputs()}
        fed = {name: x.astype(types[name]) if x.dtype.kind == "f" else x for name, x in inputs.items()}
        outputs = [x.name for x in self.session.get_outputs()]
        return dict(zip(outputs, self.session.run(outputs, fed), strict=True))

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            zeros = {x: np.zeros(self.shapes[x], _NUMPY_TYPES[self.dtypes[x]]) for x in self.inputs}
            self.shapes |= {output: x.shape for output, x in self.run(zeros).items()}
        return self.shapes[name]

    def view(self, name: str) -> npt.NDArray[Any]:
        return at(self.addresses[name], self.shape(name), _NUMPY_TYPES[self.dtypes[name]])
