# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The whole step of a method as one ONNX file of standard operators, for runtimes that want a single file.

The method's own plan says what is in the graph: it is run twice on tensors that only know where they come from, once
with a full memory and once with an empty one, and what differs is chosen inside the graph. The read becomes dense tiles
(`attention/tiled.py`); the memory becomes inputs and outputs that the caller carries from frame to frame.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from vss_ros.attention.tiled import attend_tiles, sinks_of
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import StageError
from vss_ros.core.frame import Frame
from vss_ros.core.look import Look
from vss_ros.core.memory import BankSpec, MemoryView
from vss_ros.core.method import Host, KeyframeMethod, Outputs, StepInput, TemporalMethod
from vss_ros.core.prepare import Size
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.runtimes.export import compare, trace
from vss_ros.runtimes.torch import TorchRuntime

_NEW = "_new"  # an output of the graph that belongs into the first slot of the input it is named after
_VALID = "_valid"  # an input of the graph: which slots of a bank have been written
_SMALLEST = 32  # px; of a synthetic drive


def export_single_graph(
    stages: nn.ModuleDict, plan: TemporalMethod, card: ModelCard, path: Path, size: Size | None = None
) -> None:
    """Write the step as one file, stream a synthetic drive through it and through torch, and only then put it in place.

    Inputs are `image` `(H, W, 3)` uint8 RGB and, for each bank and tensor, `<bank>_<tensor>` `(slots, ...)` and
    `<bank>_valid` `(slots,)` bool, the newest slot first. Outputs are `labels` and `confidence` `(H, W)` uint8 and
    `<bank>_<tensor>_new`, what to put into the first slot before the next frame.

    Args:
        stages: modules by stage name; put into eval mode.
        plan: the method.
        card: the model; its name, labels, colours and licence are written into the file's metadata.
        path: file to write; an older one is replaced.
        size: `(height, width)` px of the picture, None = the card's; the graph is of this size alone.

    Raises:
        StageError: the size does not fit, the plan does what one graph cannot, or the file's labels are not those of
            the stream; nothing is replaced then.
    """
    if isinstance(plan, KeyframeMethod):
        raise StageError(f"a graph is one step for all frames, '{plan.name}' has keyframes; export its stages")
    size = size or card.input_size
    stride = card.host.stride
    if size[0] % stride or size[1] % stride:
        raise StageError(f"a single graph wants a size in multiples of {stride} px, got {size[1]}x{size[0]}")
    if path.is_dir():
        raise StageError(f"a single graph wants a file to write, {path} is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as scratch:
        made = Path(scratch) / "step.onnx"
        inputs, outputs = _example(plan.banks(card.host), size), _recorded(plan, card.host)
        step = _Step(stages.eval(), list(inputs), list(outputs.values()))
        trace(step, tuple(inputs.values()), made, (list(inputs), list(outputs)))
        graph = onnx.load(made)
        onnx.helper.set_model_props(graph, _metadata(stages, plan, card, size))
        onnx.checker.check_model(graph)
        onnx.save(graph, made)
        check_single_graph(made, stages, plan, card.host, size)
        made.replace(path)


def check_single_graph(path: Path, stages: nn.ModuleDict, plan: TemporalMethod, host: Host, size: Size) -> None:
    """The file in ONNX Runtime against a stream of the stages in torch, from an empty memory until slots are reused.

    Raises:
        StageError: labels or confidence differ by more than rounding explains.
    """
    session = _session(path, threads=1)
    names = [x.name for x in session.get_outputs()]
    # whatever lies in a slot that was never written must not matter
    unwritten = {"tensor(float)": np.float32(np.nan), "tensor(uint8)": np.uint8(13), "tensor(bool)": np.False_}
    memory = {x.name: np.full(x.shape, unwritten[x.type]) for x in session.get_inputs() if x.name != "image"}
    stream = StreamSegmenter(plan, host, TorchRuntime(stages, plan.stages(host)), StreamOptions(size, input_size=size))
    frames = 2 + max((bank.slots for bank in plan.banks(host)), default=0)
    height, width = (max(length, _SMALLEST) for length in size)
    for index, frame in enumerate(SyntheticDrive(size=(height, width), frames=frames, motion=False)):
        image = np.ascontiguousarray(frame.image[: size[0], : size[1]])
        wanted = stream(Frame(frame.stamp_ns, image))
        now = dict(zip(names, session.run(names, {"image": image, **memory}), strict=True))
        for name, slots in memory.items():
            memory[name] = np.concatenate([[now.get(name + _NEW, True)], slots[:-1]])
        compare(f"single graph, labels of frame {index}", now["labels"], wanted.labels)
        compare(f"single graph, confidence of frame {index}", now["confidence"], wanted.confidence)


def read_as_onnx(
    h: int, w: int, slots: int, look: Look, dk: int, dv: int, *, heads: int = 1, threads: int = 0
) -> Callable[..., npt.NDArray[np.float32]]:
    """Local attention alone as a graph of standard operators, in ONNX Runtime.

    Args:
        h: height of the picture in cells.
        w: width of the picture in cells.
        slots: of the memory.
        look: windows, border rule and scale.
        dk: channels of query and keys.
        dv: channels of values.
        heads: of all of them.
        threads: CPU threads, 0 = all cores.

    Returns:
        A function of float32 `query` `(h, w, heads, dk)`, `keys` `(slots, h, w, heads, dk)` and `values`
        `(slots, h, w, heads, dv)`, and of `valid` `(slots,)` bool where not all slots take part, to
        `(h, w, heads, dv)` float32.
    """
    grid, valid = (h, w, heads), torch.ones(slots, dtype=torch.bool)
    example = torch.zeros(*grid, dk), torch.zeros(slots, *grid, dk), torch.zeros(slots, *grid, dv), valid
    names = ["query", "keys", "values", "valid"]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "read.onnx"
        trace(_Read(look), example, path, (names, ["seen"]))
        session = _session(path, threads)

    def read(*arrays: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        given = {"valid": valid.numpy(), **dict(zip(names, arrays, strict=False))}
        seen: npt.NDArray[np.float32] = session.run(["seen"], given)[0]
        return seen

    return read


class _Read(nn.Module):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        return attend_tiles(query.unsqueeze(0), keys.unsqueeze(1), values.unsqueeze(1), self.look, valid=valid)[0]


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _metadata(stages: nn.ModuleDict, plan: TemporalMethod, card: ModelCard, size: Size) -> dict[str, str]:
    """What a caller needs to know of the file; lists and mappings as JSON."""
    banks = {bank.name: bank.slots for bank in plan.banks(card.host)}
    return {
        "model": card.name,
        "method": card.method,
        "options": json.dumps(asdict(plan)),  # type: ignore[call-overload]  # slots and window among them
        "slots": json.dumps(banks),
        "labels": json.dumps(card.labels),
        "palette": json.dumps(card.palette),
        "input_size": f"{size[1]}x{size[0]}",
        "weights_sha256": weights_sha256(stages),
        "licence": card.licence,
    }


def weights_sha256(stages: nn.ModuleDict) -> str:
    """Of names and float values of all weights, in the order of their names; what batch norms count is left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(stages.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Given:
    """An input of the graph; `bank` is empty for the picture."""

    name: str
    bank: str = ""


@dataclass(frozen=True)
class _Made:
    """An output of a stage; equal stages of equal inputs are the same work."""

    stage: str
    inputs: tuple[tuple[str, Any], ...]
    name: str


@dataclass(frozen=True)
class _Seen:
    """A read of the memory; `slots` says which of the bank's take part when they are valid."""

    query: Any
    keys: _Given
    values: _Given
    look: Look
    slots: tuple[bool, ...]
    sink: Any


@dataclass(frozen=True)
class _Chosen:
    """The one value where any slot is valid, the other where memory is empty."""

    remembering: Any
    empty: Any


class _WholeView(MemoryView):
    """A bank in the graph is an input as a whole."""

    def at(self, slot: int, name: str) -> Any:
        bank = self.tensors[name].bank
        raise StageError(f"a plan that takes slots of bank '{bank}' one by one does not fit into a single graph")


class _Bank:
    """A bank of the graph: what it holds are inputs, what is pushed are outputs."""

    def __init__(self, spec: BankSpec, full: bool) -> None:
        self.pushed: dict[str, Any] = {}
        self._spec, self._full = spec, full

    def read(self) -> MemoryView:
        slots, bank = self._spec.slots, self._spec.name
        tensors = {t.name: _Given(f"{bank}_{t.name}", bank) for t in self._spec.tensors}
        age = np.arange(1, slots + 1) if self._full else np.zeros(slots, np.int64)
        return _WholeView(tensors, np.full(slots, self._full), age)

    def push(self, **tensors: Any) -> None:
        self.pushed = tensors

    def clear(self) -> None:
        raise StageError(f"a plan that clears bank '{self._spec.name}' by itself does not fit into a single graph")


def _recorded(plan: TemporalMethod, host: Host) -> dict[str, Any]:
    """What the plan returns and pushes, by the name of the graph's output."""
    banks = plan.banks(host)
    empty = _outputs(plan, host, full=False)
    if not any(bank.slots for bank in banks):
        return empty
    remembering = _outputs(plan, host, full=True)
    return {name: _choice(value, empty[name]) for name, value in remembering.items()}


def _outputs(plan: TemporalMethod, host: Host, *, full: bool) -> dict[str, Any]:
    """What one call of the plan returns and pushes, the memory full or empty."""
    made = {spec.name: [t.name for t in spec.outputs] for spec in plan.stages(host)}
    slots_of = {spec.name: spec.slots for spec in plan.banks(host)}

    def run(stage: str, /, **inputs: Any) -> Outputs:
        return {name: _Made(stage, tuple(inputs.items()), name) for name in made[stage]}

    def attend(
        query: Any, keys: Any, values: Any, look: Look, *, valid: Any = None, centres: Any = None, sink: Any = None
    ) -> _Seen:
        if centres is not None:
            raise StageError(
                f"method '{plan.name}' reads about centres, which a single graph cannot; export its stages"
            )
        slots = valid if valid is not None else np.ones(slots_of[keys.bank], np.bool_)
        return _Seen(query, keys, values, look, tuple(slots.tolist()), sink)

    banks = {bank.name: _Bank(bank, full) for bank in plan.banks(host)}
    outputs = plan.step(StepInput(_Given("image")), banks, run, attend)
    found = {name: outputs[name] for name in ("labels", "confidence")}
    for spec in plan.banks(host):
        if spec.slots:
            pushed = banks[spec.name].pushed
            if not pushed:
                raise StageError(
                    f"method '{plan.name}' wants to be exported with a push into '{spec.name}' every frame"
                )
            found |= {f"{spec.name}_{t.name}{_NEW}": pushed[t.name] for t in spec.tensors}
    return found


def _choice(remembering: Any, empty: Any) -> Any:
    """The choice as near to the inputs as it can be made, so that stages which both ways run are run once."""
    if remembering == empty:
        return remembering
    both_made = isinstance(remembering, _Made) and isinstance(empty, _Made)
    if both_made and (remembering.stage, remembering.name) == (empty.stage, empty.name):
        other = dict(empty.inputs)
        inputs = tuple((name, _choice(value, other[name])) for name, value in remembering.inputs)
        return _Made(remembering.stage, inputs, remembering.name)
    return _Chosen(remembering, empty)


def _example(banks: tuple[BankSpec, ...], size: Size) -> dict[str, Tensor]:
    """The graph's inputs by name: a black picture, and slots that have all been written."""
    inputs = {"image": torch.zeros(*size, 3, dtype=torch.uint8)}
    for bank in banks:
        if bank.slots:
            for t in bank.tensors:
                inputs[f"{bank.name}_{t.name}"] = torch.zeros(bank.slots, *t.at(*size), dtype=getattr(torch, t.dtype))
            inputs[f"{bank.name}{_VALID}"] = torch.ones(bank.slots, dtype=torch.bool)
    return inputs


class _Step(nn.Module):
    """Computes what was recorded, from the inputs of the graph to its outputs, neither of which has a batch axis."""

    def __init__(self, stages: nn.ModuleDict, inputs: list[str], outputs: list[Any]) -> None:
        super().__init__()
        self.stages, self.inputs, self.outputs = stages, inputs, outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        graph = _Graph(self.stages, dict(zip(self.inputs, inputs, strict=True)))
        return tuple(graph.tensor(value)[0] for value in self.outputs)


class _Graph:
    """Tensors of what was recorded, each computed once; here all have the batch axis that stages want."""

    def __init__(self, stages: nn.ModuleDict, inputs: dict[str, Tensor]) -> None:
        self._stages, self._inputs = stages, inputs
        self._tensors: dict[Any, Tensor] = {}
        self._runs: dict[Any, dict[str, Tensor]] = {}

    def tensor(self, value: Any) -> Tensor:
        if value not in self._tensors:
            self._tensors[value] = self._compute(value)
        return self._tensors[value]

    def _compute(self, value: Any) -> Tensor:
        if isinstance(value, _Given):
            return self._inputs[value.name].unsqueeze(0)
        if isinstance(value, _Made):
            return self._run(value)[value.name]
        if isinstance(value, _Seen):
            return self._attend(value)
        ways = self.tensor(value.remembering), self.tensor(value.empty)
        valid = [x for name, x in self._inputs.items() if name.endswith(_VALID)]
        return torch.where(torch.cat(valid).any(), *ways)

    def _run(self, value: _Made) -> dict[str, Tensor]:
        run = value.stage, value.inputs
        if run not in self._runs:
            self._runs[run] = self._stages[value.stage](**{name: self.tensor(x) for name, x in value.inputs})
        return self._runs[run]

    def _attend(self, value: _Seen) -> Tensor:
        query = self.tensor(value.query)
        keys, values = (self._inputs[x.name].unsqueeze(1) for x in (value.keys, value.values))
        valid = self._inputs[f"{value.keys.bank}{_VALID}"] & torch.tensor(value.slots)
        sink = self.tensor(value.sink) if isinstance(value.sink, _Made) else value.sink
        return attend_tiles(query, keys, values, value.look, valid=valid, sinks=sinks_of(sink, query))
