# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What every method must keep on every host: methods are found by listing the folder, and run on random weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.conftest import random_model
from vss_ros.assemble import Model, build_stages, load_model, load_settings, methods
from vss_ros.core.frame import Frame, Segmentation

pytest.importorskip("torch")

SIZE = (32, 48)
METHODS = sorted(methods())
NETS = ["erfnet", "pspnet18", "pspnet18_camvid", "bisenet18"]
DEEP_NETS = ["pspnet50", "pspnet101", "bisenet34"]  # of the same parts as the others, but of hundreds of megabytes
STT: dict[str, Any] = {"start": 1, "growth": 1, "end": 3, "heads": 4, "hidden": 64}
ARSEG: dict[str, Any] = {"period": 3, "window": 3}  # of clips of 4 and streams of 7 frames the last is a keyframe
# of streams of 7 frames and of clips of the last 4 the reference frame is the same
SSLTM = {"frames": 3, "block": 4, "width": 64, "hidden": 64, "distance": 3, "every": 3, "context_width": 32}
OPTIONS = {"lmanet": {"slots": 3, "window": 5}, "stt": {**STT, "width": 64}, "arseg": ARSEG, "ssltm": SSLTM}
PASSED_THROUGH = {**OPTIONS["lmanet"], "key_channels": 128, "value_channels": 512, "fusion": "bottleneck"}
CASES = [
    *((method, net, OPTIONS.get(method, {})) for net in NETS for method in METHODS),
    ("lmanet", "pspnet18", PASSED_THROUGH),
    ("stt", "bisenet18", {**STT, "width": 256, "unselected": "normalised"}),  # as wide as the host's features
    ("stt", "pspnet18", {**OPTIONS["stt"], "head": "slim"}),
]


def case_id(case: tuple[str, str, dict[str, Any]]) -> str:
    method, net, options = case
    return "-".join([method, net, *(options[name] for name in ("fusion", "unselected", "head") if name in options)])


@pytest.fixture(scope="module", params=CASES, ids=case_id)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    method, net, options = request.param
    return random_model(tmp_path_factory.mktemp(net) / method, method, net, input_size=SIZE, **options)


@lru_cache(maxsize=2)  # both backends of the folder under test; loading takes longer than running
def model(folder: Path, backend: str = "onnx") -> Model:
    values = {"model.name": str(folder), "runtime.backend": backend, "memory.scene_cut": 0.0, "motion.source": "zero"}
    return load_model(load_settings(values=values))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (SIZE[0], SIZE[1] + 40, 3), np.uint8)
    return [Frame(t * 100_000_000, np.ascontiguousarray(scene[:, 4 * t : 4 * t + SIZE[1]])) for t in range(8)]


@pytest.fixture(scope="module")
def streamed(folder: Path, frames: list[Frame]) -> list[Segmentation]:
    """Of 7 frames, which leave the ring at the same slot as 4 do, so that a read rounds its sums in the same order."""
    return run(folder, frames[:7])


def run(folder: Path, frames: list[Frame], backend: str = "onnx") -> list[Segmentation]:
    stream = model(folder, backend).stream()
    return [stream(frame) for frame in frames]


def same(a: Segmentation, b: Segmentation) -> bool:
    return np.array_equal(a.labels, b.labels) and np.array_equal(a.confidence, b.confidence)


def test_all_methods_are_found() -> None:
    assert {"single", "lmanet", "stt", "arseg", "ssltm"} <= set(METHODS)


def test_two_runs_are_bit_identical(folder: Path, frames: list[Frame], streamed: list[Segmentation]) -> None:
    assert all(same(a, b) for a, b in zip(streamed, run(folder, frames[:7]), strict=True))


def test_a_stream_equals_a_clip_that_is_as_long_as_the_memory(
    folder: Path, frames: list[Frame], streamed: list[Segmentation]
) -> None:
    assert same(streamed[6], run(folder, frames[3:7])[-1])


def test_output_does_not_depend_on_frames_beyond_the_horizon(
    folder: Path, frames: list[Frame], streamed: list[Segmentation]
) -> None:
    other = [Frame(frames[0].stamp_ns, 255 - frames[0].image), *frames[1:7]]
    assert same(streamed[6], run(folder, other)[-1])


def test_reset_forgets(folder: Path, frames: list[Frame]) -> None:
    stream = model(folder).stream()
    for frame in frames[:4]:
        stream(frame)
    stream.reset("test")
    again = stream(frames[4])
    assert same(again, run(folder, frames[4:5])[0]) and again.remembered == 0


def test_memory_is_used(folder: Path, frames: list[Frame], streamed: list[Segmentation]) -> None:
    alone = run(folder, frames[4:5])[0]
    assert same(alone, streamed[4]) == (folder.name == "single")


def test_torch_and_onnx_runtime_agree(folder: Path, frames: list[Frame], streamed: list[Segmentation]) -> None:
    for ours, reference in zip(streamed[:5], run(folder, frames[:5], "torch"), strict=True):
        assert np.mean(ours.labels != reference.labels) < 2e-3
        assert np.abs(ours.confidence.astype(int) - reference.confidence.astype(int)).mean() < 0.5


def test_labels_and_confidence_are_what_planners_read(folder: Path, frames: list[Frame]) -> None:
    result = run(folder, frames[:1])[0]
    assert result.labels.shape == result.confidence.shape == SIZE
    assert result.labels.dtype == result.confidence.dtype == np.uint8
    assert result.labels.max() < 11 and result.confidence.min() >= 255 // 11


def test_training_unrolls_to_the_same_labels(folder: Path, frames: list[Frame]) -> None:
    import torch

    from vss_ros.runtimes.export import load_weights
    from vss_ros.train.unroll import unroll

    loaded = model(folder)
    card = loaded.card
    stages = build_stages(card.method, loaded.plan, card.host.name, len(card.labels), mean=card.mean, std=card.std)
    load_weights(stages, card)
    clip = torch.from_numpy(np.stack([frame.image for frame in frames[:4]])).unsqueeze(1)
    with torch.no_grad():
        logits = unroll(loaded.plan, card.host, stages.eval(), clip)
    assert np.mean(logits[0].argmax(0).numpy() != run(folder, frames[:4])[-1].labels) < 2e-3


def test_the_files_cost_what_torch_counts(folder: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vss_ros.runtimes.cost import method_cost

    loaded = model(folder)
    card = loaded.card
    with torch.device("meta"):
        stages = build_stages(card.method, loaded.plan, card.host.name, 11, mean=card.mean, std=card.std).eval()
    costs = method_cost(card, loaded.plan, (64, 80))
    for spec in loaded.plan.stages(card.host):
        inputs = {t.name: torch.empty(1, *t.at(64, 80), device="meta") for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        assert costs[spec.name].macs == counter.get_total_flops() // 2, spec.name


@pytest.mark.slow
@pytest.mark.parametrize("net", DEEP_NETS)
@pytest.mark.parametrize("method", METHODS)
def test_deep_hosts_export(method: str, net: str, tmp_path: Path) -> None:
    # compares the files with torch
    random_model(tmp_path / method, method, net, input_size=SIZE, **OPTIONS.get(method, {}))
