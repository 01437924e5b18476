# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Exported files keep what training needs, and an export that is not equal to torch never replaces a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test.conftest import random_model

torch = pytest.importorskip("torch")
import onnx  # noqa: E402

from vss_ros.assemble import build_stages, load_card, plan_for  # noqa: E402
from vss_ros.core.errors import CardError, StageError  # noqa: E402
from vss_ros.runtimes import export  # noqa: E402


def stages_of(folder: Path) -> torch.nn.ModuleDict:
    card = load_card(folder)
    plan = plan_for(card.method, card.options)
    return build_stages(card.method, plan, "erfnet", len(card.labels), mean=card.mean, std=card.std)


def test_weights_keep_their_names_and_batch_norms_stay(lmanet_folder: Path) -> None:
    names = set(export.read_weights(load_card(lmanet_folder)))
    state = {name for name in stages_of(lmanet_folder).state_dict() if not name.endswith("num_batches_tracked")}
    assert state <= names
    graph = onnx.load(lmanet_folder / "encode.onnx").graph
    assert sum(node.op_type == "BatchNormalization" for node in graph.node) == 3 + 2 * 13


def test_weights_come_back_bit_for_bit(lmanet_folder: Path) -> None:
    first, second = stages_of(lmanet_folder), stages_of(lmanet_folder)
    card = load_card(lmanet_folder)
    export.load_weights(first, card)
    export.load_weights(second, card)
    pairs = list(zip(first.state_dict().items(), second.state_dict().values(), strict=True))
    assert all(a.equal(b) for (_, a), b in pairs)
    assert float(first["encode"].encoder[0].conv.weight.detach().std()) > 0


def test_a_twins_files_start_lmanet(single_folder: Path, lmanet_folder: Path) -> None:
    stages, twin = stages_of(lmanet_folder), load_card(single_folder)
    with pytest.raises(CardError, match=r"has no weight 'encode\.key_query\.weight'"):
        export.load_weights(stages, twin)
    export.load_weights(stages, twin, partly=True)
    name = "encode.encoder.0.conv.weight"
    assert stages.state_dict()[name].equal(export.read_weights(twin)[name])


def test_stages_are_plain_onnx_with_free_size(lmanet_folder: Path) -> None:
    for stage in ("encode", "fuse", "decode"):
        model = onnx.load(lmanet_folder / f"{stage}.onnx")
        assert {opset.domain for opset in model.opset_import} == {""} and model.opset_import[0].version == 17
    (image,) = onnx.load(lmanet_folder / "encode.onnx").graph.input
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["H", "W", 3]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_an_export_that_differs_from_torch_is_refused_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = random_model(tmp_path / "model", "single")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    original = export.export_stage

    def damaging(stage: torch.nn.Module, spec: object, path: Path, size: tuple[int, int]) -> None:
        original(stage, spec, path, size)  # type: ignore[arg-type]
        model = onnx.load(path)
        for weights in model.graph.initializer:
            if weights.name == "encoder.0.conv.bias":
                weights.CopyFrom(onnx.numpy_helper.from_array(np.full(13, 9.0, np.float32), weights.name))
        onnx.save(model, path)

    monkeypatch.setattr(export, "export_stage", damaging)
    with pytest.raises(StageError, match=r"encode\.features at \(64, 96\): error .* relative to torch"):
        random_model(folder, "single")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "no scratch is left behind"
