# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""SSLTM's networks: windows and contexts against loops, losses by hand, gradients, costs and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import onnx  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from test.conftest import random_model  # noqa: E402
from vss_ros.assemble import load_card  # noqa: E402
from vss_ros.core.errors import CardError, StageError  # noqa: E402
from vss_ros.core.method import Host  # noqa: E402
from vss_ros.methods.ssltm import modules  # noqa: E402
from vss_ros.methods.ssltm.modules import Far, Near, build_stages, extra_losses  # noqa: E402
from vss_ros.methods.ssltm.plan import SSLTM  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402
from vss_ros.runtimes.cost import method_cost  # noqa: E402
from vss_ros.runtimes.single_graph import export_single_graph  # noqa: E402
from vss_ros.train.objective import Objective  # noqa: E402
from vss_ros.train.unroll import last_frame, unroll  # noqa: E402

STATISTICS = {"mean": (0.4,) * 3, "std": (0.3,) * 3}
SMALL: dict[str, Any] = {"frames": 3, "block": 4, "width": 16, "heads": 2, "hidden": 8, "context_width": 6}
HOST = Host("erfnet", 128, 8)


@pytest.mark.parametrize(("height", "width", "block"), [(8, 8, 4), (5, 7, 4), (3, 2, 4), (6, 9, 3), (4, 5, 1)])
def test_what_is_cut_can_be_joined(height: int, width: int, block: int) -> None:
    x = torch.randn(2, height, width, 3, 5)
    assert modules.joined(modules.windows(x.unsqueeze(1), block), block, height, width).equal(x)


def test_a_place_is_a_displacement() -> None:
    places = modules.relative_places(3)
    cells = [(y, x) for y in range(3) for x in range(3)]
    moves = {(i, j): (cells[j][0] - cells[i][0], cells[j][1] - cells[i][1]) for i in range(9) for j in range(9)}
    assert {(int(places[pair]), move) for pair, move in moves.items()} == {
        (5 * (dy + 2) + dx + 2, (dy, dx)) for dy in range(-2, 3) for dx in range(-2, 3)
    }


@pytest.mark.parametrize(("height", "width"), [(5, 6), (8, 4), (3, 9)])
def test_windows_are_read_as_loops_do(height: int, width: int) -> None:
    rng, frames, block, heads, channels = np.random.default_rng(0), 3, 4, 2, 5
    query = rng.standard_normal((2, height, width, heads, channels))
    keys, values = rng.standard_normal((2, 2, frames, height, width, heads, channels))
    table = rng.standard_normal((frames, (2 * block - 1) ** 2, heads))
    valid = np.array([[1, 0, 1], [1, 1, 1]])
    wanted = np.zeros_like(query)
    for picture, y, x, head in np.ndindex(2, height, width, heads):
        logits, seen = [], []
        for age in np.flatnonzero(valid[picture]):
            for v in range(y // block * block, min(height, (y // block + 1) * block)):
                for u in range(x // block * block, min(width, (x // block + 1) * block)):
                    place = (v - y + block - 1) * (2 * block - 1) + u - x + block - 1
                    product = query[picture, y, x, head] @ keys[picture, age, v, u, head]
                    logits.append(product / np.sqrt(channels) + table[age, place, head])
                    seen.append(values[picture, age, v, u, head])
        weights = np.exp(logits - np.max(logits))
        wanted[picture, y, x, head] = weights @ np.array(seen) / weights.sum()
    bias = torch.from_numpy(table)[:, modules.relative_places(block)].permute(3, 1, 0, 2).flatten(2)
    given = [torch.from_numpy(x) for x in (query, keys, values, valid)]
    assert np.abs(modules.window_attention(*given, bias, block).numpy() - wanted).max() < 1e-12


def near_inputs(plan: SSLTM, height: int = 5, width: int = 6) -> dict[str, Any]:
    shape = 1, height, width, plan.heads, plan.width // plan.heads
    past = {f"{name}_{age}": torch.randn(shape) for age in plan.ages for name in ("key", "value")}
    valid = {f"valid_{age}": torch.ones(1, 1) for age in plan.ages}
    own = {name: torch.randn(shape) for name in ("query", "key", "value")}
    return {"tokens": torch.randn(1, plan.width, height, width), **own, **past, **valid}


def test_what_stands_in_an_absent_frames_place_does_not_matter() -> None:
    plan = SSLTM(**SMALL)
    near, given = Near(plan).eval(), near_inputs(plan)
    given["valid_2"] = torch.zeros(1, 1)
    other = {
        **given,
        "key_2": 100 * torch.randn_like(given["key_2"]),
        "value_2": torch.full_like(given["value_2"], 1e6),
    }
    with torch.no_grad():
        assert near(**given)["near"].equal(near(**other)["near"])
        other["valid_2"] = torch.ones(1, 1)
        assert not near(**given)["near"].allclose(near(**other)["near"])


def test_is_torchs_attention_where_a_square_holds_the_picture() -> None:
    torch.manual_seed(0)
    plan = SSLTM(frames=2, block=6, width=128, heads=4, hidden=32)
    stages = build_stages(plan, NETS["erfnet"](11), **STATISTICS).eval()
    encode, near = stages["encode"], stages["near"]
    torch.nn.init.zeros_(near.bias)
    theirs = torch.nn.MultiheadAttention(128, 4, batch_first=True).eval()
    clip = torch.randint(0, 256, (2, 1, 40, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(encode.project.weight)
        theirs.in_proj_bias.copy_(encode.project.bias)
        theirs.out_proj.load_state_dict(near.project.state_dict())
        past, now = (encode(image)["tokens"].flatten(2).transpose(1, 2) for image in clip)
        both = encode.norm(torch.cat([now, past], dim=1))
        x = now + theirs(both[:, :30], both, both)[0]
        x = x.transpose(1, 2).reshape(1, 128, 5, 6)
        hidden = near.feed_forward.mix(near.feed_forward.expand(near.norm(x.movedim(1, 3)).movedim(3, 1)))
        wanted = x + near.feed_forward.contract(torch.nn.functional.gelu(hidden))
        found = last_frame(plan, HOST, stages, clip).outputs["near"]["near"]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_context_is_the_mean_of_the_cells_that_look_most_like_the_category() -> None:
    tokens = torch.randn(1, 4, 2, 3)
    coarse = torch.zeros(1, 2, 2, 3)
    coarse[0, 0, 1, 2] = 100.0
    coarse[0, 1, 0, :2] = 100.0
    wanted = torch.stack([tokens[0, :, 1, 2], tokens[0, :, 0, :2].mean(dim=1)])
    torch.testing.assert_close(modules.contexts(coarse, tokens)[0], wanted)
    torch.testing.assert_close(modules.contexts(torch.zeros(1, 2, 2, 3), tokens)[0, 1], tokens[0].mean(dim=(1, 2)))


def test_a_context_gets_its_own_classes_entries_by_likeness() -> None:
    far, context = Far(SSLTM(**SMALL, classes=3), 8).double(), torch.randn(1, 3, 16).double()
    torch.nn.init.normal_(far.dictionary)
    for k in range(3):
        weights = torch.softmax(far.dictionary[k] @ context[0, k] / 4, dim=0)
        torch.testing.assert_close(far.enriched(context)[0, k], context[0, k] + weights @ far.dictionary[k])
    without = Far(SSLTM(**SMALL, classes=3, clusters=0), 8)
    assert without.dictionary is None and without.enriched(context) is context


def test_each_cell_looks_the_contexts_up() -> None:
    far, near, context = Far(SSLTM(**SMALL, classes=3), 8), torch.randn(2, 16, 3, 4), torch.randn(2, 3, 16)
    with torch.no_grad():
        found = far.look_up(near, context)
        query, key, value = far.project_query(near), far.project_key(context), far.project_value(context)
        weights = torch.softmax(key[1] @ query[1, :, 2, 1] / 6**0.5, dim=0)
        wanted = far.widen((weights @ value[1]).view(1, 6, 1, 1)).flatten()
    torch.testing.assert_close(found[1, :, 2, 1], wanted)


def test_the_dictionary_follows_the_contexts_of_the_classes_that_are_shown() -> None:
    dictionary = torch.tensor([[[0.0, 0], [3, 3]], [[1, 1], [9, 9]], [[5, 5], [7, 7]]], requires_grad=True)
    context = torch.tensor([[[1.0, 0], [8, 9], [0, 0]], [[2, 2], [0, 0], [0, 0]]], requires_grad=True)
    labels = torch.tensor([[[0, 1, 255]], [[0, 0, 0]]], dtype=torch.uint8)
    loss = modules.dictionary_loss(dictionary, context, labels)
    assert loss.item() == pytest.approx((0.5 + 0.5 + 1) / 3)
    loss.backward()
    assert context.grad is None and dictionary.grad is not None
    assert dictionary.grad.abs().sum(dim=2).gt(0).tolist() == [[True, True], [False, True], [False, False]]
    assert modules.dictionary_loss(dictionary, context, torch.full_like(labels, 255)).item() == 0


def test_the_coarse_loss_is_a_cross_entropy_of_labelled_pixels() -> None:
    coarse, labels = torch.randn(2, 3, 4, 6), torch.randint(0, 3, (2, 4, 6), dtype=torch.uint8)
    labels[0, :2] = 255
    wanted = torch.nn.functional.cross_entropy(coarse, labels.long(), ignore_index=255)
    torch.testing.assert_close(modules.coarse_loss(coarse, labels), wanted)
    assert modules.coarse_loss(coarse, torch.full_like(labels, 255)).item() == 0


def test_gradients_reach_everything_also_through_past_frames() -> None:
    torch.manual_seed(0)
    plan = SSLTM(**SMALL, classes=5)
    stages = build_stages(plan, NETS["erfnet"](5), **STATISTICS).train()
    clip = torch.randint(0, 256, (4, 2, 40, 48, 3), dtype=torch.uint8)
    labels = torch.randint(0, 5, (2, 40, 48), dtype=torch.uint8)
    last = last_frame(plan, HOST, stages, clip)
    extra = extra_losses(stages, clip[-1], labels, last.outputs)
    assert set(extra) == {"coarse", "dictionary"} and all(loss.item() > 0 for loss in extra.values())
    (last.logits.square().mean() + sum(extra.values())).backward()
    without = [name for name, p in stages.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias of all keys shifts all logits of a cell alike: of its gradient there is rounding, or nothing
    assert set(without) <= {"far.project_key.bias"}


def test_a_training_step_in_bfloat16() -> None:
    torch.manual_seed(0)
    plan = SSLTM(**SMALL, classes=5)
    stages = build_stages(plan, NETS["erfnet"](5), **STATISTICS).train()
    objective = Objective(plan, HOST, stages, torch.ones(5), extra=extra_losses)
    clip = torch.randint(0, 256, (3, 2, 40, 48, 3), dtype=torch.uint8)
    labels = torch.randint(0, 5, (2, 40, 48), dtype=torch.uint8)
    losses = objective(clip, labels)
    assert set(losses) == {"labels", "coarse", "dictionary"} and all(x.isfinite() for x in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in stages.parameters() if p.grad is not None)


def test_past_frames_and_the_reference_change_a_clips_last_frame() -> None:
    torch.manual_seed(0)
    plan = SSLTM(**SMALL)
    stages = build_stages(plan, NETS["erfnet"](11), **STATISTICS).eval()
    clip = torch.randint(0, 256, (5, 1, 40, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        logits = unroll(plan, HOST, stages, clip)
        for frame, matters in enumerate([True, False, True, True]):  # reference, forgotten, two of the window
            other = clip.clone()
            other[frame] = 255 - other[frame]
            assert unroll(plan, HOST, stages, other).equal(logits) != matters, frame
        query_only = SSLTM(**SMALL, rfce=False)
        assert not unroll(query_only, HOST, stages, clip).equal(logits)
        assert unroll(query_only, HOST, stages, clip[:1]).equal(unroll(plan, HOST, stages, clip[:1]))


def on_meta(name: str, **options: Any) -> tuple[SSLTM, Any, Any]:
    plan = SSLTM(**options)
    with torch.device("meta"):
        net = NETS[name](plan.classes).eval()
        return plan, net, build_stages(plan, net, **STATISTICS).eval()


def test_adds_3_8_million_parameters_at_the_papers_size() -> None:
    _, _, stages = on_meta("pspnet18", width=512, hidden=2048, context_width=256, classes=124)
    encode, near, far = (stages[name] for name in ("encode", "near", "far"))
    attention = [*encode.norm.parameters(), *encode.project.parameters(), *near.parameters()]
    objects = [far.project_query, far.project_key, far.project_value, far.widen]
    block = sum(p.numel() for p in attention)
    assert block == pytest.approx(3.18e6, rel=0.005) and far.dictionary.numel() == 124 * 3 * 512
    added = block + far.dictionary.numel() + sum(p.numel() for part in objects for p in part.parameters())
    assert added == pytest.approx(3.8e6, abs=0.25e6)


def test_costs_what_was_designed_at_1024x512() -> None:
    plan, _, stages = on_meta("pspnet18", width=512, hidden=2048, context_width=256, classes=19)
    counted = {}
    for spec in plan.stages(Host("pspnet18", 512, 8))[1:3]:
        inputs = {t.name: torch.empty(1, *t.at(512, 1024), device="meta") for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        counted[spec.name] = counter.get_total_flops() / 2e9
    cells = 64 * 128 / 1e9
    attention, output = 2 * 4 * 64 * 512 * cells, 512 * 512 * cells
    feed_forward = (2 * 512 * 2048 + 9 * 2048) * cells
    assert (attention, output, feed_forward) == pytest.approx((2.15, 2.15, 17.3), rel=0.005)
    assert counted["near"] == pytest.approx(attention + output + feed_forward, rel=1e-6)
    assert counted["far"] == pytest.approx((2 * 256 * 512 + 2 * 19 * 256 + 2 * 512 * 512) * cells, rel=0.005)


@pytest.mark.parametrize(
    ("name", "options", "macs", "parameters", "megabytes"),
    [
        ("erfnet", {"width": 128, "heads": 4, "hidden": 512, "context_width": 64}, 2.65, 0.28, 25),
        ("bisenet18", {}, 9.9, 1.16, 50),
        ("pspnet18", {"width": 512, "hidden": 2048, "context_width": 256}, 39.55, 4.86, 101),
    ],
)
def test_adds_to_each_host_what_the_readme_says(
    name: str, options: dict[str, Any], macs: float, parameters: float, megabytes: float
) -> None:
    plan, net, stages = on_meta(name, classes=19, **options)
    host, counted = Host(name, net.feature_channels, 8), 0.0
    for spec in plan.stages(host):
        dtypes = {t.name: getattr(torch, t.dtype) for t in spec.inputs}
        inputs = {t.name: torch.empty(1, *t.at(512, 1024), dtype=dtypes[t.name], device="meta") for t in spec.inputs}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stages[spec.name](**inputs)
        counted += counter.get_total_flops() / 2e9
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, 3, 512, 1024, device="meta"))
    of_host = sum(p.numel() for half in (net.encoder, net.decoder) for p in half.parameters())
    assert counted - counter.get_total_flops() / 2e9 == pytest.approx(macs, abs=0.05)
    assert (sum(p.numel() for p in stages.parameters()) - of_host) / 1e6 == pytest.approx(parameters, abs=0.005)
    held = sum(bank.slots * np.prod(t.at(512, 1024)) for bank in plan.banks(host) for t in bank.tensors)
    assert 4 * held / 1e6 == pytest.approx(megabytes, abs=0.5)


@pytest.mark.parametrize(
    ("name", "place"), [("erfnet", ""), ("bisenet18", "smooth8"), ("pspnet18", "layer3"), ("pspnet18_camvid", "")]
)
def test_the_coarse_guess_is_made_where_the_host_has_a_head_for_it(name: str, place: str) -> None:
    _, net, stages = on_meta(name, **SMALL)
    encode = stages["encode"]
    assert encode.place == place
    made = encode(torch.empty(2, 40, 48, 3, dtype=torch.uint8, device="meta"))
    assert made["coarse"].shape == (2, 11, 5, 6) and made["context"].shape == (2, 11, 16)
    assert not place or encode.coarse is not net.auxiliary[place], "the host's own head is trained for itself"


def test_refuses_another_number_of_classes() -> None:
    with pytest.raises(CardError, match="wants classes of 7, as many as there are labels, got 11"):
        build_stages(SSLTM(**SMALL), NETS["erfnet"](7), **STATISTICS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("ssltm") / "ssltm", "ssltm", input_size=(32, 48), **SMALL)


def test_files_ask_no_questions_and_keep_their_names(folder: Path) -> None:
    files = {stage: onnx.load(folder / f"{stage}.onnx").graph for stage in ("encode", "near", "far")}
    operators = {node.op_type for graph in files.values() for node in graph.node}
    assert not {"If", "Loop", "NonZero"} & operators
    names = {f"{stage}.{weights.name}" for stage, graph in files.items() for weights in graph.initializer}
    assert {"encode.project.weight", "near.bias", "near.feed_forward.mix.weight", "far.dictionary"} <= names


def test_the_files_have_the_parameters_that_the_modules_have(folder: Path) -> None:
    card, plan = load_card(folder), SSLTM(**SMALL)
    costs, stages = method_cost(card, plan, (40, 72)), build_stages(plan, NETS["erfnet"](11), **STATISTICS)
    for name, stage in stages.items():
        assert costs[name].parameters == sum(p.numel() for p in stage.parameters()), name


def test_a_single_graph_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    card, plan = load_card(folder), SSLTM(**SMALL)
    stages = build_stages(plan, NETS["erfnet"](11), mean=card.mean, std=card.std)
    with pytest.raises(StageError, match="takes slots of bank 'near' one by one does not fit into a single graph"):
        export_single_graph(stages, plan, card, tmp_path / "graph.onnx")
