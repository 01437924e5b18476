# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Runs a recipe: phases of epochs, resumable after each, keeping an average of the weights."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vss_ros.core.errors import TrainError
from vss_ros.core.frame import UNLABELLED
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.train.clips import PhaseClips
from vss_ros.train.recipe import Phase, Recipe
from vss_ros.train.unroll import unroll

log = logging.getLogger(__name__)


@dataclass
class Training:
    """A recipe with the objects it names, and where its checkpoints lie.

    Attributes:
        recipe: what to do.
        plan: the method.
        host: the host it stands on.
        stages: modules by stage name; trained in place.
        pixels: training pixels of each class, for the weights of the cross entropy.
        folder: for `checkpoint.pt` and `log.jsonl`.
        measure: called with the averaged stages after an epoch; its figures go into the log.
    """

    recipe: Recipe
    plan: TemporalMethod
    host: Host
    stages: nn.ModuleDict
    pixels: Sequence[int]
    folder: Path
    measure: Callable[[nn.ModuleDict], dict[str, float]] | None = None
    measure_every: int = 10
    finished: bool = field(default=False, init=False)  # whether the last run came to the recipe's end

    def run(self, data: Path | None, *, minutes: float | None = None) -> nn.ModuleDict:
        """Train until the recipe ends or `minutes` have gone; returns the averaged stages, in eval mode."""
        started = time.monotonic()
        torch.manual_seed(self.recipe.seed)
        self.stages.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        averaged = AveragedModel(self.stages, multi_avg_fn=_warm_average(self.recipe.averaging), use_buffers=True)
        done = self._resume(averaged)
        for number, phase in enumerate(self.recipe.phases):
            clips = PhaseClips(self.recipe, phase, data) if done < self._epochs_until(number + 1) else None
            optimiser, schedule = self._optimiser(phase, len(clips) if clips else phase.batch)
            for epoch in range(phase.epochs):
                overall = self._epochs_until(number) + epoch
                if overall < done or clips is None:
                    continue
                self._load_optimiser(optimiser, schedule, number)
                clips.epoch = epoch
                begun = time.monotonic()
                loss = self._epoch(phase, clips, optimiser, schedule, averaged)
                figures: dict[str, Any] = {
                    "phase": number,
                    "epoch": epoch,
                    "loss": loss,
                    "lr": schedule.get_last_lr()[0],
                }
                figures["epoch_s"] = round(time.monotonic() - begun, 1)
                last = overall + 1 == self._epochs_until(len(self.recipe.phases))
                if self.measure and (last or (overall + 1) % self.measure_every == 0):
                    figures |= self.measure(_stages(averaged))
                self._save(averaged, optimiser, schedule, overall + 1, figures)
                if minutes is not None and (time.monotonic() - started) / 60 > minutes:
                    self.finished = last
                    log.warning("stopped after %d of %d epochs: time is up", overall + 1, self._epochs_until(None))
                    return _stages(averaged).eval()
        self.finished = True
        return _stages(averaged).eval()

    def _epochs_until(self, phase: int | None) -> int:
        return sum(p.epochs for p in self.recipe.phases[:phase])

    def _optimiser(self, phase: Phase, samples: int) -> tuple[torch.optim.Optimizer, Any]:
        _freeze(self.stages, phase.trains)
        moving = [p for p in self.stages.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(moving, lr=phase.rate, weight_decay=self.recipe.weight_decay)
        steps = phase.epochs * (samples // phase.batch)
        return optimiser, torch.optim.lr_scheduler.OneCycleLR(
            optimiser, phase.rate, total_steps=steps + 1, pct_start=0.15
        )

    def _epoch(
        self, phase: Phase, clips: PhaseClips, optimiser: torch.optim.Optimizer, schedule: Any, averaged: AveragedModel
    ) -> float:
        _freeze(self.stages, phase.trains)
        weights = class_weights(self.pixels, phase.balance)
        total, count = 0.0, 0
        for images, labels in clips.batches():
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = unroll(self.plan, self.host, self.stages, images)
            loss = F.cross_entropy(logits.float(), labels.long(), weights, ignore_index=UNLABELLED)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([p for p in self.stages.parameters() if p.requires_grad], 5.0)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(self.stages)
            total, count = total + loss.item(), count + 1
        if not total / count < float("inf"):
            raise TrainError(f"the loss became {total / count}; lower the rate of phase {phase}")
        return total / count

    def _resume(self, averaged: AveragedModel) -> int:
        self._state: dict[str, Any] | None = None
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return 0
        self._state = torch.load(path, weights_only=True)
        if self._state["recipe"] != repr(self.recipe):
            raise TrainError(f"{path} was written by another recipe; name another folder or remove it")
        self.stages.load_state_dict(self._state["stages"])
        averaged.load_state_dict(self._state["averaged"])
        torch.set_rng_state(self._state["rng"])
        log.info("resumed after epoch %d", self._state["done"])
        return int(self._state["done"])

    def _load_optimiser(self, optimiser: torch.optim.Optimizer, schedule: Any, number: int) -> None:
        """Go on with the checkpoint's optimiser, if it is of this phase: a new phase starts with a fresh one."""
        state, self._state = self._state, None
        if state is not None and state["phase"] == number:
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])

    def _save(
        self,
        averaged: AveragedModel,
        optimiser: torch.optim.Optimizer,
        schedule: Any,
        done: int,
        figures: dict[str, Any],
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": repr(self.recipe),
            "done": done,
            "stages": self.stages.state_dict(),
            "averaged": averaged.state_dict(),
            "optimiser": optimiser.state_dict(),
            "phase": figures["phase"],
            "schedule": schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(figures) + "\n")
        log.info("%s", figures)


def _stages(averaged: AveragedModel) -> nn.ModuleDict:
    assert isinstance(averaged.module, nn.ModuleDict)
    return averaged.module


def _freeze(stages: nn.ModuleDict, trains: Sequence[str]) -> None:
    """Let only `trains` move; what is frozen is in eval mode, so its batch norms and dropout stand still too."""
    stages.train()
    if not trains:
        return
    for name, module in stages.named_modules():
        if name and not any(name.startswith(prefix) or prefix.startswith(name) for prefix in trains):
            module.eval()
    for name, parameter in stages.named_parameters():
        parameter.requires_grad_(any(name.startswith(prefix) for prefix in trains))


def _warm_average(decay: float) -> Any:
    """An exponential average that follows quickly at first, so that the first epochs do not linger in it."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(warm)(averaged, current, updates)

    return update


def class_weights(pixels: Sequence[int], balance: float) -> Tensor:
    """`(K,)` float32: ENet's weights 1 / ln(balance + share of pixels) (Paszke et al., 2016, there 1.02)."""
    counts = torch.tensor(pixels, dtype=torch.float32)
    return 1.0 / torch.log(balance + counts / counts.sum())
