"""What the loop tells the outside: records of training and validation, and how a stage went."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from chandler.devices import wide
from chandler.training.engine.checkpoints import TrainerState
from chandler.training.engine.distributed import sum_over_ranks
from chandler.training.engine.stages import Stage

if TYPE_CHECKING:
    from accelerate import Accelerator


class Callback(Protocol):
    """What the loop tells the outside, on rank 0 only: the run folder writes it down, a terminal shows it."""

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int, done: int | None) -> None:
        """A stage starts: epochs and optimiser steps planned, windows of an epoch, steps done in a saved state that it
        goes on from (None: there is none)."""

    def train(self, record: dict[str, Any]) -> None:
        """Mean losses, gradient norm, learning rate and speed since the last record."""

    def validating(self, done: int, total: int) -> None:
        """Progress within a validation, in windows."""

    def validation(self, record: dict[str, Any]) -> None:
        """Scores of a validation, and whether they are the best so far."""

    def warn(self, text: str) -> None:
        """Something a person should know; called on every rank that sees it."""

    def end(self, stage: str, result: StageResult) -> None:
        """A stage is over."""


@dataclass(frozen=True)
class StageResult:
    """How a stage went."""

    measure: str
    """The validation measure that chose the checkpoint; see `direction` for which way is better."""
    start: float
    """Its value for the starting weights, at step 0."""
    best: float
    best_step: int
    """0 when no checkpoint beat the starting weights."""
    steps: int
    """Optimiser steps taken."""
    epochs: int
    """Epochs begun."""
    stopped_early: bool
    skipped: int
    """Steps left out because their gradient was not finite."""
    seconds: float
    train_windows: int
    validation_windows: int
    at_start: dict[str, float] = field(default_factory=dict)
    """All validation measures of the starting weights."""
    at_best: dict[str, float] = field(default_factory=dict)
    """The same at the best step."""
    warning: str | None = None
    """Why training may have done harm although its loss fell; see `Watch`."""
    replay_start: float | None = None
    """The loss measure on validation windows of the replay store at step 0; None without replay."""
    replay_best: float | None = None
    """The same at the best step: above `replay_start`, training has made the model forget."""

    @property
    def improved(self) -> bool:
        """Whether any checkpoint beat the starting weights."""
        return self.best_step > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {**asdict(self), "improved": self.improved}


class LossAverager:
    """Collects the losses of several steps, then reports their means. What is collected is part of the state."""

    def __init__(self, stage: Stage, accelerator: Accelerator, listener: Callback, state: TrainerState) -> None:
        self.stage, self.accelerator, self.listener, self.state = stage, accelerator, listener, state
        self.names: list[str] = []
        self.windows = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time that passed since the last flush out of the speed."""
        self.clock, self.windows = time.monotonic(), 0

    def means(self, losses: dict[str, Tensor]) -> list[float]:
        """The mean losses of a step over all ranks, from this rank's parts of them."""
        self.names = list(losses)
        parts = wide(torch.stack(list(losses.values())))
        means: list[float] = sum_over_ranks(self.accelerator, parts).tolist()
        return means

    def add(self, means: list[float], norm: float, windows: int) -> None:
        """Take in the mean losses of a step, its gradient norm, and how many windows this rank had."""
        self.state.watch.add(means[self.names.index("loss")])
        self.state.logged.append([*means, norm])
        self.windows += windows

    def flush(self, step: int, epoch: int, rate: Tensor | float) -> None:
        """Report the means since the last flush; nothing if every step since was skipped."""
        rows = self.state.logged
        if rows and self.accelerator.is_main_process:
            means = np.mean(rows, axis=0).tolist()
            speed = self.windows * self.accelerator.num_processes / max(time.monotonic() - self.clock, 1e-9)
            record = {"stage": self.stage.name, "kind": "train", "step": step, "epoch": epoch}
            record |= dict(zip([*self.names, "grad_norm"], means, strict=True))
            self.listener.train({**record, "lr": float(rate), "windows_per_second": speed})
        self.state.logged = []
        self.restart_clock()
