# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A plan that moves its windows and learns a sink: the same reads in training and in a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402
from vss_ros.core.memory import Bank, BankSpec, MemoryBank  # noqa: E402
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput  # noqa: E402
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter  # noqa: E402
from vss_ros.core.stage import StageSpec, TensorSpec  # noqa: E402
from vss_ros.runtimes.torch import TorchRuntime  # noqa: E402
from vss_ros.train.unroll import ClipBank, last_frame  # noqa: E402

HOST = Host("tiny", 3, 1)
GRID = TensorSpec("features", "float32", ("H", "W", 1, 3))
SINK, CENTRES = TensorSpec("sink", "float32", (1,)), TensorSpec("centres", "int64", ("H", "W", 2))


class Moving:
    """Looks at where the picture was one row and two columns before, beside a sink; decodes what it saw."""

    name = "moving"

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        return (
            StageSpec("encode", (IMAGE,), (GRID, SINK, CENTRES)),
            StageSpec("decode", (GRID,), (LABELS, CONFIDENCE)),
        )

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return (BankSpec("past", 2, (GRID,)),)

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        now = run("encode", image=x.image)
        past, seen = memory["past"].read(), now["features"]
        if len(past):
            where = {"valid": past.valid, "centres": now["centres"], "sink": now["sink"]}
            seen = attend(now["features"], past["features"], past["features"], Look(3, Border.MASK), **where)
        memory["past"].push(features=now["features"])
        return run("decode", features=seen)


class Encode(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sink = torch.nn.Parameter(torch.tensor([0.3]))

    def forward(self, image: Any) -> dict[str, Any]:
        cells = torch.from_numpy(np.moveaxis(np.indices(image.shape[1:3]), 0, -1)) - torch.tensor([1, 2])
        features = (image.float() / 255)[:, :, :, None]
        return {
            "features": features,
            "sink": self.sink.expand(len(image), 1),
            "centres": cells.expand(len(image), *cells.shape),
        }


class Decode(torch.nn.Module):
    def forward(self, features: Any) -> dict[str, Any]:
        labels = (features[..., 0, 0] * 255).round().to(torch.uint8)
        return {"logits": features[..., 0, :], "labels": labels, "confidence": torch.zeros_like(labels)}


def test_centres_and_sink_reach_the_read_in_training_and_in_a_stream() -> None:
    stages = torch.nn.ModuleDict({"encode": Encode(), "decode": Decode()})
    clip = np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3), np.uint8)
    last = last_frame(Moving(), HOST, stages, torch.from_numpy(clip)[:, None])
    logits = last.logits
    assert last.outputs["encode"]["features"].equal(torch.from_numpy(clip[-1:, :, :, None]) / 255), "of the last frame"
    logits.sum().backward()
    assert stages["encode"].sink.grad.abs() > 0

    runtime = TorchRuntime(stages, Moving().stages(HOST))
    segmenter = StreamSegmenter(Moving(), HOST, runtime, StreamOptions(model_size=(16, 20), scene_cut=0))
    for n, image in enumerate(clip):
        streamed = segmenter(Frame(stamp_ns=n, image=image))
    trained = (logits[0, :, :, 0] * 255).round().detach().numpy()
    np.testing.assert_array_equal(streamed.labels, trained)
    assert "attend" in streamed.times_ms and not np.array_equal(streamed.labels, clip[-1, :, :, 0])


@pytest.mark.parametrize(("slots", "every"), [(1, 1), (3, 1), (2, 3), (3, 4)])
def test_a_clip_remembers_what_a_stream_remembers(slots: int, every: int) -> None:
    spec = BankSpec("past", slots, (SINK,), every)
    stream, clip = MemoryBank(spec, 1, 1, np.empty), ClipBank(slots, every)
    for number in range(20):
        if number == 7:
            stream.clear()
            clip.clear()
        held = []
        for view in (stream.read(), clip.read()):
            slots_by_age = sorted((int(view.age[slot]), slot) for slot in np.flatnonzero(view.valid))
            held.append([(age, float(np.ravel(view.at(slot, "sink"))[0])) for age, slot in slots_by_age])
        assert held[0] == held[1]
        stream.push(sink=np.full(1, number, np.float32))
        clip.push(sink=torch.full((2, 1), float(number)))
