# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a method costs on paper: parameters and multiply-adds of its exported stages and of its look into the memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from vss_ros.core.card import ModelCard
from vss_ros.core.look import Look
from vss_ros.core.memory import Bank, BankSpec, MemoryView
from vss_ros.core.method import Host, StepInput, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.stage import TensorSpec

_RUNNING = {"BatchNormalization": (3, 4)}  # inputs that are statistics, not parameters
# beside convolutions: operators whose weights are parameters
_LEARNING = ("Concat", "Gemm", "LayerNormalization", "PRelu", *_RUNNING)


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

    plan.step(StepInput(None), banks, lambda stage, /, **inputs: made[stage], attend)
    return macs


class _FullBank:
    """A bank whose every slot has been written, with specs in place of tensors."""

    def __init__(self, spec: BankSpec) -> None:
        self._spec = spec

    def read(self) -> MemoryView:
        slots = self._spec.slots
        tensors = {t.name: TensorSpec(t.name, t.dtype, (slots, *t.shape)) for t in self._spec.tensors}
        return MemoryView(tensors, np.ones(slots, np.bool_), np.arange(1, slots + 1))

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
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    known |= {weight.name: tuple(weight.dims) for weight in graph.initializer}
    statistics = {node.input[at] for node in graph.node for at in _RUNNING.get(node.op_type, ())}
    floats = [w for w in graph.initializer if w.data_type == onnx.TensorProto.FLOAT and w.name not in statistics]
    used = {name for node in graph.node if "Conv" in node.op_type or node.op_type in _LEARNING for name in node.input}
    return Cost(
        parameters=sum(prod(weight.dims) for weight in floats if weight.name in used),
        macs=sum(_macs(node, known) for node in graph.node),
    )


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
