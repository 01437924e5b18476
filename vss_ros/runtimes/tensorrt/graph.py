# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stage's ONNX file as TensorRT takes it: pixels become floats at once, and the numbers are those of a precision.

TensorRT knows uint8 for inputs and outputs alone: nothing but a cast from or to a float may touch them. Exported stages
add and take off the batch axis there; the casts change places with that, which changes no number.
"""

from __future__ import annotations

from typing import Any

from vss_ros.core.errors import BackendError

_ONLY_SHAPES = {"Unsqueeze", "Squeeze", "Transpose", "Reshape"}  # they move numbers and never look at them


def fit_for_tensorrt(content: bytes, *, half: bool, half_ends: bool = False) -> bytes:
    """An ONNX file with uint8 only at its ends.

    Args:
        content: of the exported file.
        half: also make every float of the graph float16, inputs and outputs too, but for where a warp computes places;
            uint8 ones stay.
        half_ends: make float16 of its float inputs and outputs alone, for a graph that quantizes float32.

    Raises:
        BackendError: the packages that read and convert the file are missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendError(f"building engines wants the package onnx: {error}; pip install onnx") from error
    model = onnx.load_from_string(content)
    pixels = onnx.TensorProto.UINT8
    for put in model.graph.input:
        if put.type.tensor_type.elem_type == pixels:
            _cast_first(model.graph, put.name)
    for put in model.graph.output:
        if put.type.tensor_type.elem_type == pixels:
            _cast_last(model.graph, put.name)
    del model.graph.value_info[:]  # names have changed their places
    if half:
        model = _halved(model)
    elif half_ends:
        _halve_ends(model.graph)
    onnx.checker.check_model(model)
    fitted: bytes = model.SerializeToString()
    return fitted


def _cast_first(graph: Any, image: str) -> None:
    """`image -> shapes -> Cast -> x` becomes `image -> Cast -> shapes -> x`; anything else stays as it is."""
    chain, value = [], image
    while True:
        readers = [node for node in graph.node if value in node.input]
        if len(readers) != 1:
            return
        if readers[0].op_type not in _ONLY_SHAPES:
            break
        chain.append(readers[0])
        value = readers[0].output[0]
    cast = readers[0]
    if cast.op_type != "Cast" or not chain:
        return
    chain[-1].output[0], cast.output[0] = cast.output[0], f"{image}_as_float"
    cast.input[0], chain[0].input[0] = image, cast.output[0]
    _move(graph, cast, before=chain[0])


def _cast_last(graph: Any, output: str) -> None:
    """`x -> Cast -> shapes -> output` becomes `x -> shapes -> Cast -> output`, the cast being from float32."""
    from onnx import TensorProto, helper

    chain: list[Any] = []
    writer = _writer(graph, output)
    while writer is not None and writer.op_type in _ONLY_SHAPES:
        chain.insert(0, writer)
        writer = _writer(graph, writer.input[0])
    if writer is None or writer.op_type != "Cast" or sum(writer.output[0] in node.input for node in graph.node) > 1:
        return
    cast, value = writer, writer.input[0]
    if chain:
        chain[0].input[0], chain[-1].output[0] = value, f"{output}_as_number"
        value = chain[-1].output[0]
    # labels are int64 there, which TensorRT 8 does not cast to uint8
    graph.node.append(helper.make_node("Cast", [value], [f"{output}_as_float"], to=TensorProto.FLOAT))
    cast.input[0], cast.output[0] = f"{output}_as_float", output
    _move(graph, cast)


def _writer(graph: Any, value: str) -> Any:
    return next((node for node in graph.node if value in node.output), None)


def _move(graph: Any, node: Any, before: Any = None) -> None:
    """Put a node before another one, or behind all of them."""
    nodes = [other for other in graph.node if other is not node]
    at = len(nodes) if before is None else nodes.index(before)
    nodes.insert(at, node)
    del graph.node[:]
    graph.node.extend(nodes)


def _halve_ends(graph: Any) -> None:
    from onnx import TensorProto, helper

    for put in (*graph.input, *graph.output):
        if put.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        name, inner, is_input = put.name, f"{put.name}_in_float32", any(put is other for other in graph.input)
        put.type.tensor_type.elem_type = TensorProto.FLOAT16
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if other == name else other for other in names]
        if is_input:
            graph.node.insert(0, helper.make_node("Cast", [name], [inner], to=TensorProto.FLOAT))
        else:
            graph.node.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT16))


def _halved(model: Any) -> Any:
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise BackendError(
            f"precision fp16 wants the converter of onnxruntime: {error}; pip install onnxruntime, or use fp32"
        ) from error
    exact = _warps(model.graph)
    half = convert_float_to_float16(model, node_block_list=exact)
    if exact:
        _join_exact(half.graph)
    OnnxModel.graph_topological_sort(half.graph)  # the converter puts its casts behind everything
    return half


def _warps(graph: Any) -> list[str]:
    """Names of the warps, and of all that computes where they look.

    A place is a number from -1 to 1 there: in float16 it is off by some hundredths of a cell.
    """
    warps = [node for node in graph.node if node.op_type == "GridSample"]
    found, values = {node.name for node in warps}, [node.input[1] for node in warps]
    while values:
        writer = _writer(graph, values.pop())
        if writer is not None and writer.name not in found and writer.op_type != "Shape":
            found.add(writer.name)
            values.extend(writer.input)
    return sorted(found)


def _join_exact(graph: Any) -> None:
    """Hand float32 on between the nodes that stay in it: the converter rounds it there, and casts it once a reader."""
    from onnx import TensorProto

    casts: dict[int, dict[str, str]] = {TensorProto.FLOAT16: {}, TensorProto.FLOAT: {}}  # inputs by output
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i in casts:
            casts[node.attribute[0].i][node.output[0]] = node.input[0]
    rounded, back = casts[TensorProto.FLOAT16], casts[TensorProto.FLOAT]
    first: dict[str, Any] = {node.output[0]: node for node in reversed(graph.node) if node.output[0] in back}
    kept = [node for node in graph.node if first.get(node.output[0], node) is node]
    for node in kept:
        node.input[:] = [rounded.get(back[name], name) if name in back else name for name in node.input]
    read = {name for node in kept for name in node.input} | {put.name for put in graph.output}
    del graph.node[:]
    graph.node.extend(node for node in kept if node.op_type != "Cast" or node.output[0] in read)
