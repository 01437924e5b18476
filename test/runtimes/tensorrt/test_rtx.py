# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every stage of every shipped model, really parsed and built by TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from vss_ros.assemble import load_card, load_settings, model_folders, plan_for, quantized_stages
from vss_ros.core.errors import BackendError
from vss_ros.runtimes.tensorrt.build import BuildOptions, build_plan


def bindings() -> Any:
    for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        try:
            return __import__(name)
        except ImportError:
            continue
    return pytest.skip("TensorRT-RTX is not installed; pip install --no-deps -r requirements-tensorrt-rtx.txt")


def stages() -> list[Any]:
    found = []
    for folder in model_folders():
        card = load_card(folder)
        for spec in plan_for(card.method, card.options).stages(card.host):
            found.append(pytest.param(card, spec, id=f"{card.name}-{spec.name}"))
    return found


@pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning")
@pytest.mark.parametrize("capability", ["8.0", "12.0"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("card", "spec"), stages())
def test_builds(card: Any, spec: Any, precision: str, capability: str) -> None:
    trt = bindings()
    shapes = {t.name: t.at(*card.input_size) for t in spec.inputs}
    built = build_plan(trt, card.stage_path(spec.name), shapes, BuildOptions(precision), capability=capability)
    assert len(built.plan) > 100_000


@pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning")
def test_builds_the_quantized_stages() -> None:
    trt, card = bindings(), load_card("lmanet_erfnet_camvid")
    plan = plan_for(card.method, card.options)
    card = replace(card, input_size=(64, 96))
    quantized = quantized_stages(card, plan, load_settings())
    for spec in plan.stages(card.host):
        shapes, content = {t.name: t.at(*card.input_size) for t in spec.inputs}, quantized.content(spec.name)
        path, options = card.stage_path(spec.name), BuildOptions("int8")
        for capability in ("8.0", "12.0"):
            assert len(build_plan(trt, path, shapes, options, content=content, capability=capability).plan) > 100_000


def test_says_what_tensorrt_says(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    trt = bindings()
    put, out = (helper.make_tensor_value_info(name, TensorProto.UINT8, (3, 3)) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"])], "small", [put], [out])
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(
        BackendError, match=r"^tensorrt_rtx.* (does not take|built no engine) .*small\.onnx: .*U(INT|Int)8"
    ):
        build_plan(trt, path, {"x": (3, 3)}, BuildOptions())
