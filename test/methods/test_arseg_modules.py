# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""AR-Seg's networks: the warp, what the two resolutions share, exactness beside the host, training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.conftest import random_model

torch = pytest.importorskip("torch")

from vss_ros.assemble import load_card, load_model, load_settings, loaded_stages, plan_for  # noqa: E402
from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.core.method import Host  # noqa: E402
from vss_ros.core.motion import ZeroMotion  # noqa: E402
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter  # noqa: E402
from vss_ros.methods.arseg.modules import build_stages, extra_losses, name_in_host, warp  # noqa: E402
from vss_ros.methods.arseg.plan import ARSeg  # noqa: E402
from vss_ros.methods.single.plan import Single  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402
from vss_ros.runtimes.export import load_weights  # noqa: E402
from vss_ros.runtimes.torch import TorchRuntime  # noqa: E402
from vss_ros.train.unroll import last_frame, unroll  # noqa: E402

SIZE = (32, 48)
STATISTICS: dict[str, Any] = {"mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3)}
Stages = torch.nn.ModuleDict


def host(net: str = "erfnet") -> Host:
    made = NETS[net]
    return Host(net, made.feature_channels, made.stride, made.classified_channels, made.classified_stride)


def random_stages(plan: ARSeg, net: str = "erfnet") -> Stages:
    torch.manual_seed(0)
    return build_stages(plan, NETS[net](11), **STATISTICS).eval()


def scene(frames: int, step: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture that moves left by `step` px a frame."""
    wide = np.random.default_rng(0).integers(0, 256, (SIZE[0], SIZE[1] + step * frames, 3), np.uint8)
    return np.stack([wide[:, step * t : step * t + SIZE[1]] for t in range(frames)])


def stream_of(plan: Any, stages: Stages, net: str = "erfnet", **more: Any) -> StreamSegmenter:
    on = host(net)
    return StreamSegmenter(plan, on, TorchRuntime(stages, plan.stages(on)), StreamOptions(SIZE), **more)


def cells_moved(x: float, y: float, rows: int = 5, columns: int = 7) -> torch.Tensor:
    return torch.tensor([x, y]).expand(1, rows, columns, 2)


def test_without_motion_the_warp_is_the_identity() -> None:
    features = torch.randn(1, 3, 5, 7)
    torch.testing.assert_close(warp(features, cells_moved(0, 0)), features, rtol=0, atol=1e-5)


def test_the_warp_takes_what_lies_where_motion_leads() -> None:
    features = torch.randn(1, 3, 5, 7)
    moved = warp(features, cells_moved(-1, 2))
    torch.testing.assert_close(moved[:, :, :3, 1:], features[:, :, 2:, :-1], rtol=0, atol=1e-5)
    assert moved[:, :, 3:].abs().max() < 1e-5 and moved[:, :, :, 0].abs().max() < 1e-5, "0 outside the picture"
    between = warp(features, cells_moved(0.25, 0))[..., :-1]
    torch.testing.assert_close(between, 0.75 * features[..., :-1] + 0.25 * features[..., 1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("motion", ["warp", "offset"])
def test_at_full_scale_without_values_it_is_the_host(motion: str) -> None:
    plan = ARSeg(scale=1.0, motion=motion)
    stages = random_stages(plan)
    torch.nn.init.zeros_(stages["project"].value.weight)
    alone = torch.nn.ModuleDict({"encode": stages["keyframe"], "decode": stages["decode"]})
    for image in scene(3):
        ours = stages["decode"](stages["encode"](torch.from_numpy(image)[None])["own"])
        wanted = alone["decode"](alone["encode"](torch.from_numpy(image)[None])["features"])
        torch.testing.assert_close(ours["logits"], wanted["logits"], rtol=0, atol=1e-5)
    stream = stream_of(plan, stages, motion=ZeroMotion())
    frames = [Frame(t * 100_000_000, image) for t, image in enumerate(scene(3))]
    results = [stream(frame) for frame in frames]
    assert stream.keyframes == {"first": 1}
    for frame, result in zip(frames, results, strict=True):
        features = stages["keyframe"](torch.from_numpy(frame.image)[None])["features"]
        wanted = stages["decode"](features)
        np.testing.assert_array_equal(result.labels, wanted["labels"][0].numpy())
        np.testing.assert_array_equal(result.confidence, wanted["confidence"][0].numpy())


def test_whole_steps_of_everything_move_windows_as_they_move_features() -> None:
    """Away from the border convolution and shift commute: both ways of motion see the same."""
    warped, moved = (random_stages(ARSeg(motion=motion)) for motion in ("warp", "offset"))
    images, motion = torch.from_numpy(scene(2)).unsqueeze(1), torch.zeros(2, 1, 2, 3, 2)
    motion[1] = torch.tensor([4.0, -2.0])  # px: 2 cells and -1
    seen = []
    for stages, plan in ((warped, ARSeg(motion="warp")), (moved, ARSeg(motion="offset"))):
        last = last_frame(plan, host(), stages, images, motion)
        seen.append(last.outputs["fuse"]["features"] - last.outputs["encode"]["own"])
    inner = (..., slice(6, -6), slice(6, -8))
    torch.testing.assert_close(seen[0][inner], seen[1][inner], rtol=0, atol=1e-5)
    assert (seen[0] - seen[1]).abs().max() > 1e-3, "at the border they differ"


def test_both_resolutions_and_the_classifier_start_from_the_host(tmp_path: Path) -> None:
    single = load_card(random_model(tmp_path / "single", "single", "bisenet18", input_size=SIZE))
    torch.manual_seed(1)
    stages = build_stages(ARSeg(), NETS["bisenet18"](11), **STATISTICS).eval()
    load_weights(stages, single, partly=True, called=name_in_host)
    of_host = loaded_stages(single, Single()).state_dict()
    found = {name for name in stages.state_dict() if name_in_host(name) in of_host}
    assert {name for name in stages.state_dict() if name not in found} == {
        f"{conv}.{part}" for conv in ("encode.query", "project.key", "project.value") for part in ("weight", "bias")
    }
    for name in found:
        assert stages.state_dict()[name].equal(of_host[name_in_host(name)]), name
    # one picture per keyframe: the labels are the host's
    ours = stream_of(ARSeg(period=1), stages, "bisenet18", motion=ZeroMotion())
    theirs = stream_of(Single(), loaded_stages(single, Single()), "bisenet18")
    for t, image in enumerate(scene(2)):
        frame = Frame(t * 100_000_000, image)
        np.testing.assert_array_equal(ours(frame).labels, theirs(frame).labels)


@pytest.fixture(scope="module", params=["warp", "offset"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"period": 4, "motion": request.param}
    return random_model(tmp_path_factory.mktemp("models") / request.param, "arseg", input_size=SIZE, **options)


def moving_frames(count: int) -> list[Frame]:
    """The picture moves left by 4 px a frame: things were 4 px further right."""
    field = np.full((2, 3, 2), (4, 0), np.float32)
    return [
        Frame(t * 100_000_000, image, motion=field if t else None, motion_since_ns=(t - 1) * 100_000_000)
        for t, image in enumerate(scene(count))
    ]


def streamed(folder: Path, frames: list[Frame], **settings: Any) -> list[Any]:
    values = {"model.name": str(folder), "memory.scene_cut": 0.0, "motion.source": "codec", **settings}
    stream = load_model(load_settings(values=values)).stream()
    return [stream(frame) for frame in frames]


def test_a_stream_equals_a_clip_that_starts_at_the_keyframe(folder: Path) -> None:
    frames = moving_frames(7)
    long, short = streamed(folder, frames), streamed(folder, frames[4:])
    for a, b in zip(long[4:], short, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def test_motion_is_used(folder: Path) -> None:
    frames = moving_frames(3)
    by_codec, standing = streamed(folder, frames), streamed(folder, frames, **{"motion.source": "zero"})
    np.testing.assert_array_equal(by_codec[0].confidence, standing[0].confidence)
    assert not np.array_equal(by_codec[2].confidence, standing[2].confidence)


def test_the_users_period_replaces_the_cards(folder: Path) -> None:
    frames = moving_frames(3)
    always = streamed(folder, frames, **{"motion.keyframe_every": 1})
    assert all("keyframe" in result.times_ms for result in always)
    assert ["keyframe" in result.times_ms for result in streamed(folder, frames)] == [True, False, False]


def test_backends_agree_between_keyframes_and_on_pictures_whose_half_is_no_whole_cell(folder: Path) -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 24, 40, 3), np.uint8)
    field = rng.normal(0, 6, (3, 5, 2)).astype(np.float32)
    frames = [Frame(t * 100_000_000, image, motion=field) for t, image in enumerate(pictures)]
    results = [
        streamed(folder, frames, **{"runtime.backend": backend, "model.input_size": "40x24"})
        for backend in ("onnx", "torch")
    ]
    for ours, reference in zip(*results, strict=True):
        assert np.mean(ours.labels != reference.labels) < 2e-3
        assert np.abs(ours.confidence.astype(int) - reference.confidence.astype(int)).max() <= 1


def test_training_sees_what_a_stream_sees(folder: Path) -> None:
    card = load_card(folder)
    plan = plan_for("arseg", card.options)
    frames = moving_frames(3)
    clip = torch.from_numpy(np.stack([frame.image for frame in frames])).unsqueeze(1)
    motion = torch.zeros(3, 1, 2, 3, 2)
    motion[1, ..., 0], motion[2, ..., 0] = 4, 8  # px to the first frame
    with torch.no_grad():
        logits = unroll(plan, card.host, loaded_stages(card, plan).eval(), clip, motion)
    np.testing.assert_array_equal(logits[0].argmax(0).numpy(), streamed(folder, frames)[2].labels)


@pytest.mark.parametrize("motion", ["warp", "offset"])
def test_a_step_of_training_moves_the_small_branch_and_the_fusion_alone(motion: str) -> None:
    plan = ARSeg(motion=motion)
    stages = random_stages(plan)
    for name, parameter in stages.named_parameters():
        parameter.requires_grad_(name.startswith(("encode", "project")))
    images = torch.from_numpy(scene(2)).unsqueeze(1)
    with torch.autocast("cpu", torch.bfloat16):
        last = last_frame(plan, host(), stages, images, torch.zeros(2, 1, 2, 3, 2))
        losses = extra_losses(stages, images[-1], torch.zeros(1, *SIZE, dtype=torch.uint8), last.outputs)
    assert losses.keys() == {"similarity"} and losses["similarity"].dtype == torch.float32
    (losses["similarity"] + last.logits.float().square().mean()).backward()
    without = [name for name, p in stages.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all(name.startswith(("keyframe", "decode")) for name in without)


def test_features_that_are_alike_cost_nothing() -> None:
    plan = ARSeg(scale=1.0)
    stages = random_stages(plan)
    torch.nn.init.zeros_(stages["project"].value.weight)
    image = torch.from_numpy(scene(1))
    last = last_frame(plan, host(), stages, image.unsqueeze(1).expand(2, -1, -1, -1, -1))
    labels = torch.zeros(1, *SIZE, dtype=torch.uint8)
    assert extra_losses(stages, image, labels, last.outputs)["similarity"] < 1e-9
    keyframe = last_frame(plan, host(), stages, image.unsqueeze(1))
    assert extra_losses(stages, image, labels, keyframe.outputs) == {}, "of a keyframe there is nothing to say"
