# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One file of standard operators gives what the stream gives, whichever method it is; what it cannot do is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.attention.cases import error, random

torch = pytest.importorskip("torch")
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from vss_ros.assemble import build_stages, load_card, load_model, load_settings, plan_for  # noqa: E402
from vss_ros.core.errors import StageError  # noqa: E402
from vss_ros.core.frame import Frame  # noqa: E402
from vss_ros.core.look import Border, Look  # noqa: E402
from vss_ros.data.synthetic import SyntheticDrive  # noqa: E402
from vss_ros.methods.lmanet.plan import LMANet  # noqa: E402
from vss_ros.runtimes import single_graph  # noqa: E402
from vss_ros.runtimes.export import compare, load_weights  # noqa: E402

ROOT = Path(__file__).parents[2]
SIZE = (64, 96)
SHIPPED = "lmanet_erfnet_camvid"


def export(model: str | Path, path: Path, plan: Any = None) -> Path:
    """The single graph of a model folder at 96x64, of another plan than its own where one is given."""
    card = load_card(model)
    plan = plan or plan_for(card.method, card.options)
    stages = build_stages(card.method, plan, card.host.name, len(card.labels), mean=card.mean, std=card.std)
    load_weights(stages, card)
    single_graph.export_single_graph(stages, plan, card, path, SIZE)
    return path


@pytest.fixture(scope="module")
def tiny(lmanet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(lmanet_folder, tmp_path_factory.mktemp("graphs") / "lmanet.onnx")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [Frame(f.stamp_ns, f.image) for f in SyntheticDrive(3, size=SIZE, frames=6, motion=False)]


def shapes(values: Any) -> dict[str, list[int]]:
    return {x.name: [d.dim_value for d in x.type.tensor_type.shape.dim] for x in values}


def test_the_memory_is_inputs_and_outputs(tiny: Path) -> None:
    graph = onnx.load(tiny).graph
    key, value = [8, 12, 1, 16], [8, 12, 1, 64]
    memory = {"past_key": [3, *key], "past_value": [3, *value], "past_valid": [3]}
    assert shapes(graph.input) == {"image": [*SIZE, 3], **memory}
    pictures = {"labels": [*SIZE], "confidence": [*SIZE]}
    assert shapes(graph.output) == {**pictures, "past_key_new": key, "past_value_new": value}


def test_only_standard_operators_and_no_work_twice(tiny: Path, lmanet_folder: Path) -> None:
    model = onnx.load(tiny)
    assert {(opset.domain, opset.version) for opset in model.opset_import} == {("", 17)}
    operators = [node.op_type for node in model.graph.node]
    assert {node.domain for node in model.graph.node} == {""} and not {"If", "Loop", "Scan"} & set(operators)
    for operator, stage in (("ConvTranspose", "decode"), ("MaxPool", "encode"), ("Sigmoid", "fuse")):
        alone = [node.op_type for node in onnx.load(lmanet_folder / f"{stage}.onnx").graph.node]
        assert operators.count(operator) == alone.count(operator) > 0


def test_the_file_says_what_it_is(tiny: Path, lmanet_folder: Path) -> None:
    said, card = {p.key: p.value for p in onnx.load(tiny).metadata_props}, load_card(lmanet_folder)
    assert (said["model"], said["method"], said["input_size"]) == ("tiny_lmanet", "lmanet", "96x64")
    assert json.loads(said["labels"]) == list(card.labels) and len(json.loads(said["palette"])) == len(card.labels)
    assert json.loads(said["slots"]) == {"past": 3} and json.loads(said["options"])["window"] == 5
    stages = build_stages("lmanet", LMANet(3, 5), "erfnet", 11, mean=card.mean, std=card.std)
    assert said["weights_sha256"] != single_graph.weights_sha256(stages)
    load_weights(stages, card)
    assert said["weights_sha256"] == single_graph.weights_sha256(stages)


@pytest.mark.parametrize("model", ["lmanet", "single", "shipped"])
def test_the_loop_of_the_documentation_gives_what_the_stream_gives(
    model: str, frames: list[Frame], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SHIPPED if model == "shipped" else request.getfixturevalue(f"{model}_folder")
    if model == "lmanet":
        shutil.copy(request.getfixturevalue("tiny"), tmp_path / "lmanet.onnx")
    else:
        export(folder, tmp_path / "lmanet.onnx")
    settings = load_settings(values={"model.name": str(folder), "model.input_size": "96x64"})
    stream = load_model(settings).stream()
    wanted = [stream(frame) for frame in frames]

    said: dict[str, Any] = {}
    seen = []

    def images() -> Iterator[Any]:
        for frame in frames:
            yield frame.image
            seen.append((said["labels"], said["confidence"]))

    said["images"] = images()
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(text.split("```python\n")[1].split("```")[0], said)
    for (labels, confidence), segmentation in zip(seen, wanted, strict=True):
        compare("labels", labels, segmentation.labels)
        compare("confidence", confidence, segmentation.confidence)


def test_what_lies_in_slots_that_are_not_valid_changes_nothing(tiny: Path, frames: list[Frame]) -> None:
    session = onnxruntime.InferenceSession(str(tiny), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    clean = {
        "past_key": rng.standard_normal((3, 8, 12, 1, 16), np.float32),
        "past_value": rng.standard_normal((3, 8, 12, 1, 64), np.float32),
    }
    for valid in ([True, False, False], [False, False, False]):
        dirty = {name: x.copy() for name, x in clean.items()}
        for x in dirty.values():
            x[~np.array(valid)] = np.nan
        got = [
            session.run(None, {"image": frames[0].image, **past, "past_valid": np.array(valid)})
            for past in (clean, dirty)
        ]
        assert all(np.array_equal(a, b) for a, b in zip(*got, strict=True))


class NewestOnly(LMANet):
    """Reads the newest frame alone, with a sink and a window of its own."""

    def step(self, x: Any, memory: Any, run: Any, attend: Any) -> Any:
        def about(query: Any, keys: Any, values: Any, look: Look, *, valid: Any) -> Any:
            age = memory["past"].read().age
            look = Look(tuple(5 if a == 1 else 3 for a in age), Border.MASK)
            return attend(query, keys, values, look, valid=valid & (age == 1), sink=8.0)

        return super().step(x, memory, run, about)


class Patient(LMANet):
    """Looks back only when its memory is full, which a graph does not know."""

    def step(self, x: Any, memory: Any, run: Any, attend: Any) -> Any:
        past = memory["past"].read()
        if len(past) == self.slots:
            return super().step(x, memory, run, attend)
        now = run("encode", image=x.image)
        memory["past"].push(key=now["key"], value=now["value"])
        return run("decode", features=now["features"])


class Moved(LMANet):
    def step(self, x: Any, memory: Any, run: Any, attend: Any) -> Any:
        def about(*arguments: Any, valid: Any) -> Any:
            return attend(*arguments, valid=valid, centres=np.zeros((8, 12, 2), int))

        return super().step(x, memory, run, about)


class Forgetful(LMANet):
    def step(self, x: Any, memory: Any, run: Any, attend: Any) -> Any:
        memory["past"].clear()
        return super().step(x, memory, run, attend)


class Silent(LMANet):
    def step(self, x: Any, memory: Any, run: Any, attend: Any) -> Any:
        return run("decode", features=run("encode", image=x.image)["features"])


def test_a_plan_may_know_how_old_a_slot_is(tmp_path: Path) -> None:
    assert export(SHIPPED, tmp_path / "newest.onnx", NewestOnly(3)).is_file()


def test_without_slots_there_is_no_memory(lmanet_folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(export(lmanet_folder, tmp_path / "off.onnx", LMANet(0, 5))).graph
    assert list(shapes(graph.input)) == ["image"] and list(shapes(graph.output)) == ["labels", "confidence"]


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Patient(3), r"single graph, (labels|confidence) of frame 1: .* of the pixels differ"),
        (Moved(3), "reads about centres"),
        (Forgetful(3), "clears bank 'past'"),
        (Silent(3), "a push into 'past' every frame"),
    ],
    ids=["patient", "moved", "forgetful", "silent"],
)
def test_what_one_graph_cannot_do_is_refused(plan: LMANet, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=sentence):
        export(SHIPPED, tmp_path / "graph.onnx", plan)  # random weights hardly say where their labels differ
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_from_the_stream_replaces_nothing(
    lmanet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph.onnx"
    path.write_text("older")
    honest = single_graph.attend_tiles
    monkeypatch.setattr(single_graph, "attend_tiles", lambda *x, **more: 3 - honest(*x, **more))
    with pytest.raises(StageError, match="of frame 1"):  # the first that looks back
        export(lmanet_folder, path)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_a_size_or_file_that_does_not_fit_is_refused(lmanet_folder: Path, tmp_path: Path) -> None:
    card = load_card(lmanet_folder)
    with pytest.raises(StageError, match="multiples of 8 px, got 97x64"):
        single_graph.export_single_graph(torch.nn.ModuleDict(), LMANet(), card, tmp_path / "x.onnx", (64, 97))
    with pytest.raises(StageError, match="is a folder"):
        single_graph.export_single_graph(torch.nn.ModuleDict(), LMANet(), card, tmp_path)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize(("size", "window"), [((1, 1), 3), ((9, 17), 5), ((5, 6), 21)])
def test_the_read_alone_equals_the_definition(size: tuple[int, int], window: int, border: Border) -> None:
    arrays, look = random(*size, slots=3, heads=2, dk=4, dv=6), Look(window, border, scale=0.7)
    read = single_graph.read_as_onnx(*size, 3, look, 4, 6, heads=2, threads=1)
    assert error(read(*arrays), arrays, look) < 1e-5
    valid = np.array([True, False, True])
    assert error(read(*arrays, valid), arrays, look, valid) < 1e-5
    assert (read(*arrays, np.zeros(3, bool)) == 0).all()
    look = replace(look, window=(window, 1, 3))
    assert error(single_graph.read_as_onnx(*size, 3, look, 4, 6, heads=2)(*arrays), arrays, look) < 1e-5
