# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The methods of which no trained model is shipped, on random weights, each beside its host alone."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpu_contenders import Eager, Feeder, Problem

from vss_ros.assemble import build_stages, host_named, plan_for
from vss_ros.core.method import Host, KeyframeMethod
from vss_ros.core.motion import ZeroMotion
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.core.share import share_folder
from vss_ros.runtimes.graphed import GraphedStep
from vss_ros.runtimes.torch_cuda import TorchCudaRuntime
from vss_ros.train.recipe import load_recipe

RECIPES = (
    *("stt_erfnet_camvid", "ssltm_erfnet_camvid", "arseg_erfnet_camvid"),
    *("stt_bisenet18_camvid", "arseg_bisenet18_camvid"),
)
SMOKE_RECIPES = RECIPES[:3]


@dataclass(frozen=True)
class Candidate:
    """A method on a host, on a runtime of its own."""

    plan: Any
    host: Host
    runtime: TorchCudaRuntime

    @property
    def period(self) -> int:
        """Frames from a keyframe to the next."""
        return self.plan.period if isinstance(self.plan, KeyframeMethod) else 1

    def stream(self, problem: Problem, runtime: Any) -> StreamSegmenter:
        options = StreamOptions(problem.size, input_size=problem.size, output_size="model", max_gap_s=3600.0)
        return StreamSegmenter(self.plan, self.host, runtime, options, motion=ZeroMotion())


def candidate(problem: Problem, recipe_name: str, *, host_alone: bool = False) -> Candidate:
    """Of a recipe, or the host of that recipe alone."""
    recipe = load_recipe(share_folder("config") / "recipes" / f"{recipe_name}.yaml")
    plan = plan_for("single", {}) if host_alone else plan_for(recipe.method, recipe.options)
    host = host_named(recipe.net)
    torch.manual_seed(0)
    stages = build_stages(plan.name, plan, recipe.net, 11, mean=recipe.mean, std=recipe.std)
    runtime = TorchCudaRuntime(stages, plan.stages(host), half=not problem.smoke, device=problem.device())
    return Candidate(plan, host, runtime)


def measure(problem: Problem, made: Candidate) -> dict[str, Any]:
    """Mean ms of a step over whole periods, graphs, and the share of labels that differ from steps without graphs."""
    stream, eager = made.stream(problem, made.runtime), made.stream(problem, Eager(made.runtime))
    warm = 3 * max(made.period, getattr(made.plan, "slots", 0) + 2)  # every kind of step has been recorded
    timed = made.period * -(-problem.turns // made.period)
    feeder, other_feeder = Feeder(problem), Feeder(problem)
    results = [stream(feeder.next()) for _ in range(warm + timed)]
    differ = [np.mean(result.labels != eager(other_feeder.next()).labels) for result in results]
    step = stream._stepper
    assert isinstance(step, GraphedStep)
    return {
        "ms": statistics.mean(result.times_ms["infer"] for result in results[warm:]),
        "graphs": step.graphs,
        "labels_differ": float(np.mean(differ)),
        "memory_mib": stream.memory_bytes / (1 << 20),
    }


def methods(problem: Problem) -> dict[str, Any]:
    """Figures by recipe, or the error of one; `over_host` compares the step with its host's."""
    found: dict[str, Any] = {}
    hosts_ms: dict[str, float] = {}
    for name in SMOKE_RECIPES if problem.smoke else RECIPES:
        try:
            made = candidate(problem, name)
            if made.host.name not in hosts_ms:
                alone = candidate(problem, name, host_alone=True)
                hosts_ms[made.host.name] = measure(problem, alone)["ms"]
            rows, host_ms = measure(problem, made), hosts_ms[made.host.name]
            found[name] = {**rows, "host_ms": host_ms, "over_host": rows["ms"] / host_ms}
        except Exception as error:  # of any library; the other methods are measured all the same
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found
