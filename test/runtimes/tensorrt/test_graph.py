# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files as TensorRT takes them: uint8 at the ends alone, the same numbers, or the same in half precision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from vss_ros.core.errors import BackendError  # noqa: E402
from vss_ros.runtimes.tensorrt.graph import fit_for_tensorrt  # noqa: E402

ROOT = Path(__file__).parents[3]
STAGES = sorted((ROOT / "models").glob("*/*.onnx"))
SIZES = {"H": 64, "W": 96, "H_over_2": 32, "W_over_2": 48, "H_over_8": 8, "W_over_8": 12}
SIZES["50_percent_of_H_over_8_times_W_over_8"] = LISTED = 8 * 12 // 2


def run(content: bytes, *, half: bool = False, rounded: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """A file's outputs on the same random inputs each time, in half precision or rounded to it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session, rng = onnxruntime.InferenceSession(content, options), np.random.default_rng(0)
    inputs = {}
    for put in session.get_inputs():
        shape = [SIZES.get(dim, dim) for dim in put.shape]
        if put.name == "positions":
            cells = np.sort(rng.choice(SIZES["H_over_8"] * SIZES["W_over_8"], LISTED, replace=False))
            inputs[put.name] = np.stack(np.divmod(cells, SIZES["W_over_8"]), axis=1).astype(np.int32)
            continue
        floats = rng.standard_normal(shape).astype(np.float16 if half or rounded else np.float32)
        floats = floats.astype(np.float32) if rounded else floats
        inputs[put.name] = rng.integers(0, 256, shape, np.uint8) if "uint8" in put.type else floats
    return dict(zip([x.name for x in session.get_outputs()], session.run(None, inputs), strict=True))


def without_strangers(some: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Lists cut to the cells that both chose: rounding may choose another one where two are nearly as complex."""
    if "positions" not in some:
        return some
    common = {*map(tuple, some["positions"])} & {*map(tuple, others["positions"])}
    assert len(common) >= 0.97 * LISTED
    rows = [tuple(cell) in common for cell in some["positions"]]
    return {name: x[rows] if len(x) == LISTED else x for name, x in some.items()}


def touching_uint8(content: bytes) -> list[str]:
    """Operators that read or write a uint8 tensor."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True).graph
    known = (*graph.input, *graph.output, *graph.value_info)
    pixels = {x.name for x in known if x.type.tensor_type.elem_type == TensorProto.UINT8}
    return [node.op_type for node in graph.node if pixels & {*node.input, *node.output}]


each_stage = pytest.mark.parametrize("path", STAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")


@each_stage
@pytest.mark.parametrize("half", [False, True])
def test_only_casts_touch_uint8(path: Path, half: bool) -> None:
    before, after = touching_uint8(path.read_bytes()), touching_uint8(fit_for_tensorrt(path.read_bytes(), half=half))
    graph = onnx.load(path).graph
    ends = sum(x.type.tensor_type.elem_type == TensorProto.UINT8 for x in (*graph.input, *graph.output))
    assert after == ["Cast"] * ends
    assert not ends or set(before) - {"Cast"}, "the files as they are would be refused"


@each_stage
def test_the_numbers_stay_the_same_bits(path: Path) -> None:
    before, after = run(path.read_bytes()), run(fit_for_tensorrt(path.read_bytes(), half=False))
    assert before.keys() == after.keys()
    for name, wanted in before.items():
        np.testing.assert_array_equal(after[name], wanted)


@each_stage
def test_half_precision_is_half_and_close(path: Path) -> None:
    fitted = fit_for_tensorrt(path.read_bytes(), half=True)
    graph = onnx.load_from_string(fitted).graph
    types = {x.name: x.type.tensor_type.elem_type for x in (*graph.input, *graph.output)}
    assert set(types.values()) <= {TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT32}
    assert all(type == TensorProto.INT32 for name, type in types.items() if name == "positions")
    assert not any(weights.data_type == TensorProto.FLOAT for weights in graph.initializer)
    exact, rounded = run(path.read_bytes()), run(fitted, half=True)
    before, after = without_strangers(exact, rounded), without_strangers(rounded, exact)
    for name, wanted in before.items():
        got = after[name].astype(np.float32)
        if name == "labels":
            assert np.mean(got != wanted) < 0.01
        elif name == "confidence":
            assert np.abs(got - wanted).max() <= 4
        else:
            assert np.abs(got - wanted).max() <= 4e-3 * np.abs(wanted).max()  # one output is 0 everywhere


def small(*nodes: Any) -> bytes:
    """A file from `image` (2, 3) uint8 to `labels` (3, 2) uint8."""
    puts = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in (("image", (2, 3)),)]
    outs = [helper.make_tensor_value_info("labels", TensorProto.UINT8, (3, 2))]
    graph = helper.make_graph(list(nodes), "small", puts, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def test_what_cannot_change_places_stays() -> None:
    twice = small(
        helper.make_node("Transpose", ["image"], ["turned"]),
        helper.make_node("Cast", ["turned"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["turned"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "y"], ["z"]),
        helper.make_node("Cast", ["z"], ["labels"], to=TensorProto.UINT8),
    )
    assert touching_uint8(fit_for_tensorrt(twice, half=False)) == touching_uint8(twice)
    never = small(helper.make_node("Transpose", ["image"], ["labels"]))
    assert touching_uint8(fit_for_tensorrt(never, half=False)) == ["Transpose"], "TensorRT then says why it refuses"


def test_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    content = STAGES[0].read_bytes()
    monkeypatch.setitem(sys.modules, "onnxruntime.transformers.float16", None)
    with pytest.raises(BackendError, match=r"precision fp16 wants the converter of onnxruntime.*or use fp32"):
        fit_for_tensorrt(content, half=True)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"building engines wants the package onnx.*pip install onnx"):
        fit_for_tensorrt(content, half=False)


@each_stage
def test_half_ends_leave_the_inside_as_it_was(path: Path) -> None:
    """Only rounding at the ends: the same as float32 on the rounded inputs, rounded."""
    content = path.read_bytes()
    ends = onnx.load_from_string(fit_for_tensorrt(content, half=False, half_ends=True)).graph
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    assert {x.type.tensor_type.elem_type for x in (*ends.input, *ends.output)} & floats == {TensorProto.FLOAT16}
    assert all(x.data_type != TensorProto.FLOAT16 for x in ends.initializer)
    got = run(fit_for_tensorrt(content, half=False, half_ends=True), half=True)
    wanted = run(content, rounded=True)
    assert got.keys() == wanted.keys()
    for name, array in got.items():
        np.testing.assert_array_equal(array, wanted[name].astype(array.dtype))
