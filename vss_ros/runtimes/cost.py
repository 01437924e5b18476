# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a method costs on paper: parameters and multiply-adds of its exported stages and of its look into the memory."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from vss_ros.core.card import ModelCard
from vss_ros.core.look import Look
from vss_ros.core.memory import Bank, BankSpec, MemoryView
from vss_ros.core.method import Host, KeyframeMethod, StepInput, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.stage import TensorSpec

_RUNNING = {"BatchNormalization": (3, 4)}  # inputs that are statistics, not parameters
# beside convolutions: operators whose weights are parameters
_LEARNING = ("Add", "Concat", "Gather", "Gemm", "LayerNormalization", "MatMul", "PRelu", "Transpose", *_RUNNING)


@dataclass(frozen=True)
class Cost:
    """`parameters` learned, `macs` multiply-adds of convolutions and products for one frame."""

    parameters: int
    macs: int


def method_cost(card: ModelCard, plan: TemporalMethod, size: Size) -> dict[str, Cost]:
    """Cost of each stage, and of `attend` with a full memory where the method reads one.

    Args:
        card: of the model.
        plan: with the slots and window that it runs with.
        size: `(height, width)` px of the network's input.

    Raises:
        ImportError: onnx is not installed; it is not needed for anything else on a robot.
    """
    height, width = size
    costs = {}
    for spec in plan.stages(card.host):
        shapes = {tensor.name: (1, *tensor.at(height, width)) for tensor in spec.inputs}
        costs[spec.name] = stage_cost(card.stage_path(spec.name), shapes)
    macs = _read_macs(plan, card.host, size)
    if macs:
        costs["attend"] = Cost(0, macs)
    return costs


def macs_per_frame(costs: Mapping[str, Cost], plan: TemporalMethod, host: Host) -> float:
    """Multiply-adds of a frame whose memory is full, averaged from one keyframe to the next where there are some."""
    period = plan.period if isinstance(plan, KeyframeMethod) else 1
    key = _ran(plan, host, StepInput(None, is_key=True))
    others = _ran(plan, host, StepInput(None, is_key=False))
    return sum(cost.macs * (key[name] + (period - 1) * others[name]) / period for name, cost in costs.items())


def _ran(plan: TemporalMethod, host: Host, x: StepInput) -> Counter[str]:
    """How often a step runs each stage, and reads."""
    made = {spec.name: {t.name: t for t in spec.outputs} for spec in plan.stages(host)}
    ran: Counter[str] = Counter()

    def run(stage: str, /, **inputs: Any) -> Mapping[str, TensorSpec]:
        ran[stage] += 1
        return made[stage]

    def attend(query: TensorSpec, *others: Any, **more: Any) -> TensorSpec:
        ran["attend"] = 1  # one cost stands for all reads
        return query

    plan.step(x, {bank.name: _FullBank(bank) for bank in plan.banks(host)}, run, attend)
    return ran


def _read_macs(plan: TemporalMethod, host: Host, size: Size) -> int:
    """Of the reads that the plan asks for when its memory is full; it is run on the specs of its tensors."""
    made = {spec.name: {t.name: t for t in spec.outputs} for spec in plan.stages(host)}
    banks: dict[str, Bank] = {bank.name: _FullBank(bank) for bank in plan.banks(host)}
    macs = 0

    def attend(query: TensorSpec, keys: TensorSpec, values: TensorSpec, look: Look, **more: Any) -> TensorSpec:
        nonlocal macs
        *cells, heads, dk = query.at(*size)
        valid = more.get("valid")
        slots = range(int(keys.shape[0])) if valid is None else np.flatnonzero(valid).tolist()
        positions = sum(look.window_of(slot) ** 2 for slot in slots)
        macs += prod(cells) * positions * heads * (dk + values.at(*size)[-1])
        return query

    plan.step(StepInput(None, is_key=False), banks, lambda stage, /, **inputs: made[stage], attend)
    return macs


class _FullView(MemoryView):
    def at(self, slot: int, name: str) -> TensorSpec:
        spec = self.tensors[name]
        return TensorSpec(spec.name, spec.dtype, spec.shape[1:])


class _FullBank:
    """A bank whose every slot has been written, with specs in place of tensors."""

    def __init__(self, spec: BankSpec) -> None:
        self._spec = spec

    def read(self) -> MemoryView:
        slots = self._spec.slots
        tensors = {t.name: TensorSpec(t.name, t.dtype, (slots, *t.shape)) for t in self._spec.tensors}
        return _FullView(tensors, np.ones(slots, np.bool_), 1 + self._spec.every * np.arange(slots))

    def push(self, **tensors: Any) -> None:
        pass

    def clear(self) -> None:
        pass


def stage_cost(path: Any, shapes: dict[str, tuple[int, ...]]) -> Cost:
    """Cost of an ONNX file for inputs of these shapes."""
    import onnx

    model = onnx.load(str(path))
    for given in model.graph.input:
        wanted = shapes[given.name]
        dimensions = given.type.tensor_type.shape.dim
        for dimension, length in zip(dimensions, wanted[-len(dimensions) :], strict=True):
            dimension.Clear()
            dimension.dim_value = length
    graph, sized = model.graph, _with_sizes(model).graph
    known = {value.name: _shape(value) for value in (*sized.input, *sized.value_info, *sized.output)}
    known |= {weight.name: tuple(weight.dims) for weight in sized.initializer}
    statistics = {node.input[at] for node in graph.node for at in _RUNNING.get(node.op_type, ())}
    floats = [w for w in graph.initializer if w.data_type == onnx.TensorProto.FLOAT and w.name not in statistics]
    used = {name for node in graph.node if "Conv" in node.op_type or node.op_type in _LEARNING for name in node.input}
    return Cost(
        parameters=sum(prod(weight.dims) for weight in floats if weight.name in used),
        macs=sum(_macs(node, known) for node in sized.node),
    )


def _with_sizes(model: Any) -> Any:
    """The model with the shapes of all its tensors: ONNX Runtime computes what depends on the inputs' sizes alone.

    Shape inference by itself gives up at arithmetic on sizes, such as rounding them up to whole blocks.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as scratch:
        options.optimized_model_filepath = str(Path(scratch) / "sized.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.shape_inference.infer_shapes(onnx.load(options.optimized_model_filepath), data_prop=True)


def _macs(node: Any, known: dict[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        return prod(known[node.output[0]]) * prod(known[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return prod(known[node.input[0]]) * prod(known[node.input[1]][1:])
    if node.op_type in ("MatMul", "Gemm"):
        return prod(known[node.output[0]]) * known[node.input[0]][-1]
    return 0


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
