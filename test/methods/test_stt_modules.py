# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""STT's networks: which cells are chosen, the transformer against torch's own, gradients, costs and files."""

from __future__ import annotations

from math import e, exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from test.conftest import random_model  # noqa: E402
from test.nets.test_counts import gmac  # noqa: E402
from vss_ros.assemble import load_card  # noqa: E402
from vss_ros.core.errors import CardError, StageError  # noqa: E402
from vss_ros.core.method import Host  # noqa: E402
from vss_ros.methods.stt import modules  # noqa: E402
from vss_ros.methods.stt.modules import Fuse, build_stages, most_complex, neighbouring_similarity  # noqa: E402
from vss_ros.methods.stt.plan import STT  # noqa: E402
from vss_ros.nets import NETS  # noqa: E402
from vss_ros.runtimes import export  # noqa: E402
from vss_ros.runtimes.single_graph import export_single_graph  # noqa: E402
from vss_ros.train.unroll import unroll  # noqa: E402

STATISTICS = {"mean": (0.4,) * 3, "std": (0.3,) * 3}
SMALL: dict[str, Any] = {"start": 1, "growth": 1, "width": 16, "heads": 2, "hidden": 8}


def test_complexity_of_nine_cells_by_hand() -> None:
    query = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).repeat(1, 1, 3, 3)
    query[0, :, 1, 1] = torch.tensor([0.0, 2.0])
    scores = neighbouring_similarity(query, 1)[0]
    # the middle: products 4 with itself and 0 with eight others, cosines 1 and 0
    assert scores[1, 1].item() == pytest.approx(log(exp(4) + 8) - 4 / 9 - log(9) + 8 / 9, rel=1e-5)
    # all others see it once, and themselves or their equals, some of them repeated beyond the border, eight times
    others = log(8 * e + 1) - 8 / 9 - log(9) + 1 / 9
    assert scores.flatten()[[0, 1, 2, 3, 5, 6, 7, 8]].tolist() == pytest.approx([others] * 8, rel=1e-5)


@pytest.mark.parametrize("radius", [1, 2])
def test_complexity_as_the_formula_says(radius: int) -> None:
    query = np.random.default_rng(0).standard_normal((3, 4, 5))
    wanted = np.zeros((4, 5))
    for row, column in np.ndindex(4, 5):
        own = query[:, row, column]
        around = [
            query[:, min(max(row + dy, 0), 3), min(max(column + dx, 0), 4)]
            for dy in range(-radius, radius + 1)
            for dx in range(-radius, radius + 1)
        ]
        p = np.exp([q @ own for q in around]) / np.exp([q @ own for q in around]).sum()
        divergence = np.mean(np.log(1 / len(around) / p))
        cosines = [q @ own / np.linalg.norm(q) / np.linalg.norm(own) for q in around]
        wanted[row, column] = divergence + np.mean([1 - cosine for cosine in cosines])
    got = neighbouring_similarity(torch.from_numpy(query)[None], radius)[0].numpy()
    assert np.abs(got - wanted).max() < 1e-12


def test_wide_and_large_queries_give_finite_complexity() -> None:
    query = 30 * torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    assert neighbouring_similarity(query, 1).isfinite().all()
    assert neighbouring_similarity(query.half(), 1).dtype == torch.float32
    assert neighbouring_similarity(torch.zeros(1, 4, 3, 3), 1).isfinite().all()


def test_the_best_half_row_by_row() -> None:
    scores = torch.tensor([[[5.0, 1, 2], [9, 3, 4]], [[0, 0, 0], [1, 2, 3]]])
    assert most_complex(scores, 50).tolist() == [[[0, 0], [1, 0], [1, 2]], [[1, 0], [1, 1], [1, 2]]]
    assert most_complex(scores, 50).dtype == torch.int32
    assert most_complex(torch.rand(2, 3, 5), 50).shape == (2, 7, 2), "rounded down"
    assert most_complex(torch.rand(1, 3, 5), 100).shape == (1, 15, 2)


def test_of_equals_the_first_are_chosen() -> None:
    scores = torch.tensor([[[1.0, 0, 1], [1, 7, 1]]])
    assert most_complex(scores, 50).tolist() == [[[0, 0], [0, 2], [1, 1]]]
    assert most_complex(torch.zeros(1, 2, 3), 50).tolist() == [[[0, 0], [0, 1], [0, 2]]]
    assert neighbouring_similarity(torch.ones(1, 4, 3, 3), 1).abs().max() < 1e-6


def test_a_file_chooses_as_torch_does_of_equals_too(tmp_path: Path) -> None:
    class Choose(torch.nn.Module):
        def forward(self, scores: torch.Tensor) -> tuple[torch.Tensor]:
            return (most_complex(scores, 50),)

    axes = {"scores": {1: "h", 2: "w"}, "positions": {1: "n"}}
    names = ["scores"], ["positions"]
    export.trace(Choose(), (torch.rand(1, 4, 4),), tmp_path / "x.onnx", names, dynamic_axes=axes)
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"), providers=["CPUExecutionProvider"])
    for size in ((5, 7), (16, 9)):
        scores = torch.randint(0, 4, (1, *size), generator=torch.Generator().manual_seed(0)).float()
        assert np.array_equal(session.run(None, {"scores": scores.numpy()})[0], most_complex(scores, 50).numpy())


def test_is_torchs_transformer_where_a_window_sees_all() -> None:
    torch.manual_seed(0)
    plan = STT(slots=1, start=9, end=9, share=1.0, width=128, heads=4, hidden=32)
    stages = build_stages(plan, NETS["erfnet"](5), **STATISTICS).eval()
    encode, fuse = stages["encode"], stages["fuse"]
    layer = torch.nn.TransformerDecoderLayer(128, 4, 32, dropout=0.0, batch_first=True).eval()
    projections = (encode.project_query, encode.project_key, encode.project_value)
    clip = torch.randint(0, 256, (2, 1, 32, 40, 3), dtype=torch.uint8)
    with torch.no_grad():
        layer.multihead_attn.in_proj_weight.copy_(torch.cat([p.weight.flatten(1) for p in projections]))
        layer.multihead_attn.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        pairs = [(layer.multihead_attn.out_proj, fuse.project), (layer.norm2, fuse.norm_seen), (layer.norm3, fuse.norm)]
        for theirs, ours in [*pairs, (layer.linear1, fuse.expand), (layer.linear2, fuse.contract)]:
            theirs.load_state_dict(ours.state_dict())
        past, now = (encode(image)["features"].flatten(2).transpose(1, 2) for image in clip)
        seen = layer.norm2(now + layer.multihead_attn(now, past, past)[0])
        features = layer.norm3(seen + layer.linear2(layer.linear1(seen).relu())).transpose(1, 2).reshape(1, 128, 4, 5)
        wanted = stages["decode"].decoder(features)
        torch.testing.assert_close(unroll(plan, Host("erfnet", 128, 8), stages, clip), wanted, rtol=1e-4, atol=1e-4)


def fused(fuse: Fuse, channels: int) -> dict[str, torch.Tensor]:
    """Inputs and result for three of six cells in two pictures."""
    given = {
        "raw": torch.randn(2, channels, 2, 3),
        "positions": torch.tensor([[[0, 0], [0, 2], [1, 1]], [[0, 1], [1, 0], [1, 2]]], dtype=torch.int32),
        "own": torch.randn(2, 3, 16),
        "seen": torch.randn(2, 3, 2, 8),
    }
    return {**given, **fuse.eval()(**given)}


def test_results_take_their_places_and_other_cells_stay_bit_for_bit() -> None:
    torch.manual_seed(0)
    fuse = Fuse(STT(**SMALL), 16)
    with torch.no_grad():
        x = fused(fuse, 16)
        for picture, cells in enumerate(x["positions"].tolist()):
            found = fuse.transform(x["own"][picture], x["seen"][picture].flatten(1))
            for number, (row, column) in enumerate(cells):
                torch.testing.assert_close(x["features"][picture, :, row, column], found[number])
                x["features"][picture, :, row, column] = x["raw"][picture, :, row, column]
    assert x["features"].equal(x["raw"])


def test_other_cells_may_be_normalised_too() -> None:
    fuse = Fuse(STT(**SMALL, unselected="normalised"), 16)
    with torch.no_grad():
        x = fused(fuse, 16)
        torch.testing.assert_close(x["features"][0, :, 0, 1], fuse.norm(x["raw"][0, :, 0, 1]))
    with pytest.raises(CardError, match="16 wide as the transformer is, these are 24; set width to 24"):
        Fuse(STT(**SMALL, unselected="normalised"), 24)


def test_features_of_another_width_get_the_result_added() -> None:
    fuse = Fuse(STT(**SMALL), 24)
    with torch.no_grad():
        x = fused(fuse, 24)
        added = fuse.widen(fuse.transform(x["own"][1], x["seen"][1].flatten(1)))
        torch.testing.assert_close(x["features"][1, :, 1, 0], x["raw"][1, :, 1, 0] + added[1])
        assert x["features"][1, :, 0, 0].equal(x["raw"][1, :, 0, 0])


def test_gradients_reach_queries_keys_values_and_the_cells_that_stay() -> None:
    torch.manual_seed(0)
    plan = STT(slots=2, **SMALL)
    stages = build_stages(plan, NETS["erfnet"](5), **STATISTICS).train()
    clip = torch.randint(0, 256, (3, 2, 32, 48, 3), dtype=torch.uint8)
    unroll(plan, Host("erfnet", 128, 8), stages, clip).square().mean().backward()
    without = [name for name, p in stages.named_parameters() if p.grad is None or not p.grad.any()]
    # a key's bias shifts all logits of a query alike: of its gradient there is rounding, or nothing
    assert set(without) <= {"encode.project_key.bias"}
    fuse, raw = Fuse(plan, 16), torch.randn(1, 16, 2, 2, requires_grad=True)
    seen = torch.randn(1, 1, 2, 8)
    fuse(raw, torch.zeros(1, 1, 2, dtype=torch.int32), torch.randn(1, 1, 16), seen)["features"].sum().backward()
    assert raw.grad is not None and raw.grad[0, 0].tolist() == [[0, 1], [1, 1]]


def test_no_gradient_is_kept_of_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def watched(query: torch.Tensor, radius: int) -> torch.Tensor:
        scores = neighbouring_similarity(query, radius)
        kept.append(scores.requires_grad)
        return scores

    monkeypatch.setattr(modules, "neighbouring_similarity", watched)
    encode = build_stages(STT(**SMALL), NETS["erfnet"](5), **STATISTICS)["encode"]
    encode.select(torch.randn(1, 16, 3, 3, requires_grad=True))
    assert kept == [False]


def gmac_at_1024x512(name: str, **options: Any) -> dict[str, float]:
    """Multiply-adds of each stage in 1e9, and of the host's encoder."""
    plan = STT(**options)
    with torch.device("meta"):
        net = NETS[name](19).eval()
        encoder = gmac(net.encoder, torch.empty(1, 3, 512, 1024))
        stages = build_stages(plan, net, **STATISTICS).eval()
        counted = {"encoder": encoder}
        for spec in plan.stages(Host(name, net.feature_channels, 8)):
            counted[spec.name] = gmac(stages[spec.name], *(torch.empty(1, *t.at(512, 1024)) for t in spec.inputs))
    return counted


def test_adds_4_6_gmac_at_1024x512_and_the_output_projection() -> None:
    counted, cells = gmac_at_1024x512("bisenet18"), 64 * 128
    projections = counted["encode"] - counted["encoder"]
    output = 256 * 256 * cells // 2 / 1e9  # the design's sum leaves it out
    feed_forward = counted["fuse"] - output
    read = (7**2 + 11**2 + 15**2) * 2 * 256 * cells // 2 / 1e9
    similarity = 9 * 256 * cells / 1e9  # of neighbours: not a product of matrices, so torch does not count it
    assert projections == pytest.approx(1.61, abs=0.01)
    assert feed_forward == pytest.approx(2.15, abs=0.01)
    assert read == pytest.approx(0.83, abs=0.01)
    assert projections + feed_forward + read + similarity == pytest.approx(4.6, rel=0.01)
    assert output == pytest.approx(0.27, abs=0.01)


def test_a_slim_head_saves_pspnet_more_than_the_transformer_costs() -> None:
    slim, host = gmac_at_1024x512("pspnet18", head="slim"), 135.0
    assert sum(slim.values()) - slim["encoder"] + 0.83 - host == pytest.approx(-30, abs=1)


@pytest.mark.parametrize("name", ["erfnet", "pspnet18_camvid"])
def test_a_slim_head_wants_a_classifier_at_the_features_size(name: str) -> None:
    with (
        torch.device("meta"),
        pytest.raises(CardError, match=r"wants bisenet\* or pspnet18, 50 or 101, got (ERFNet|PSPNet18CamVid);"),
    ):
        build_stages(STT(head="slim"), NETS[name](3), **STATISTICS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("stt") / "stt", "stt", input_size=(32, 48), **SMALL)


def test_files_ask_no_questions_and_keep_their_names(folder: Path) -> None:
    encode, fuse = (onnx.load(folder / f"{stage}.onnx") for stage in ("encode", "fuse"))
    operators = {node.op_type for model in (encode, fuse) for node in model.graph.node}
    assert {"TopK", "ScatterND"} <= operators and not {"If", "Loop", "NonZero"} & operators
    names = {weights.name for weights in fuse.graph.initializer}
    assert {"project.weight", "norm_seen.weight", "expand.bias", "contract.weight", "norm.bias"} <= names
    positions = next(x for x in encode.graph.output if x.name == "positions").type.tensor_type
    assert positions.elem_type == onnx.TensorProto.INT32
    assert [d.dim_param or d.dim_value for d in positions.shape.dim] == ["50_percent_of_H_over_8_times_W_over_8", 2]


def test_a_near_tie_does_not_refuse_an_export_but_a_difference_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, refusals = export.compare, 0

    def refuse(name: str, got: Any, want: Any) -> None:
        nonlocal refusals
        if "positions" in name and refusals:
            refusals -= 1
            raise StageError(f"{name} differ")
        honest(name, got, want)

    monkeypatch.setattr(export, "compare", refuse)
    refusals = 1
    random_model(tmp_path / "once", "stt", input_size=(32, 48), **SMALL)
    refusals = 2
    with pytest.raises(StageError, match="positions"):
        random_model(tmp_path / "twice", "stt", input_size=(32, 48), **SMALL)


def test_a_single_graph_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    card, plan = load_card(folder), STT(**SMALL)
    stages = build_stages(plan, NETS["erfnet"](11), mean=card.mean, std=card.std)
    with pytest.raises(StageError, match="'stt' reads about centres, which a single graph cannot; export its stages"):
        export_single_graph(stages, plan, card, tmp_path / "graph.onnx")
