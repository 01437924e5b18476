# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who steps in bench/gpu.py: streams on a GPU, each on a runtime of its own."""

from __future__ import annotations

import copy
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from attention_torch_peers import correlation_sampler, three_passes, unfolded
from gpu_smoke import CpuDevice

from vss_ros.assemble import Model, load_card, load_model, load_settings, loaded_stages, plan_for
from vss_ros.core.frame import Frame
from vss_ros.core.method import Runtime, StepInput
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.resize import resize
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.tensorrt.device_torch import TorchDevice
from vss_ros.runtimes.torch import TorchRuntime
from vss_ros.runtimes.torch_cuda import TorchCudaRuntime

PERIOD_NS = 33_333_333
OURS = "ours: half, graphs"


@dataclass(frozen=True)
class Problem:
    """What is run.

    Attributes:
        size: `(height, width)` px of the picture.
        turns: frames that are timed.
        smoke: on the CPU, tiny, only to see that it runs.
        model: the method.
        twin: the same network on single frames.
    """

    size: tuple[int, int] = (512, 1024)
    turns: int = 100
    smoke: bool = False
    model: str = "lmanet_erfnet_camvid"
    twin: str = "single_erfnet_camvid"

    @functools.cached_property
    def frames(self) -> list[Frame]:
        """Pictures of a drive, which a stream is fed over and over."""
        count = 3 if self.smoke else 8
        return [Frame(0, f.image) for f in SyntheticDrive(1, size=self.size, frames=count, motion=False)]

    def plan(self, name: str) -> Any:
        """The card's plan; a small window in smoke."""
        card = load_card(name)
        plan: Any = plan_for(card.method, card.options)
        return replace(plan, slots=2, window=5) if self.smoke and hasattr(plan, "window") else plan

    def device(self) -> Any:
        """A stream of its own on the GPU.

        Raises:
            RuntimeError: there is no GPU, and this is no smoke test.
        """
        if self.smoke:
            return CpuDevice()
        if not torch.cuda.is_available():
            raise RuntimeError("a CUDA device was wanted, torch finds none")
        return TorchDevice()


@functools.cache
def weights(problem: Problem, name: str) -> Any:
    """A model's modules in float32 on the CPU; who runs them takes a copy."""
    return loaded_stages(load_card(name), problem.plan(name))


class Eager:
    """A runtime without its own way to run steps: stage by stage, each call from Python."""

    def __init__(self, runtime: Any) -> None:
        self.name, self._runtime = f"{runtime.name}, eager", runtime
        self.run, self.attend, self.empty = runtime.run, runtime.attend, runtime.empty
        self.upload, self.download = runtime.upload, runtime.download


class Reading(TorchCudaRuntime):
    """Reads the memory as another one would."""

    peer: Callable[..., Callable[[], Any]]

    @torch.inference_mode()
    def attend(self, query: Any, keys: Any, values: Any, look: Any, *, valid: Any = None, **_: Any) -> Any:
        self._device.stream()
        slots = torch.from_numpy(np.flatnonzero(valid)).to(keys.device)
        seen = type(self).peer(query, keys[slots], values[slots], look)()
        return seen.to(values.dtype)


class UnfoldReading(Reading):
    """LMANet's structure, the correlation volume of all displacements by unfolding the picture once."""

    peer = staticmethod(lambda query, *more: unfolded(query, *more, band=query.shape[0]))


class ShiftReading(Reading):
    """LMANet's structure, the correlation volume displacement by displacement: three passes through memory."""

    peer = staticmethod(three_passes)


class SamplerReading(Reading):
    """LMANet's structure with the correlation of spatial-correlation-sampler."""

    peer = staticmethod(correlation_sampler)


def compiled(runtime: TorchCudaRuntime, problem: Problem) -> TorchCudaRuntime:
    """The same, its stages compiled by torch; not in smoke, where that would take longer than all else."""
    for stage in runtime._stages.values():
        stage.compile(dynamic=False, disable=problem.smoke)
    return runtime


def stream_on(problem: Problem, name: str, runtime: Any, **changes: Any) -> StreamSegmenter:
    """A stream of a model on a runtime; `changes` are of the plan."""
    card = load_card(name)
    options = StreamOptions(card.input_size, input_size=problem.size, output_size="model", max_gap_s=3600.0)
    return StreamSegmenter(replace(problem.plan(name), **changes), card.host, runtime, options, resize=resize)


def torch_runtime(problem: Problem, name: str, kind: type[TorchCudaRuntime] = TorchCudaRuntime, **more: Any) -> Any:
    """A runtime of a model's stages in half precision on a stream of its own; float32 in smoke."""
    plan, card = problem.plan(name), load_card(name)
    specs = plan.stages(card.host)
    half = more.pop("half", not problem.smoke)
    return kind(weights(problem, name), specs, half=half, device=problem.device(), **more)


def plain_torch(problem: Problem, name: str) -> Runtime:
    """Float32 as torch runs it by itself."""
    card, plan = load_card(name), problem.plan(name)
    return TorchRuntime(
        copy.deepcopy(weights(problem, name)), plan.stages(card.host), device=problem.device().where.type
    )


def contenders(problem: Problem) -> Iterator[tuple[str, Callable[[], StreamSegmenter]]]:
    """Names, and what makes a stream; the reference first, and ours second."""
    model, twin = problem.model, problem.twin

    def stream(kind: type[TorchCudaRuntime] = TorchCudaRuntime, wrap: Any = None, name: str = model) -> StreamSegmenter:
        runtime = torch_runtime(problem, name, kind)
        return stream_on(problem, name, runtime if wrap is None else wrap(runtime))

    yield "eager torch, float32", lambda: stream_on(problem, model, plain_torch(problem, model))
    yield OURS, stream
    yield "twin: half, graphs", lambda: stream(name=twin)
    yield "memory off: half, graphs", lambda: stream_on(problem, model, torch_runtime(problem, model), slots=0)
    yield "eager torch, half", lambda: stream(wrap=Eager)
    yield "twin: eager torch, half", lambda: stream(wrap=Eager, name=twin)
    yield "torch.compile, half", lambda: stream(wrap=lambda runtime: Eager(compiled(runtime, problem)))
    yield "torch.compile, half, graphs", lambda: stream(wrap=lambda runtime: compiled(runtime, problem))
    yield "LMANet's structure, unfold, half, eager", lambda: stream(UnfoldReading, Eager)
    yield "LMANet's structure, shifts, half, eager", lambda: stream(ShiftReading, Eager)
    yield "LMANet's structure, correlation-sampler, half, eager", lambda: stream(SamplerReading, Eager)


def tensorrt_model(problem: Problem, precision: str) -> Model:
    """The model on engines that agree with the reference on the golden frames."""
    height, width = problem.size
    values = {"model.name": problem.model, "model.input_size": f"{width}x{height}", "output.size": "model"}
    more = {"runtime.backend": "tensorrt", "runtime.precision": precision, "memory.max_gap_s": 3600.0}
    return load_model(load_settings(values={**values, **more}))


class Feeder:
    """Feeds streams with the problem's frames, whose stamps go on."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._count = problem, 0

    def next(self) -> Frame:
        self._count += 1
        frames = self._problem.frames
        return replace(frames[self._count % len(frames)], stamp_ns=self._count * PERIOD_NS)


def warmed(problem: Problem, stream: StreamSegmenter) -> Feeder:
    """Run a stream until its memory is full and every place of it was seen twice."""
    feeder = Feeder(problem)
    for _ in range(3 * (getattr(stream._plan, "slots", 0) + 2)):
        stream(feeder.next())
    return feeder


def step_times(problem: Problem, stream: StreamSegmenter) -> dict[str, float]:
    """Medians in ms: of a frame from picture to labels on the host (`total`), and of its step (`infer`).

    With graphs also of the step on the GPU (`device`), and the rest of the frame (`host`).
    """
    feeder, spent = warmed(problem, stream), []
    for _ in range(problem.turns):
        spent.append(stream(feeder.next()).times_ms)
    found = {name: statistics.median(times[name] for times in spent) for name in ("total", "infer")}
    step = stream._stepper
    if isinstance(step, GraphedStep):
        device_ms = queued_ms(problem, step)
        found |= {"device": device_ms, "host": found["total"] - device_ms, "graphs": float(step.graphs)}
    return found


def queued_ms(problem: Problem, step: GraphedStep) -> float:
    """Of one step on the device, when many are queued and nothing waits."""
    x = StepInput(problem.frames[0].image)
    step(x)
    began = time.perf_counter()
    for _ in range(problem.turns):
        step.begin(x)
    step.finish()
    return 1e3 * (time.perf_counter() - began) / problem.turns


def steps_at_once(problem: Problem, cameras: int) -> list[GraphedStep]:
    """A stepper for each camera, on streams of the GPU of their own, with graphs."""
    made = []
    for _ in range(cameras):
        stream = stream_on(problem, problem.model, torch_runtime(problem, problem.model))
        warmed(problem, stream)
        step = stream._stepper
        assert isinstance(step, GraphedStep)
        made.append(step)
    return made
