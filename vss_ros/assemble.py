# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The only place where names become objects: a model's name and settings become a segmenter."""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import vss_ros.methods
from vss_ros.core.card import ModelCard
from vss_ros.core.config import Settings, parse_size
from vss_ros.core.errors import BackendError, CardError, ConfigError
from vss_ros.core.keyframes import KeyframeRules
from vss_ros.core.method import Host, KeyframeMethod, Runtime, TemporalMethod
from vss_ros.core.motion import MotionSource, ZeroMotion
from vss_ros.core.prepare import Resize, Size
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.share import share_folder
from vss_ros.runtimes.preparing import Awaited, Engines, Observe, Prepare, Prepared, Preparing

if TYPE_CHECKING:
    from vss_ros.runtimes.quantized import QuantizedStages
    from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime

log = logging.getLogger(__name__)

# settings that are options of plans; negative ones leave the card's
_OF_PLANS = {"memory.slots": "slots", "memory.window": "window", "motion.keyframe_every": "period"}
PRECISIONS = ("int8", "fp16", "fp32")  # the coarsest first
MOST_PICTURES = 32  # that int8 is calibrated on
_OF_ROS = ("use_sim_time", "qos_overrides", "start_type_description_service")  # rclpy's own, in a parameters file


@dataclass(frozen=True)
class Model:
    """A loaded model: one runtime for all streams, a memory for each."""

    card: ModelCard
    plan: TemporalMethod
    runtime: Runtime
    options: StreamOptions
    resize: Resize
    engines: Engines | None = None  # what gives the runtime of each size of picture; None = `runtime` takes all sizes
    motion: str = "auto"  # the setting `motion.source`, for a method with keyframes

    @property
    def backend(self) -> str:
        """Name of the runtime that was asked for."""
        return self.runtime.name if self.engines is None else self.engines.name

    def stream(self) -> StreamSegmenter:
        """A segmenter with an empty memory of its own."""
        return StreamSegmenter(
            *(self.plan, self.card.host, self.runtime, self.options),
            resize=self.resize,
            runtime_at=None if self.engines is None else self.engines.at,
            motion=motion_source(self.plan, self.motion),
        )

    def engine_states(self) -> dict[str, str]:
        """How far the engines of each size are, for people; empty where there are none."""
        return {} if self.engines is None else self.engines.states()

    def without_engines(self) -> Model:
        """The same model on its first runtime alone: a picture whose size is not the camera's has no engine built."""
        return replace(self, engines=None)

    def tuned(self, settings: Settings) -> Model:
        """The same model and runtime with the live ones of other settings.

        Raises:
            ConfigError: a value that can be set only when the model is loaded.
            CardError: a value that the method does not take.
        """
        plan = plan_of(self.card, settings)
        if plan.stages(self.card.host) != self.plan.stages(self.card.host):
            raise ConfigError(f"a memory for the loaded stages was wanted, got {plan}; start anew with it")
        return replace(self, plan=plan, options=stream_options(self.card, settings))


def load_settings(path: str | Path | None = None, values: Mapping[str, Any] | None = None) -> Settings:
    """Defaults, then a YAML file, then `values`.

    Raises:
        ConfigError: no such file, not a mapping, unknown keys or bad values.
    """
    settings = Settings()
    if path is not None:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"a YAML file of settings was wanted at {path}: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path} wants groups of settings such as 'memory: {{slots: 4}}', got {type(content).__name__}"
            )
        settings = settings.with_values(_without_ros(content))
    return settings.with_values(values or {})


def _without_ros(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a ROS parameters file such as config/segmenter.yaml, or of a plain one as they are."""
    settings: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and "ros__parameters" in value:
            settings |= {name: x for name, x in value["ros__parameters"].items() if name not in _OF_ROS}
        else:
            settings[key] = value
    return settings


def model_folders() -> list[Path]:
    """Folders of the models that are installed, by name; not those that a training is writing, or was killed over."""
    found = (path.parent for path in share_folder("models").glob("*/card.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith("."))


def load_card(name: str | Path) -> ModelCard:
    """The card of a model by name, or by the path of its folder.

    Raises:
        CardError: no such model, or a card that is damaged.
    """
    folder = Path(name) if (Path(name) / "card.yaml").is_file() else share_folder("models") / str(name)
    path = folder / "card.yaml"
    if not path.is_file():
        known = [f.name for f in model_folders()]
        near = difflib.get_close_matches(str(name), known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"installed are {', '.join(known) or 'none'}"
        raise CardError(f"a model folder with card.yaml was wanted for '{name}', none is there; {hint}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"{path} cannot be read: {error}; copy the model folder again") from error
    if not isinstance(values, dict):
        raise CardError(f"{path} wants a mapping, got {type(values).__name__}; copy the model folder again")
    return ModelCard.from_mapping(values, folder)


def methods() -> dict[str, type]:
    """The plans that lie under `methods/`, by folder name; a new method is a new folder."""
    names = [found.name for found in pkgutil.iter_modules(vss_ros.methods.__path__) if found.ispkg]
    return {name: importlib.import_module(f"vss_ros.methods.{name}.plan").PLAN for name in sorted(names)}


def plan_for(method: str, options: Mapping[str, Any]) -> TemporalMethod:
    """The plan of a method with its options.

    Raises:
        CardError: no such method, or options that it does not have.
    """
    known = methods()
    if method not in known:
        raise CardError(f"a method of {', '.join(known)} was wanted, got '{method}'")
    try:
        plan: TemporalMethod = known[method](**options)
    except TypeError as error:
        raise CardError(f"method '{method}' does not take {dict(options)}: {error}") from error
    return plan


def plan_of(card: ModelCard, settings: Settings) -> TemporalMethod:
    """The plan of a model as the user wants it."""
    return with_memory(plan_for(card.method, card.options), settings)


def with_memory(plan: TemporalMethod, settings: Settings) -> TemporalMethod:
    """The plan with the user's slots, window and period where it has them; they may differ from training's."""
    values: dict[str, Any] = settings.flat()
    options = {option.name for option in fields(plan)}  # type: ignore[arg-type]
    changes = {}
    for key, name in _OF_PLANS.items():
        if values[key] < 0:
            continue
        if name in options:
            changes[name] = values[key]
        else:
            log.warning("%s of %d changes nothing: method '%s' has no %s", key, values[key], plan.name, name)
    return replace(plan, **changes) if changes else plan  # type: ignore[type-var]


def load_model(settings: Settings, *, alive: bool = False) -> Model:
    """Card, plan, runtime and options of the model that `settings` names.

    Args:
        settings: what to load.
        alive: for a node, which must not stand still: while TensorRT's engines are built and checked in another thread,
            labels come from ONNX Runtime. Without it a stream waits, so that its labels come from one backend.

    Raises:
        CardError: the model folder cannot be used.
        BackendError: the backend cannot.
    """
    card = load_card(settings.model.name)
    plan = plan_of(card, settings)
    if settings.runtime.backend == "tensorrt":
        return _tensorrt_model(card, plan, settings, alive)
    of_torch, threads = settings.runtime.backend == "torch", settings.runtime.threads
    runtime = _torch_runtime(card, plan, settings) if of_torch else _onnx_runtime(card, plan, threads)
    return Model(card, plan, runtime, stream_options(card, settings), _resizer(), motion=settings.motion.source)


def stream_options(card: ModelCard, settings: Settings) -> StreamOptions:
    """The part of the settings that a stream needs."""
    wanted = parse_size(settings.model.input_size, "model.input_size", ("auto", "model"))
    fixed = card.input_size if wanted == "model" else None if wanted == "auto" else wanted
    if fixed is not None and (fixed[0] % card.host.stride or fixed[1] % card.host.stride):
        raise ConfigError(f"model.input_size wants multiples of {card.host.stride}, got {settings.model.input_size}")
    size = parse_size(settings.output.size, "output.size", ("camera", "model"))
    return StreamOptions(
        model_size=card.input_size,
        input_size=fixed,  # type: ignore[arg-type]
        output_size=None if size == "camera" else size,
        max_gap_s=settings.memory.max_gap_s,
        scene_cut=settings.memory.scene_cut,
        confidence_min=settings.confidence.min,
        keyframes=KeyframeRules(
            within_s=settings.motion.keyframe_within_s,
            unmatched_max=settings.motion.unmatched_max,
            codec=settings.motion.source in ("auto", "codec"),
        ),
    )


def motion_source(plan: TemporalMethod, name: str) -> MotionSource | None:
    """What finds the motion of frames that bring none; None for a method without keyframes, and for `codec`.

    Args:
        plan: the method.
        name: the setting `motion.source`.
    """
    if not isinstance(plan, KeyframeMethod) or name == "codec":
        return None
    if name == "zero":
        return ZeroMotion()
    from vss_ros.data.motion_flow import FlowMotion

    return FlowMotion()


def _onnx_runtime(card: ModelCard, plan: TemporalMethod, threads: int) -> Runtime:
    from vss_ros.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(card, plan.stages(card.host), threads=threads)


def _tensorrt_model(card: ModelCard, plan: TemporalMethod, settings: Settings, alive: bool) -> Model:
    options, prepare = stream_options(card, settings), engine_preparation(card, plan, settings)
    runtime: Runtime = tensorrt_runtime(card, plan, settings)  # what is missing shows itself now, not at a frame
    engines: Engines = Awaited(prepare, runtime.name)
    if alive:
        runtime = _onnx_runtime(card, plan, settings.runtime.threads)
        engines = Preparing(runtime, prepare, engines.name)
    if options.input_size is not None:  # else it is the camera's, and known at its first picture
        engines.at(options.input_size)
    return Model(card, plan, runtime, options, _resizer(), engines, settings.motion.source)


def engine_preparation(card: ModelCard, plan: TemporalMethod, settings: Settings) -> Prepare:
    """Builds TensorRT's engines for a size of picture and checks them against ONNX Runtime on the golden frames.

    What disagrees in int8 is built in fp16, and what does then in fp32.

    Raises:
        CardError: the golden frames are missing or damaged.
    """
    from vss_ros.runtimes.golden import GoldenCheck
    from vss_ros.runtimes.tensorrt.checked import checked_engines

    def make(precision: str) -> TensorRTRuntime:
        return tensorrt_runtime(card, plan, settings.with_values({"runtime.precision": precision}))

    def reference() -> Runtime:
        return _onnx_runtime(card, plan, 1)  # one thread: in a node the others are for the labels that go out meanwhile

    def prepare(size: Size, observe: Observe) -> Prepared:
        return checked_engines(card, make, precisions, check, size, observe)

    precisions = PRECISIONS[PRECISIONS.index(settings.runtime.precision) :]
    check = GoldenCheck(card, plan, reference, _resizer()) if card.golden is not None else None
    return prepare


def tensorrt_runtime(card: ModelCard, plan: TemporalMethod, settings: Settings) -> TensorRTRuntime:
    """The runtime of the first GPU, with the settings' precision and build options.

    Raises:
        BackendError: TensorRT, a GPU or an array library is missing.
    """
    from vss_ros.runtimes.tensorrt.build import BuildOptions
    from vss_ros.runtimes.tensorrt.runtime import TensorRTRuntime

    chosen = settings.runtime
    options = BuildOptions(chosen.precision, chosen.workspace_mib, chosen.optimization_level, chosen.version_compatible)
    quantized = quantized_stages(card, plan, settings) if chosen.precision == "int8" else None
    return TensorRTRuntime(card, plan.stages(card.host), options, quantized=quantized, graphs=chosen.cuda_graphs)


def quantized_stages(card: ModelCard, plan: TemporalMethod, settings: Settings) -> QuantizedStages:
    """The model's files in int8, calibrated on the pictures that the settings name, or on the golden frames.

    Raises:
        CardError: golden frames were wanted and are missing or damaged.
        DataError: there are no pictures where the settings say.
    """
    from vss_ros.data.images import ImageFolder
    from vss_ros.runtimes.golden import golden_images
    from vss_ros.runtimes.quantized import QuantizedStages

    folder = settings.runtime.calibration
    images = [f.image for f in islice(ImageFolder(folder), MOST_PICTURES)] if folder else golden_images(card)
    return QuantizedStages(card, plan, images, _resizer())


def _torch_runtime(card: ModelCard, plan: TemporalMethod, settings: Settings) -> Runtime:
    try:
        import torch

        from vss_ros.runtimes.torch import TorchRuntime

        stages = loaded_stages(card, plan)
    except ImportError as error:
        raise BackendError(f"backend 'torch' wants torch and onnx: {error}; use runtime.backend onnx") from error
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    if not torch.cuda.is_available():
        return TorchRuntime(stages, plan.stages(card.host))
    from vss_ros.runtimes.torch_cuda import TorchCudaRuntime

    half, graphs = settings.runtime.precision != "fp32", settings.runtime.cuda_graphs
    return TorchCudaRuntime(stages, plan.stages(card.host), half=half, graphs=graphs)


def loaded_stages(card: ModelCard, plan: TemporalMethod) -> Any:
    """A model's modules (`nn.ModuleDict` by stage) with the weights of its files; needs torch and onnx.

    Raises:
        CardError: the card's net is not known, or its files do not have these weights.
    """
    from vss_ros.runtimes.export import load_weights

    stages = build_stages(card.method, plan, card.host.name, len(card.labels), mean=card.mean, std=card.std)
    load_weights(stages, card)
    return stages


def _net(name: str) -> Any:
    from vss_ros.nets import NETS

    if name not in NETS:
        raise CardError(f"a net of {', '.join(NETS)} was wanted, got '{name}'")
    return NETS[name]


def host_named(net: str) -> Host:
    """What a plan needs to know of a net; needs torch.

    Raises:
        CardError: no such net.
    """
    made = _net(net)
    return Host(net, made.feature_channels, made.stride, made.classified_channels, made.classified_stride)


def build_stages(
    method: str, plan: TemporalMethod, net: str, classes: int, *, heads: bool = False, **statistics: Any
) -> Any:
    """A method's modules (`nn.ModuleDict` by stage) on a fresh net; needs torch.

    Args:
        method: name of the method.
        plan: its plan.
        net: name of the host.
        classes: number of labels.
        heads: for training: the host's auxiliary heads, where it has some, as one more entry `auxiliary`.
        statistics: mean and std of the pictures.
    """
    modules = importlib.import_module(f"vss_ros.methods.{method}.modules")
    host_net = _net(net)(classes)
    stages = modules.build_stages(plan, host_net, **statistics)
    if heads and len(host_net.auxiliary):
        stages["auxiliary"] = host_net.auxiliary
    return stages


def _resizer() -> Resize:
    from vss_ros.data.resize import resize

    return resize
