# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What TensorRT-RTX makes of a model on this machine: it builds without a GPU, and says before loading if it would."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from vss_ros.core.card import ModelCard
from vss_ros.core.method import TemporalMethod
from vss_ros.runtimes.tensorrt import api
from vss_ros.runtimes.tensorrt.build import BuildOptions, build_plan


def validity(card: ModelCard, plan: TemporalMethod, size: tuple[int, int]) -> dict[str, Any]:
    """Of each stage in half precision: bytes of the engine, what `get_engine_validity` says, and whether it loads.

    Raises:
        ImportError: TensorRT-RTX is not installed.
    """
    trt = bindings()
    found: dict[str, Any] = {"version": trt.__version__}
    for spec in plan.stages(card.host):
        shapes = {t.name: t.at(*size) for t in spec.inputs}
        found[spec.name] = of_stage(trt, card.stage_path(spec.name), shapes)
    return found


def bindings() -> Any:
    """TensorRT-RTX's module, which has two names."""
    try:
        return importlib.import_module("tensorrt_rtx")
    except ImportError:
        return importlib.import_module("tensorrt_rtx_bindings")


def of_stage(trt: Any, path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Of one stage; what fails says why."""
    found: dict[str, Any] = {}
    try:
        plan = build_plan(trt, path, shapes, BuildOptions("fp16")).plan
        found["bytes"] = len(plan)
        runtime = trt.Runtime(api.logger(trt))
        found["validity"] = str(runtime.get_engine_validity(plan))
        found["loads"] = runtime.deserialize_cuda_engine(plan) is not None
    except Exception as error:  # its own classes, or the bindings' TypeError
        found["error"] = f"{type(error).__name__}: {error}"
    found["said"] = api.logger(trt).drain()
    return found
