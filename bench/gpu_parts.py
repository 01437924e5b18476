# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The parts of bench/gpu.py; each takes the problem and gives figures, and may fail by itself."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gpu_contenders import (
    OURS,
    Eager,
    Problem,
    contenders,
    step_times,
    steps_at_once,
    stream_on,
    tensorrt_model,
    torch_runtime,
    warmed,
)
from gpu_methods import methods

from vss_ros.assemble import load_card
from vss_ros.core.look import Look
from vss_ros.core.method import StepInput
from vss_ros.core.segmenter import StreamSegmenter
from vss_ros.evaluate.machine import machine
from vss_ros.runtimes.tensorrt import api
from vss_ros.runtimes.torch import attend_on_gpu

Figures = dict[str, Any]
MIB = 1 << 20


def about(problem: Problem) -> Figures:
    """What it is measured on."""
    found: Figures = {**machine(), "cuda": torch.version.cuda, "gpu": None}
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        names = ("name", "major", "minor", "multi_processor_count", "total_memory")
        found["gpu"] = {name: getattr(gpu, name) for name in names}
    for name, ask in (("tensorrt", api.bindings), ("triton", lambda: __import__("triton"))):
        found[name] = tried(version_of, ask)
    return found


def version_of(ask: Callable[[], Any]) -> str:
    return str(getattr(ask(), "__version__", "of no version"))


def kernel(problem: Problem) -> Figures:
    """The read of the memory: right in every mode, and its time beside its peers at the published sizes."""
    import gpu_attention

    if problem.smoke:
        arrays = gpu_attention.GpuSize("", 6, 9, 2, 5, 8, 16).tensors("cpu", torch.float32)
        seen = attend_on_gpu(*arrays, Look(5), valid=None, centres=None, sink=None)
        return {"errors": {"dense": gpu_attention.error(seen, gpu_attention.definition(*arrays, Look(5)))}}
    problem.device()
    found: Figures = {"errors": gpu_attention.check_modes("cuda"), **gpu_attention.yardsticks("cuda"), "rows": []}
    for size in gpu_attention.SIZES:
        rows = tried(gpu_attention.measure, size, "cuda", 10, True)
        found["rows"] += [vars(row) for row in rows] if isinstance(rows, list) else [{"size": size.name, **rows}]
    return found


def stages(problem: Problem) -> Figures:
    """Each stage by itself, and the read between them, called from Python one after the other: ms in a step."""
    runtime = torch_runtime(problem, problem.model)
    stream = stream_on(problem, problem.model, Eager(runtime))
    feeder = warmed(problem, stream)
    wait = runtime._device.wait
    spent: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def waited(*given: Any, **more: Any) -> Any:
            wait()
            began = time.perf_counter()
            made = call(*given, **more)
            wait()
            spent.setdefault(name or given[0], []).append(1e3 * (time.perf_counter() - began))
            return made

        return waited

    eager: Any = stream._runtime
    eager.run, eager.attend = timed("", eager.run), timed("attend", eager.attend)
    for _ in range(problem.turns):
        stream(feeder.next())
    return {name: float(np.median(times)) for name, times in spent.items()}


def steps(problem: Problem) -> Figures:
    """A frame by each contender, and the share of its labels that differ from float32's."""
    found: Figures = {}
    wanted: Any = None
    for name, make in contenders(problem):
        rows = tried(stepped, problem, make)
        labels = rows.pop("labels", None)
        if wanted is None:
            wanted = labels
        if labels is not None and wanted is not None and "twin" not in name and "memory off" not in name:
            rows["labels_differ"] = float(np.mean(labels != wanted))
        found[name] = rows
    return found


def stepped(problem: Problem, make: Callable[[], StreamSegmenter]) -> Figures:
    stream = make()
    times = step_times(problem, stream)
    stream.reset()
    labels = np.stack([stream(frame).labels for frame in problem.frames])
    return {"ms": times, "labels": labels}


def cameras(problem: Problem) -> Figures:
    """Frames a second of 1, 2, 4 and 8 cameras, one after the other and on streams of the GPU of their own."""
    found: Figures = {"in turns": {}, "at once": {}}
    image = StepInput(problem.frames[0].image)
    for count in (1, 2) if problem.smoke else (1, 2, 4, 8):
        runtime = torch_runtime(problem, problem.model)
        streams = [stream_on(problem, problem.model, runtime) for _ in range(count)]
        feeders = [warmed(problem, stream) for stream in streams]
        began = time.perf_counter()
        for _ in range(problem.turns):
            for stream, feeder in zip(streams, feeders, strict=True):
                stream(feeder.next())
        found["in turns"][count] = count * problem.turns / (time.perf_counter() - began)
        at_once = steps_at_once(problem, count)
        began = time.perf_counter()
        for _ in range(problem.turns):
            for step in at_once:
                step.begin(image)
            for step in at_once:
                step.finish()
        found["at once"][count] = count * problem.turns / (time.perf_counter() - began)
    return found


def memory(problem: Problem) -> Figures:
    """Memory of the GPU that a stream with graphs takes, MiB: all, and of it the ring."""
    taken(problem, problem.model)  # libraries load their kernels at the first stream, which is not its own memory
    found: Figures = {"method": taken(problem, problem.model), "twin": taken(problem, problem.twin)}
    twin = found["twin"]["device_mib"]
    found["method_over_twin"] = found["method"]["device_mib"] / twin if twin else None
    return found


def taken(problem: Problem, name: str) -> dict[str, float]:
    before = free_bytes()
    stream = stream_on(problem, name, torch_runtime(problem, name))
    warmed(problem, stream)
    return {"device_mib": (before - free_bytes()) / MIB, "ring_mib": stream.memory_bytes / MIB}


def free_bytes() -> int:
    """Of the GPU, when torch has given back what it does not use; 0 without one."""
    gc.collect()  # streams that have ended may still hold theirs
    if not torch.cuda.is_available():
        return 0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


def tensorrt(problem: Problem) -> Figures:
    """Engines of each precision: what the golden frames say, and a frame with and without graphs."""
    found: Figures = {}
    api.bindings()
    problem.device()
    for precision in ("fp32", "fp16", "int8"):
        began = time.perf_counter()
        found[precision] = tried(with_engines, problem, precision)
        found[precision]["seconds"] = time.perf_counter() - began
    return found


def with_engines(problem: Problem, precision: str) -> Figures:
    model = tensorrt_model(problem, precision)
    stream = model.stream()
    times = step_times(problem, stream)
    eager = stream_on(problem, problem.model, Eager(stream._runtime))
    return {"says": model.engine_states(), "graphs": times, "no graphs": step_times(problem, eager)}


def tensorrt_rtx(problem: Problem) -> Figures:
    """Whether TensorRT-RTX builds each stage, and what it says of loading the engine here."""
    import tensorrt_rtx_engines

    return tensorrt_rtx_engines.validity(load_card(problem.model), problem.plan(problem.model), problem.size)


def tried(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives, or its error."""
    try:
        return call(*arguments)
    except Exception as error:  # of any library: a peer that is not installed, too little memory
        text = str(error).strip().splitlines()
        return {"error": f"{type(error).__name__}: {text[0][:300] if text else ''}"}


def targets(parts: dict[str, Any]) -> list[Figures]:
    """What the project wants of an H200 and what was measured; `met` is None where a figure is missing."""

    def ms(name: str, which: str) -> float:
        return float(parts["steps"]["result"][name]["ms"][which])

    def rate(count: int) -> float:
        return float(max(parts["cameras"]["result"][way][count] for way in ("in turns", "at once")))

    wanted: list[tuple[str, float, Callable[[], float]]] = [
        ("labels unlike float32's, share at most", 0.005, lambda: parts["steps"]["result"][OURS]["labels_differ"]),
        ("step with graphs, at most ms", 1.0, lambda: ms(OURS, "infer")),
        ("eager torch (half) over ours, at least", 3.0, lambda: ms("eager torch, half", "infer") / ms(OURS, "infer")),
        ("ours over its twin, at most", 1.10, lambda: ms(OURS, "infer") / ms("twin: half, graphs", "infer")),
        ("device memory over the twin's, at most", 1.13, lambda: parts["memory"]["result"]["method_over_twin"]),
        ("host side of a frame, at most ms", 0.3, lambda: ms(OURS, "host")),
        ("eight cameras' rate over one's, at least", 5.0, lambda: rate(8) / rate(1)),
    ]
    found = []
    for name, limit, figure in wanted:
        try:
            got = float(figure())
        except (KeyError, TypeError, ZeroDivisionError):
            found.append({"target": name, "wanted": limit, "got": None, "met": None})
            continue
        met = got >= limit if "at least" in name else got <= limit
        found.append({"target": name, "wanted": limit, "got": got, "met": met})
    return found


PARTS: dict[str, Callable[[Problem], Figures]] = {
    "about": about,
    "kernel": kernel,
    "stages": stages,
    "steps": steps,
    "cameras": cameras,
    "memory": memory,
    "methods": methods,
    "tensorrt": tensorrt,
    "tensorrt_rtx": tensorrt_rtx,
}
