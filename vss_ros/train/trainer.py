# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Runs a recipe: phases of epochs, resumable after each, keeping an average of the weights."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vss_ros.core.errors import TrainError
from vss_ros.core.method import Host, TemporalMethod
from vss_ros.train.board import open_board
from vss_ros.train.checkpoint import align_log, append_line, load_state, save_whole
from vss_ros.train.clips import Item, PhaseClips
from vss_ros.train.losses import class_weights
from vss_ros.train.objective import ExtraLosses, Objective, nothing_more
from vss_ros.train.progress import Observer, Pace, Progress, unobserved
from vss_ros.train.recipe import Phase, Recipe
from vss_ros.train.teacher import MeanTeacher

log = logging.getLogger(__name__)


def best_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass
class _Underway:
    """A phase that is being trained."""

    number: int
    phase: Phase
    clips: PhaseClips
    objective: Objective
    optimiser: torch.optim.Optimizer
    schedule: Any
    pace: Pace
    unlabelled: PhaseClips | None = None
    teacher: MeanTeacher | None = None

    def batches(self, epoch: int) -> Iterator[tuple[Item, Tensor | None]]:
        """Clips of each step of an epoch, and the images that nobody labelled."""
        self.clips.epoch = epoch
        if self.unlabelled is None:
            yield from ((batch, None) for batch in self.clips.batches())
            return
        self.unlabelled.epoch = epoch
        for batch, (more, *_) in zip(self.clips.batches(), self.unlabelled.batches(), strict=True):
            yield batch, more


@dataclass
class Training:
    """A recipe with the objects it names, and where its checkpoints lie.

    Attributes:
        recipe: what to do.
        plan: the method.
        host: the host it stands on.
        stages: modules by stage name; trained in place.
        pixels: training pixels of each class, for the weights of the cross entropy.
        folder: for `checkpoint.pt`, `best.pt` and `log.jsonl`.
        measure: called with the averaged stages after an epoch; its figures go into the log, and its `val_miou`
            decides which epoch is best.
        measure_every: epochs between two measurements; the last epoch is always measured.
        observe: called after each step.
        extra: losses that the method adds.
        device: `cpu` or `cuda`.
        done: epochs that a checkpoint holds.
        finished: whether the last run came to the recipe's end.
        epoch_taken: the epoch, counted from 1, whose averaged weights the last run gave back.
    """

    recipe: Recipe
    plan: TemporalMethod
    host: Host
    stages: nn.ModuleDict
    pixels: Sequence[int]
    folder: Path
    measure: Callable[[nn.ModuleDict], dict[str, float]] | None = None
    measure_every: int = 10
    observe: Observer = unobserved
    extra: ExtraLosses = nothing_more
    device: str = field(default_factory=best_device)
    done: int = field(default=0, init=False)
    finished: bool = field(default=False, init=False)
    epoch_taken: int = field(default=0, init=False)

    def run(self, data: Path | None, *, minutes: float | None = None) -> nn.ModuleDict:
        """Train until the recipe ends or `minutes` have gone.

        Returns:
            The averaged stages in eval mode, on the CPU: of the last epoch, or of the best one where the recipe has
            come to its end and says so.

        Raises:
            TrainError: a checkpoint of another recipe, a loss that is not finite, or a best epoch without a
                measurement to find it by.
        """
        if self.recipe.keep == "best" and self.measure is None:
            raise TrainError("keep 'best' wants a validation stream to choose by, got none; say --data DIR")
        started = time.monotonic()
        torch.manual_seed(self.recipe.seed)
        self.stages.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        averaged = AveragedModel(self.stages, multi_avg_fn=_warm_average(self.recipe.averaging), use_buffers=True)
        state = self._resume(averaged)
        write_board = open_board(self.folder / "tensorboard", self.done)
        for number in range(len(self.recipe.phases)):
            if self.done >= self._epochs_until(number + 1):
                continue
            under_way = self._begin(number, data, state, averaged)
            for epoch in range(self.done - self._epochs_until(number), under_way.phase.epochs):
                figures = self._epoch(under_way, epoch, averaged)
                self._save(averaged, under_way, figures)
                write_board(self.done, figures)
                if minutes is not None and (time.monotonic() - started) / 60 > minutes and self.done < self._epochs:
                    log.warning("stopped after %d of %d epochs: time is up", self.done, self._epochs)
                    return self._given_back(averaged)
        self.finished = True
        return self._given_back(averaged)

    @property
    def _epochs(self) -> int:
        return self._epochs_until(len(self.recipe.phases))

    def _epochs_until(self, phase: int) -> int:
        return sum(p.epochs for p in self.recipe.phases[:phase])

    def _begin(
        self, number: int, data: Path | None, state: dict[str, Any] | None, averaged: AveragedModel
    ) -> _Underway:
        """A phase with its data and a fresh optimiser, or the checkpoint's if it is of this phase."""
        phase = self.recipe.phases[number]
        clips = PhaseClips(self.recipe, number, data)
        _freeze(self.stages, phase.trains)
        moving = [p for p in self.stages.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(moving, lr=phase.rate, weight_decay=self.recipe.weight_decay)
        steps = phase.epochs * (len(clips) // phase.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, phase.rate, total_steps=steps + 1, pct_start=0.15)
        if state is not None and state["phase"] == number:
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
        pace = Pace(self.recipe, number, self._epochs_until(number + 1) - self.done)
        weights = class_weights(self.pixels, phase.balance).to(self.device)
        objective = Objective(self.plan, self.host, self.stages, weights, phase.jaccard, phase.auxiliary, self.extra)
        under_way = _Underway(number, phase, clips, objective, optimiser, schedule, pace)
        if phase.unlabelled:
            under_way.unlabelled = PhaseClips(self.recipe, number, data, unlabelled=True)
            under_way.teacher = MeanTeacher(self.plan, self.host, self.stages, _stages(averaged))
        return under_way

    def _epoch(self, under_way: _Underway, epoch: int, averaged: AveragedModel) -> dict[str, Any]:
        """One pass over the clips and, when it is due, a measurement; returns the epoch's line of the log."""
        begun = time.monotonic()
        phase = under_way.phase
        _freeze(self.stages, phase.trains)
        totals: Counter[str] = Counter()
        steps = len(under_way.clips) // phase.batch
        for count, (batch, unlabelled) in enumerate(under_way.batches(epoch), 1):
            done = (epoch * steps + count) / (phase.epochs * steps)
            totals.update(self._step(under_way, batch, unlabelled, done))
            averaged.update_parameters(self.stages)
            rate = under_way.schedule.get_last_lr()[0]
            place = (self.done + 1, self._epochs, count, steps)
            self.observe(Progress(*place, totals.total() / count, rate, under_way.pace.step()))
        loss = totals.total() / steps
        if not loss < float("inf"):
            raise TrainError(f"the loss of phase {under_way.number + 1} became {loss}; lower its rate of {phase.rate}")
        figures: dict[str, Any] = {"phase": under_way.number, "epoch": epoch, "loss": loss, "lr": rate}
        if len(totals) > 1:
            figures |= {f"loss_{name}": total / steps for name, total in totals.items()}
        figures["epoch_s"] = round(time.monotonic() - begun, 1)
        done_epochs = self.done + 1
        if self.measure and (done_epochs == self._epochs or done_epochs % self.measure_every == 0):
            figures |= self.measure(_stages(averaged))
        return figures

    def _step(self, under_way: _Underway, batch: Item, unlabelled: Tensor | None, done: float) -> dict[str, float]:
        """One batch, `done` of the phase; returns its losses by name."""
        images, labels, motion = batch
        motion = None if motion is None else motion.to(self.device)
        losses = under_way.objective(images.to(self.device), labels.to(self.device), motion)
        if unlabelled is not None and under_way.teacher is not None:
            losses["unlabelled"] = under_way.teacher(unlabelled.to(self.device), done)
        under_way.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_([p for p in self.stages.parameters() if p.requires_grad], 5.0)
        under_way.optimiser.step()
        under_way.schedule.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _resume(self, averaged: AveragedModel) -> dict[str, Any] | None:
        """Go on from the folder's checkpoint, if it has one."""
        path = self.folder / "checkpoint.pt"
        state = load_state(path)
        if state is None:
            align_log(self.folder / "log.jsonl", 0, {})
            return None
        if not self._may_go_on_from(state["recipe"]):
            raise TrainError(
                f"{path} was written by another recipe; name another folder, remove it, or change the recipe only by "
                "further phases"
            )
        self.stages.load_state_dict(state["stages"])
        averaged.load_state_dict(state["averaged"])
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and self.device == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])
        self.done = int(state["done"])
        align_log(self.folder / "log.jsonl", self.done, state["figures"])
        log.info("resumed after epoch %d of %d", self.done, self._epochs)
        return state

    def _may_go_on_from(self, written: str) -> bool:
        """Whether a checkpoint is of this recipe, or of its first phases: a run may go on with more."""
        phases = self.recipe.phases
        begun = (replace(self.recipe, phases=phases[:count]) for count in range(1, len(phases) + 1))
        return any(written == repr(recipe) for recipe in begun)

    def _save(self, averaged: AveragedModel, under_way: _Underway, figures: dict[str, Any]) -> None:
        done = self.done + 1
        if self.recipe.keep == "best":
            self._keep_if_best(averaged, done, figures)
        state = {
            "recipe": repr(self.recipe),
            "done": done,
            "figures": figures,
            "stages": self.stages.state_dict(),
            "averaged": averaged.state_dict(),
            "optimiser": under_way.optimiser.state_dict(),
            "phase": under_way.number,
            "schedule": under_way.schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.device == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state()
        save_whole(state, self.folder / "checkpoint.pt")
        self.done = done
        append_line(self.folder / "log.jsonl", figures)
        log.info("%s", figures)

    def _keep_if_best(self, averaged: AveragedModel, epoch: int, figures: dict[str, Any]) -> None:
        """Write `best.pt` if this epoch was measured and none before it was better."""
        best = self._best()
        if "val_miou" not in figures or (best and best["epoch"] < epoch and best["val_miou"] > figures["val_miou"]):
            return
        state = {"recipe": repr(self.recipe), "epoch": epoch, "val_miou": figures["val_miou"]}
        save_whole({**state, "stages": _stages(averaged).state_dict()}, self.folder / "best.pt")

    def _best(self) -> dict[str, Any] | None:
        best = load_state(self.folder / "best.pt")
        return best if best and self._may_go_on_from(best["recipe"]) else None

    def _given_back(self, averaged: AveragedModel) -> nn.ModuleDict:
        stages, best = _stages(averaged), None
        self.epoch_taken = self.done
        if self.finished and self.recipe.keep == "best":
            best = self._best()
        if best:
            stages.load_state_dict(best["stages"])
            self.epoch_taken = best["epoch"]
        return stages.eval().cpu()


def _stages(averaged: AveragedModel) -> nn.ModuleDict:
    assert isinstance(averaged.module, nn.ModuleDict)
    return averaged.module


def _freeze(stages: nn.ModuleDict, trains: Sequence[str]) -> None:
    """Let only `trains` move; what is frozen is in eval mode, so its batch norms and dropout stand still too."""
    stages.train()
    if trains:
        for name, module in stages.named_modules():
            if name and not any(name.startswith(prefix) or prefix.startswith(name) for prefix in trains):
                module.eval()
    for name, parameter in stages.named_parameters():
        parameter.requires_grad_(not trains or any(name.startswith(prefix) for prefix in trains))


def _warm_average(decay: float) -> Any:
    """An exponential average that follows quickly at first, so that the first epochs do not linger in it."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(warm)(averaged, current, updates)

    return update
