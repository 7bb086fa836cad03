"""Measures a stage as it is trained, and says what its scores so far mean: the best one, and whether training does harm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from chandler.data.datasets import Windows
from chandler.forecasting.engine import eval_mode
from chandler.measures import is_better
from chandler.nn import Kronos
from chandler.progress import Report
from chandler.text import shortened
from chandler.training.datasets import RunData, TrainingSet, to_device
from chandler.training.engine.distributed import sum_over_ranks
from chandler.training.engine.forecast_validation import ForecastScorer, aggregate_scores
from chandler.training.engine.stages import Stage

if TYPE_CHECKING:
    from accelerate import Accelerator

VALIDATIONS = 3
"""So many validations in a row without a gain are no accident."""
FALL = 0.01
"""Share of the training loss that must have gone meanwhile."""


class NonFinite(ArithmeticError):
    """A score that is no number, and the windows that made it so."""


@dataclass
class Evaluator:
    """Measures a stage on everything that it is validated on; all ranks take part and get the same scores."""

    stage: Stage
    data: RunData
    batch_size: int
    accelerator: Accelerator
    scorer: ForecastScorer | None = None
    """Scores forecasts beside the likelihood."""
    report: Report = lambda done, total: None
    """Called with windows done and windows in all."""

    def evaluate(self, step: int) -> dict[str, float]:
        """The stage's measures on the validation windows, and the scores of forecasts.

        Raises:
            NonFinite: one that is not finite, at `step`.
        """
        suspects: list[int] = []
        scores = self._measure(self.data.validation, "validation", suspects)
        self._require_finite(scores, step, suspects)
        if self.scorer is not None:
            table = torch.from_numpy(self.scorer.answer(cast(Kronos, self.stage.model), self.report))
            # Each question has one process that answers it: the sum only puts the answers together.
            scores |= aggregate_scores(sum_over_ranks(self.accelerator, table).cpu().numpy())
            self._require_finite(scores, step, [])
        return scores

    def replay_loss(self) -> float | None:
        """The loss measure on the validation windows of the replay store; None without one."""
        replay = self.data.replay_validation
        return None if replay is None else self._measure(replay, "replay", [])[self.stage.measures[0]]

    def culprits(self, windows: Windows | TrainingSet, indices: np.ndarray) -> str:
        """Which of these windows have a validation measure that is not finite: symbols and dates, in words.

        All ranks take part, each with windows of its own.
        """
        from accelerate.utils import gather_object

        if not weights_finite(self.stage.model):
            return "because weights of the model are no longer finite"
        bad = []
        with torch.no_grad(), eval_mode(self.stage.model):
            for index in indices:
                one, no_draws = np.array([index]), torch.zeros(1, windows.length)
                measures = self.stage.validation(to_device(windows, one, no_draws, self.accelerator.device))
                if not all(math.isfinite(float(value)) for value in measures.values()):
                    bad.append(int(index))
        bad, every = gather_object(bad), gather_object([int(i) for i in indices])
        named = [f"{symbol} {first} .. {last}" for symbol, first, last in map(windows.describe, bad or every)]
        which = "in windows" if bad else "with windows (each by itself is finite)"
        return f"{which} {shortened(named, 3)}"

    def _measure(self, windows: Windows, part: str, suspects: list[int]) -> dict[str, float]:
        """Mean of each validation measure over all windows, sharded over ranks; sums and counts are reduced with SUM.

        `part` names these windows among those that the stage is validated on. This rank's first batch with a measure
        that is not finite is added to `suspects`.
        """
        stage, accelerator = self.stage, self.accelerator
        mine = np.arange(accelerator.process_index, len(windows), accelerator.num_processes)
        starts, found = range(0, len(mine), self.batch_size), []
        with torch.no_grad(), eval_mode(stage.model):
            for lo in starts:
                indices = mine[lo : lo + self.batch_size]
                batch = to_device(windows, indices, torch.zeros(len(indices), windows.length), accelerator.device)
                with accelerator.autocast():
                    measured = stage.validation(batch, key=(part, lo))
                found.append(torch.stack([measured[name] for name in stage.measures]))
                self.report(min(lo + self.batch_size, len(mine)), len(mine))
        sums = [0.0] * len(stage.measures)
        # Read all at once: until here the host has not waited for the device.
        for lo, row in zip(starts, torch.stack(found).tolist() if found else [], strict=True):
            sums = [total + value for total, value in zip(sums, row, strict=True)]
            if not suspects and not all(map(math.isfinite, sums)):
                suspects += mine[lo : lo + self.batch_size].tolist()
        # float64, so that the split over ranks does not show in the score.
        shared = torch.tensor([*sums, float(len(mine))], dtype=torch.float64)
        *values, count = sum_over_ranks(accelerator, shared).tolist()
        return {name: value / count for name, value in zip(stage.measures, values, strict=True)}

    def _require_finite(self, scores: dict[str, float], step: int, suspects: list[int]) -> None:
        bad = [name for name, score in scores.items() if not math.isfinite(score)]
        if bad:
            culprits = self.culprits(self.data.validation, np.array(suspects, np.int64))
            raise NonFinite(f"{bad[0]} is {scores[bad[0]]} at step {step} {culprits}")


def weights_finite(model: nn.Module) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


@dataclass
class BestScore:
    """The best validation score so far and how long ago it was: early stopping."""

    measure: str
    """Which score chooses."""
    start: float = float("nan")
    best: float = float("nan")
    best_step: int = 0
    without_gain: int = 0

    def add(self, score: float, step: int) -> bool:
        """Take a score in, that of step 0 first; whether it is a new best (strictly better than all before)."""
        if step == 0:
            self.start = score
        better = step == 0 or is_better(self.measure, score, self.best)
        if better:
            self.best, self.best_step = score, step
        self.without_gain = 0 if better else self.without_gain + 1
        return better


@dataclass
class OverfittingMonitor:
    """Mean training losses between validations: a loss that falls while the chosen score does not follow does harm."""

    total: float = 0.0
    steps: int = 0
    """Losses since the last validation, and how many."""
    at_best: float | None = None
    """Mean loss of the steps that led to the best validation; where that is step 0, of the first steps."""
    last: float | None = None
    """Mean loss of the steps that led to the last validation."""
    told: bool = False

    def add(self, loss: float) -> None:
        """Take in the training loss of a step."""
        self.total += loss
        self.steps += 1

    def validated(self, best: bool) -> None:
        """A validation has ended; `best`: with a new best score."""
        if self.steps:
            self.last = self.total / self.steps
            if best or self.at_best is None:
                self.at_best = self.last
        self.total, self.steps = 0.0, 0

    def warning(self, score: BestScore, *, over: bool = False) -> str | None:
        """The warning, if there is reason for one: since the best validation the mean training loss has fallen by more
        than 1%, and 3 or more validations have not beaten it; at the end of a stage (`over`) any number, if step 0 is
        still the best.
        """
        if self.at_best is None or self.last is None or self.at_best - self.last <= FALL * abs(self.at_best):
            return None
        if score.without_gain < VALIDATIONS and not (over and score.best_step == 0):
            return None
        times = (
            "the validation since has" if score.without_gain == 1 else f"{score.without_gain} validations in a row have"
        )
        return (
            f"the training loss fell from {self.at_best:.4g} to {self.last:.4g} after step {score.best_step:,}, but "
            f"{times} not beaten its {score.measure} of {score.best:.5g}: what is learned from these windows does not "
            "carry over"
        )
