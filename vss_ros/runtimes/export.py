# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stages to ONNX files and back: weights keep their names and batch norms stay, so training can go on from them."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from onnx import numpy_helper
from torch import Tensor, nn

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import CardError, StageError
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.core.stage import Dim, StageSpec, TensorSpec
from vss_ros.runtimes.onnx import OnnxRuntime
from vss_ros.runtimes.torch import TorchRuntime

log = logging.getLogger(__name__)

_OPSET = 17  # the newest that TensorRT 8.5 parses
_TOLERANCE = 2e-3  # float32 tensors of a stage, relative to their largest value
_DISAGREEMENT = 1e-3  # share of label pixels that may fall to the other side of a tie


class _Unbatched(nn.Module):
    """A stage as its file runs it: no batch axis, only the outputs that the plan reads, in the order of the spec."""

    def __init__(self, stage: nn.Module, spec: StageSpec) -> None:
        super().__init__()
        self.stage, self.spec = stage, spec

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        named = {t.name: x.unsqueeze(0) for t, x in zip(self.spec.inputs, inputs, strict=True)}
        outputs = self.stage(**named)
        return tuple(_first(outputs[t.name], t) for t in self.spec.outputs)


def _first(x: Tensor, spec: TensorSpec) -> Tensor:
    """The only entry of a batch."""
    # of a list the exporter cannot tell that there is but one, and would have the file ask: an If that no runtime likes
    return x.flatten(0, 1) if spec.is_list else x.squeeze(0)


def export_stage(stage: nn.Module, spec: StageSpec, path: Path, size: tuple[int, int]) -> None:
    """Write one stage to an ONNX file with free height and width.

    Args:
        stage: batched module.
        spec: names and shapes.
        path: file to write.
        size: `(height, width)` px that the tracer runs at.
    """
    example = tuple(torch.zeros(t.at(*size), dtype=getattr(torch, t.dtype)) for t in spec.inputs)
    free = {
        t.name: {axis: _axis_name(dim) for axis, dim in enumerate(t.shape) if isinstance(dim, str)}
        for t in (*spec.inputs, *spec.outputs)
    }
    trace(
        _Unbatched(stage.eval(), spec),
        example,
        path,
        ([t.name for t in spec.inputs], [t.name for t in spec.outputs]),
        dynamic_axes=free,
        training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would fold the batch norms away
        # folding would join weights and lose their names; runtimes fold when they load a file
        do_constant_folding=False,
    )
    graph = onnx.load(path)
    _strip_prefix(graph.graph, "stage.")
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def trace(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, names: tuple[Sequence[str], Sequence[str]], **more: Any
) -> None:
    """Write a module to an ONNX file.

    Args:
        module: from tensors to a tuple of tensors.
        example: what it is run on.
        path: file to write.
        names: of its inputs and of its outputs.
        more: for `torch.onnx.export`.
    """
    # the exporter that torch prefers renames weights and folds batch norms; this one keeps them and says it is old
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=names[0],
            output_names=names[1],
            opset_version=_OPSET,
            dynamo=False,
            **more,
        )


def _axis_name(dim: Dim) -> str:
    return str(dim).replace("% of ", "_percent_of_").replace("*", "_times_").replace("/", "_over_")


def _strip_prefix(graph: Any, prefix: str) -> None:
    """Name the weights as the stage's own state dict does."""
    for initializer in graph.initializer:
        initializer.name = initializer.name.removeprefix(prefix)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = name.removeprefix(prefix)


def export_model(
    stages: nn.ModuleDict, plan: TemporalMethod, host: Host, card: Mapping[str, Any], folder: Path
) -> ModelCard:
    """Write a model folder, run it once at two sizes beside torch, and only then put it in place.

    Args:
        stages: modules by stage name.
        plan: the method.
        host: the host it stands on.
        card: content of the card without `stages`.
        folder: `models/<name>`; an older one of that name is replaced.

    Raises:
        StageError: a file does not give what its module gives; nothing is replaced then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as scratch:
        made = Path(scratch)
        specs = plan.stages(host)
        files = {}
        for spec in specs:
            path = made / f"{spec.name}.onnx"
            export_stage(stages[spec.name], spec, path, tuple(card["input_size"]))
            files[spec.name] = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        content = {**card, "stages": files}
        (made / "card.yaml").write_text(_card_text(content), encoding="utf-8")
        check_export(stages, specs, ModelCard.from_mapping(content, made))
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.onnx"):
            old.unlink()
        for path in made.iterdir():
            path.replace(folder / path.name)
    return ModelCard.from_mapping(content, folder)


def write_entries(card: ModelCard, **entries: Mapping[str, Any]) -> ModelCard:
    """Replace entries in the card of an exported model, such as `results`; its stage files stay as they are."""
    path = card.folder / "card.yaml"
    content = {**yaml.safe_load(path.read_text(encoding="utf-8")), **{key: dict(x) for key, x in entries.items()}}
    path.write_text(_card_text(content), encoding="utf-8")
    return ModelCard.from_mapping(content, card.folder)


def _card_text(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)


def check_export(stages: nn.ModuleDict, specs: tuple[StageSpec, ...], card: ModelCard) -> None:
    """Every stage in ONNX Runtime against its module, at the card's size and at another.

    Raises:
        StageError: a tensor differs by more than rounding explains.
    """
    runtimes = OnnxRuntime(card, specs), TorchRuntime(stages, specs)
    has_lists = any(t.is_list for spec in specs for t in spec.outputs)
    rng = np.random.default_rng(0)
    for size in (card.input_size, (card.input_size[0] // 2 // 8 * 8, card.input_size[1])):
        try:
            _compare_stages(*runtimes, specs, size, rng)
        except StageError:
            if not has_lists:
                raise
            # of two cells that are nearly equal rounding decides which one is listed; in the next picture none are
            _compare_stages(*runtimes, specs, size, rng)


def _compare_stages(
    ours: OnnxRuntime, reference: TorchRuntime, specs: Sequence[StageSpec], size: tuple[int, int], rng: Any
) -> None:
    known: dict[str, Any] = {}
    for spec in specs:
        for t in spec.inputs:
            fresh = rng.integers(0, 256, t.at(*size)) if t.dtype == "uint8" else rng.standard_normal(t.at(*size))
            known.setdefault(t.name, fresh.astype(t.dtype))
        inputs = {t.name: np.ascontiguousarray(known[t.name]) for t in spec.inputs}
        got = ours.run(spec.name, **inputs)
        want = reference.run(spec.name, **{name: torch.from_numpy(x) for name, x in inputs.items()})
        for t in spec.outputs:
            compare(f"{spec.name}.{t.name} at {size}", got[t.name], reference.download(want[t.name]))
            known[t.name] = got[t.name]


def compare(name: str, got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> None:
    """A tensor of an exported file against torch's; of confidence one step of 1/255 is rounding.

    Raises:
        StageError: they differ by more than rounding explains.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        raise StageError(f"{name}: torch gives {want.shape} {want.dtype}, the file gives {got.shape} {got.dtype}")
    if got.dtype == np.uint8:
        differ = float(np.mean(np.abs(got.astype(int) - want.astype(int)) > (1 if "confidence" in name else 0)))
        if differ > _DISAGREEMENT:
            raise StageError(
                f"{name}: {differ:.2%} of the pixels differ from torch, at most {_DISAGREEMENT:.2%} is rounding"
            )
        return
    error = float(np.abs(got - want).max() / max(float(np.abs(want).max()), 1e-9))
    if error > _TOLERANCE:
        raise StageError(f"{name}: error {error:.1e} relative to torch, at most {_TOLERANCE:.0e} is rounding")


def read_weights(card: ModelCard) -> dict[str, Tensor]:
    """All weights of a model folder by `stage.parameter` name, as the stages' state dict names them.

    Raises:
        CardError: a file is missing or damaged.
    """
    weights: dict[str, Tensor] = {}
    for stage in card.stages:
        for initializer in onnx.load(card.stage_path(stage)).graph.initializer:
            weights[f"{stage}.{initializer.name}"] = torch.from_numpy(numpy_helper.to_array(initializer).copy())
    return weights


def load_weights(
    stages: nn.ModuleDict, card: ModelCard, *, partly: bool = False, called: Callable[[str], str] = str
) -> None:
    """Put a model folder's weights into modules.

    Args:
        stages: modules by stage name.
        card: of the model.
        partly: weights may be missing, as when a method is put on a host.
        called: the name that a weight of these modules has in the model, where it is another one.

    Raises:
        CardError: a weight has another shape, or (unless `partly`) one is missing.
    """
    weights, state = read_weights(card), stages.state_dict()
    for own_name, tensor in state.items():
        if own_name.endswith("num_batches_tracked"):
            continue
        name = called(own_name)
        if name not in weights:
            if partly:
                continue
            raise CardError(f"model '{card.name}' has no weight '{name}'; its files are of another method or net")
        if weights[name].shape != tensor.shape:
            raise CardError(
                f"weight '{name}' wants {tuple(tensor.shape)}, model '{card.name}' has {tuple(weights[name].shape)}"
            )
        tensor.copy_(weights[name])
