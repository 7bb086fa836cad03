"""What the trainer tells the outside: how a stage begins, its records of training and validation, and how it went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from chandler.measures import gain


class Callback:
    """Hears what the trainer does, on rank 0 (of warnings on every rank that sees one); to be overridden where it matters."""

    def on_stage_begin(self, plan: StagePlan) -> None:
        """A stage starts, or goes on from a saved state."""

    def on_step(self, record: dict[str, Any]) -> None:
        """Mean losses, gradient norm, learning rate and speed since the last record, every `log_every` steps."""

    def on_validating(self, done: int, total: int) -> None:
        """Progress within a validation, in windows."""

    def on_validation(self, record: dict[str, Any]) -> None:
        """Scores of a validation, and whether they are the best so far."""

    def on_warning(self, text: str) -> None:
        """Something a person should know."""

    def on_stage_end(self, stage: str, result: StageResult) -> None:
        """A stage is over."""


@dataclass(frozen=True)
class StagePlan:
    """What a stage is about to do."""

    stage: str
    epochs: int
    steps: int
    """Optimiser steps of all epochs."""
    windows: int
    """Of an epoch."""
    done: int | None
    """Steps done in the saved state that it goes on from; None: there is none."""


@dataclass(frozen=True)
class StageResult:
    """How a stage went."""

    measure: str
    """The validation measure that chose the checkpoint; `measures.RISING` says which way is better."""
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
    """Why training may have done harm although its loss fell; see `OverfittingMonitor`."""
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


def verdict(stage: str, result: StageResult) -> str:
    """One plain sentence: did training beat the starting weights?"""
    if result.improved:
        text = (
            f"{stage}: validation {result.measure} {result.start:.5g} at step 0, {result.best:.5g} at its best "
            f"(step {result.best_step}), {gain(result.measure, result.start, result.best)}"
        )
    else:
        text = (
            f"{stage}: no checkpoint beat the starting weights (validation {result.measure} {result.start:.5g}); "
            "the starting weights are kept"
        )
    text += " (stopped early: patience)" if result.stopped_early else ""
    if result.measure in ("crps", "rank_ic"):
        text += f"; chosen by {result.measure} of real forecasts"
        if result.improved:
            text += f", at which nll went {result.at_start['nll']:.5g} -> {result.at_best['nll']:.5g}"
    if result.skipped:
        text += f"; {result.skipped} step{'s' if result.skipped > 1 else ''} left out, not finite"
    if result.replay_start is not None and result.replay_best is not None:
        loss = result.replay_best - result.replay_start
        text += f"; on the replayed bars {result.replay_start:.5g} -> {result.replay_best:.5g}"
        text += f", {loss:.3g} forgotten" if loss > 0 else ", nothing forgotten"
    return text + "."
