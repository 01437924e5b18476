# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node that builds its engines and ends: for which picture, and what its exit code says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from vss_ros.assemble import load_settings
from vss_ros.core.errors import BackendError
from vss_ros.ros import build_only as module
from vss_ros.ros.build_only import build_only
from vss_ros.runtimes.preparing import Prepared, Step

MODEL = "single_erfnet_camvid"


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the module logs; caplog misses it where pytest's ROS plugins have cut loggers off the root."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger, level = logging.getLogger("vss_ros.ros.build_only"), logging.getLogger("vss_ros.ros.build_only").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


class Builder:
    """In the place of `engine_preparation`; notes what is asked, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.asked: list[Any] = []
        self.fails = fails

    def __call__(self, card: Any, plan: Any, settings: Any) -> Any:
        def prepare(size: Any, observe: Any) -> Prepared:
            self.asked.append((card.name, plan.name, settings.runtime.precision, size))
            self.plan = plan
            observe(Step("fp16 engine of encode", 1, 2))
            if self.fails:
                raise BackendError(self.fails)
            return Prepared(None, "fp16, 0.02% of the labels differ")  # type: ignore[arg-type]

        return prepare


def settings_of(**values: Any) -> Any:
    return load_settings(values={"model.name": MODEL, "node.build_only": True, **values})


@pytest.mark.parametrize(("given", "size"), [("model", (360, 480)), ("320x240", (240, 320))])
@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_builds_for_the_configured_size(
    given: str, size: tuple[int, int], backend: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder()
    monkeypatch.setattr(module, "engine_preparation", builder)
    assert build_only(settings_of(**{"model.input_size": given, "runtime.backend": backend})) == 0
    assert builder.asked == [(MODEL, "single", "fp16", size)]
    assert said[0] == "fp16 engine of encode (1 of 2)"
    assert said[1].startswith(f"engines of {MODEL} for {size[1]}x{size[0]} px are ready after")
    assert said[1].endswith("s: fp16, 0.02% of the labels differ")


def test_the_nodes_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Int8 is calibrated with it: with another one the node would build its engines again."""
    builder = Builder()
    monkeypatch.setattr(module, "engine_preparation", builder)
    more = {"model.name": "lmanet_erfnet_camvid", "model.input_size": "model", "memory.slots": 2}
    assert build_only(settings_of(**more)) == 0
    assert builder.plan.slots == 2


def test_the_exit_code_says_that_it_failed(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "engine_preparation", Builder("TensorRT built no engine"))
    assert build_only(settings_of(**{"model.input_size": "model"})) == 1
    assert said[-1] == "TensorRT built no engine"


def test_the_size_must_be_known(said: list[str]) -> None:
    assert build_only(settings_of()) == 1
    assert said[-1].startswith("node.build_only wants model.input_size model or WIDTHxHEIGHT, got auto")


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_backend_without_engines_is_refused(backend: str, said: list[str]) -> None:
    assert build_only(settings_of(**{"runtime.backend": backend, "model.input_size": "model"})) == 1
    assert said[-1] == f"node.build_only wants runtime.backend tensorrt, got {backend}, which has no engines"


def test_the_node_over_dds_builds_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cyclonedds", reason="the wheel cyclonedds is not installed")
    from vss_ros.ros import dds_face

    monkeypatch.setattr(dds_face, "build_only", lambda settings: 7 if settings.node.build_only else 0)
    monkeypatch.setattr(dds_face, "DdsSegmenter", None)  # is never made
    assert dds_face.run(settings_of(), remapped={}) == 7
