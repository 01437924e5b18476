# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every setting, declared once: type, default, unit, range and one sentence.

ROS parameters, `--help`, the YAML file's checks and the table in the documentation all come from these declarations.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, get_type_hints

from vss_ros.core.errors import ConfigError
from vss_ros.core.prepare import Size

Value = bool | int | float | str


def setting(
    default: Value,
    says: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field that carries its whole declaration; `live` ones may change while a node runs."""
    metadata = {"says": says, "unit": unit, "low": low, "high": high, "choices": choices, "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelSettings:
    name: str = setting("lmanet_erfnet_camvid", "Folder under models/, or a path to a model folder.")
    input_size: str = setting(
        "auto",
        "Picture size the network runs at: auto keeps the camera's aspect ratio at the model's pixel count, "
        "model takes the card's size, WxH fixes it.",
    )


@dataclass(frozen=True)
class MemorySettings:
    slots: int = setting(
        -1,
        "Past frames remembered; -1 takes the model card's number, 0 switches memory off.",
        unit="frames",
        low=-1,
        high=64,
        live=True,
    )
    window: int = setting(
        -1,
        "Side length of the square searched around each position; odd, -1 takes the model card's.",
        unit="cells",
        low=-1,
        high=255,
        live=True,
    )
    max_gap_s: float = setting(
        0.5, "Longest pause between frames that the memory survives.", unit="s", low=0.0, high=3600.0, live=True
    )
    scene_cut: float = setting(
        0.18,
        "Change of a picture's layout and colours at once, above which the memory is cleared; 0 never looks.",
        unit="",
        low=0.0,
        high=1.0,
        live=True,
    )


@dataclass(frozen=True)
class MotionSettings:
    source: str = setting(
        "auto",
        "What tells a method with keyframes how things moved: codec (the video's own vectors), flow (found in the "
        "pictures), zero (nothing moves), auto (codec where a frame has them, else flow).",
        choices=("auto", "codec", "flow", "zero"),
    )
    keyframe_every: int = setting(
        -1,
        "Frames from one keyframe to the next, at most; -1 takes the model card's number, 1 makes all keyframes.",
        unit="frames",
        low=-1,
        high=1000,
        live=True,
    )
    keyframe_within_s: float = setting(
        2.0,
        "Longest time from one keyframe to the next; 0 does not look.",
        unit="s",
        low=0.0,
        high=3600.0,
        live=True,
    )
    unmatched_max: float = setting(
        0.4,
        "Share of a picture that the one before does not show, above which it becomes a keyframe.",
        low=0.0,
        high=1.0,
        live=True,
    )


@dataclass(frozen=True)
class OutputSettings:
    size: str = setting("camera", "Size of the published labels: camera, model or WxH.")
    points: str = setting(
        "none",
        "What makes labelled points: depth (a registered Image on depth_in), cloud (organised, on points_in), or none.",
        choices=("none", "depth", "cloud"),
    )


@dataclass(frozen=True)
class RuntimeSettings:
    backend: str = setting(
        "auto",
        "What runs the network; auto takes onnx. tensorrt has not been run on a GPU by its authors yet.",
        choices=("auto", "onnx", "tensorrt", "torch"),
    )
    precision: str = setting(
        "fp16",
        "Of the network on a GPU; int8 is TensorRT's alone, and fp16 to torch. CPUs compute in float32.",
        choices=("fp16", "fp32", "int8"),
    )
    calibration: str = setting(
        "", "Folder of consecutive pictures of the camera that int8 is calibrated on; empty takes the model's own."
    )
    workspace_mib: int = setting(
        1024, "Scratch memory of the GPU that a layer may take in a TensorRT engine.", unit="MiB", low=16, high=65536
    )
    optimization_level: int = setting(
        -1, "Effort of a TensorRT build, 0 builds fast, 5 runs fast; -1 is TensorRT's own choice.", low=-1, high=5
    )
    version_compatible: bool = setting(
        False,
        "Build engines that later versions of TensorRT, of the same major one from 8.6 on, load as well; NVIDIA says "
        "that they can be slower.",
    )
    cuda_graphs: bool = setting(
        True, "Replay whole steps as CUDA graphs; false queues their parts one by one, slower but easier to debug."
    )
    threads: int = setting(
        0,
        "CPU threads for the network and the attention kernel; 0 takes its usable cores.",
        unit="threads",
        low=0,
        high=256,
    )


@dataclass(frozen=True)
class ConfidenceSettings:
    min: float = setting(
        0.0, "Labels less probable than this become 255, unlabelled.", unit="probability", low=0.0, high=1.0, live=True
    )


@dataclass(frozen=True)
class NodeSettings:
    cameras: str = setting(
        "",
        "Names of several cameras, with commas; each has its own topics, as front/image. Empty: one camera on image.",
    )
    image_transport: str = setting(
        "raw",
        "Message type of the image topic: raw is Image, compressed is CompressedImage (JPEG, PNG, or packets of H.264 "
        "or H.265), ffmpeg is FFMPEGPacket, foxglove is CompressedVideo.",
        choices=("raw", "compressed", "ffmpeg", "foxglove"),
    )
    build_only: bool = setting(
        False, "Build TensorRT's engines for model.input_size, check them and end; the exit code says how it went."
    )
    max_age_ms: int = setting(
        0,
        "Frames whose stamp is older than this when their turn comes are dropped; 0 keeps all.",
        unit="ms",
        low=0,
        high=3_600_000,
        live=True,
    )


@dataclass(frozen=True)
class DiagnosticSettings:
    min_fps: float = setting(
        0.0,
        "Fewer labels per second than this are a warning in the diagnostics; 0 never warns.",
        unit="Hz",
        low=0.0,
        high=1000.0,
        live=True,
    )
    max_latency_ms: int = setting(
        0,
        "More time than this from arrival to labels (p95) is a warning in the diagnostics; 0 never warns.",
        unit="ms",
        low=0,
        high=3_600_000,
        live=True,
    )


@dataclass(frozen=True)
class Settings:
    """All settings, in groups; `Settings()` holds the defaults."""

    model: ModelSettings = field(default_factory=ModelSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    node: NodeSettings = field(default_factory=NodeSettings)
    diagnostics: DiagnosticSettings = field(default_factory=DiagnosticSettings)

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """These settings with some replaced; keys are dotted (`memory.slots`) or nested mappings.

        Raises:
            ConfigError: an unknown key (the nearest known one is named), a wrong type or a value out of range;
                nothing is changed then.
        """
        groups: dict[str, dict[str, Value]] = {}
        for key, value in flatten(values).items():
            good = checked(key, value)
            group, name = key.split(".")
            groups.setdefault(group, {})[name] = good
        result = replace(self, **{group: replace(getattr(self, group), **named) for group, named in groups.items()})
        parse_size(result.model.input_size, "model.input_size", ("auto", "model"))
        parse_size(result.output.size, "output.size", ("camera", "model"))
        return result

    def flat(self) -> dict[str, Value]:
        """Every setting by its dotted name."""
        return {d.key: getattr(getattr(self, d.group), d.name) for d in declarations()}


@dataclass(frozen=True)
class Declaration:
    """One setting as the faces need it."""

    group: str
    name: str
    type: type
    default: Value
    says: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    live: bool

    @property
    def key(self) -> str:
        return f"{self.group}.{self.name}"


@lru_cache(maxsize=1)
def declarations() -> tuple[Declaration, ...]:
    """All settings in the order of their declaration."""
    found = []
    for group in fields(Settings):
        kind: Any = group.default_factory
        types = get_type_hints(kind)
        found += [_declaration(group.name, f, types[f.name]) for f in fields(kind)]
    return tuple(found)


def _declaration(group: str, f: Field[Any], kind: type) -> Declaration:
    default: Any = f.default
    return Declaration(group=group, name=f.name, type=kind, default=default, **f.metadata)


def checked(key: str, value: Any) -> Value:
    """`value` in the type that `key` is declared with.

    Raises:
        ConfigError: unknown key, wrong type or out of range.
    """
    known = {d.key: d for d in declarations()}
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"there is no setting '{key}'; {hint}")
    declared = known[key]
    if declared.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value).__name__ != declared.type.__name__:  # by name: bool is an int to isinstance
        raise ConfigError(
            f"{key} wants {declared.type.__name__}, got {value!r} ({type(value).__name__}); {declared.says}"
        )
    if declared.choices and value not in declared.choices:
        raise ConfigError(f"{key} wants one of {', '.join(declared.choices)}, got '{value}'")
    low, high = declared.low, declared.high
    # `not (low <= value <= high)`, so that a NaN is refused too
    if low is not None and high is not None and not low <= value <= high:
        raise ConfigError(f"{key} wants {low:g}..{high:g} {declared.unit}, got {value}; {declared.says}")
    good: Value = value
    return good


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def parse_size(text: str, key: str, words: tuple[str, ...]) -> Size | str:
    """`(height, width)` of a text like `640x480`, or the word itself.

    Raises:
        ConfigError: neither.
    """
    if text in words:
        return text
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if match is None:
        also = f"{', '.join(words)} or " if words else ""
        raise ConfigError(f"{key} wants {also}WIDTHxHEIGHT such as 640x480, got '{text}'")
    return int(match[2]), int(match[1])
