# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What every method must keep, whichever it is: found by listing the folder, run on random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test.conftest import random_model
from vss_ros.assemble import Model, load_model, load_settings, methods
from vss_ros.core.frame import Frame, Segmentation

pytest.importorskip("torch")

SIZE = (64, 96)
METHODS = sorted(methods())


@pytest.fixture(scope="module", params=METHODS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"slots": 3, "window": 5} if request.param == "lmanet" else {}
    return random_model(tmp_path_factory.mktemp("contract") / request.param, request.param, **options)


def model(folder: Path, backend: str = "onnx") -> Model:
    return load_model(load_settings(values={"model.name": str(folder), "runtime.backend": backend}))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (SIZE[0], SIZE[1] + 40, 3), np.uint8)
    return [Frame(t * 100_000_000, np.ascontiguousarray(scene[:, 4 * t : 4 * t + SIZE[1]])) for t in range(8)]


def run(folder: Path, frames: list[Frame], backend: str = "onnx") -> list[Segmentation]:
    stream = model(folder, backend).stream()
    return [stream(frame) for frame in frames]


def same(a: Segmentation, b: Segmentation) -> bool:
    return np.array_equal(a.labels, b.labels) and np.array_equal(a.confidence, b.confidence)


def test_all_methods_are_found() -> None:
    assert {"single", "lmanet"} <= set(METHODS)


def test_two_runs_are_bit_identical(folder: Path, frames: list[Frame]) -> None:
    assert all(same(a, b) for a, b in zip(run(folder, frames), run(folder, frames), strict=True))


def test_a_stream_equals_a_clip_that_is_as_long_as_the_memory(folder: Path, frames: list[Frame]) -> None:
    streamed = run(folder, frames)[-1]
    assert same(streamed, run(folder, frames[-4:])[-1])


def test_output_does_not_depend_on_frames_beyond_the_horizon(folder: Path, frames: list[Frame]) -> None:
    other = [Frame(frames[0].stamp_ns, 255 - frames[0].image), *frames[1:]]
    assert same(run(folder, frames)[-1], run(folder, other)[-1])


def test_reset_forgets(folder: Path, frames: list[Frame]) -> None:
    stream = model(folder).stream()
    for frame in frames[:4]:
        stream(frame)
    stream.reset("test")
    again = stream(frames[4])
    assert same(again, run(folder, frames[4:5])[0]) and again.remembered == 0


def test_memory_is_used(folder: Path, frames: list[Frame]) -> None:
    alone, streamed = run(folder, frames[4:5])[0], run(folder, frames[:5])[-1]
    assert same(alone, streamed) == (folder.name == "single")


def test_torch_and_onnx_runtime_agree(folder: Path, frames: list[Frame]) -> None:
    for ours, reference in zip(run(folder, frames), run(folder, frames, "torch"), strict=True):
        assert np.mean(ours.labels != reference.labels) < 2e-3
        assert np.abs(ours.confidence.astype(int) - reference.confidence.astype(int)).mean() < 0.5


def test_labels_and_confidence_are_what_planners_read(folder: Path, frames: list[Frame]) -> None:
    result = run(folder, frames[:1])[0]
    assert result.labels.shape == result.confidence.shape == SIZE
    assert result.labels.dtype == result.confidence.dtype == np.uint8
    assert result.labels.max() < 11 and result.confidence.min() >= 255 // 11


def test_training_unrolls_to_the_same_labels(folder: Path, frames: list[Frame]) -> None:
    import torch

    from vss_ros.assemble import build_stages
    from vss_ros.runtimes.export import load_weights
    from vss_ros.train.unroll import unroll

    loaded = model(folder)
    card = loaded.card
    stages = build_stages(card.method, loaded.plan, "erfnet", len(card.labels), mean=card.mean, std=card.std)
    load_weights(stages, card)
    clip = torch.from_numpy(np.stack([frame.image for frame in frames[:4]])).unsqueeze(1)
    with torch.no_grad():
        logits = unroll(loaded.plan, card.host, stages.eval(), clip)
    assert np.mean(logits[0].argmax(0).numpy() != run(folder, frames[:4])[-1].labels) < 2e-3
