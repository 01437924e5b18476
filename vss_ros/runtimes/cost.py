# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a method costs on paper: parameters and multiply-adds of its exported stages and of its look into the memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from vss_ros.core.card import ModelCard
from vss_ros.core.method import TemporalMethod
from vss_ros.core.prepare import Size

_RUNNING = {"BatchNormalization": (3, 4)}  # inputs that are statistics, not parameters
_LEARNING = ("Concat", "PRelu", *_RUNNING)  # beside convolutions: operators whose weights are parameters


@dataclass(frozen=True)
class Cost:
    """`parameters` learned, `macs` multiply-adds of convolutions and products for one frame."""

    parameters: int
    macs: int


def method_cost(card: ModelCard, plan: TemporalMethod, size: Size) -> dict[str, Cost]:
    """Cost of each stage, and of `attend` with a full memory where the method has a look of its own.

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
    look, banks = getattr(plan, "look", None), plan.banks(card.host)
    if look is not None and banks:
        sizes = [tensor.at(height, width) for tensor in banks[0].tensors]
        cells, channels = prod(sizes[0][:2]), sum(prod(shape[2:]) for shape in sizes)
        costs["attend"] = Cost(0, banks[0].slots * look.windows[0] ** 2 * cells * channels)
    return costs


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
