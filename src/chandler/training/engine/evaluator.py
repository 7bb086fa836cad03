"""Validates a stage as it is trained, keeps the best model, and knows when patience ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from chandler.data.datasets.windows import Windows
from chandler.nn.predictor import Kronos
from chandler.training.engine.checkpoints import CheckpointManager, TrainerState
from chandler.training.engine.distributed import sum_over_ranks
from chandler.training.engine.forecast_validation import ForecastScorer, aggregate_scores
from chandler.training.engine.stages import Stage
from chandler.training.engine.validation import diverged, find_nonfinite_windows, validate
from chandler.training.logging.callbacks import Callback
from chandler.training.settings.stage import StageSettings

if TYPE_CHECKING:
    from accelerate import Accelerator


def measure_for_best(stage: Stage, settings: StageSettings) -> str:
    """The measure that chooses a stage's checkpoint."""
    return stage.measures[0] if settings.promote_on == "loss" else settings.promote_on


class Evaluator:
    """Measures the model at a step on everything it is measured on; all ranks take part, rank 0 writes and tells."""

    def __init__(
        self,
        stage: Stage,
        settings: StageSettings,
        validation: Windows,
        replay: Windows | None,
        exam: ForecastScorer | None,
        state: TrainerState,
        accelerator: Accelerator,
        listener: Callback,
        keeper: CheckpointManager,
    ) -> None:
        self.stage, self.settings, self.validation, self.replay, self.exam = stage, settings, validation, replay, exam
        self.state, self.accelerator, self.listener, self.keeper = state, accelerator, listener, keeper

    def check(self, step: int, epoch: int) -> None:
        """Validate, and keep the model if it is the best so far.

        Raises:
            TrainingError: a score that is not finite.
        """
        stage, state, measure = self.stage, self.state, self.state.tracker.measure
        suspects: list[int] = []
        scores = self._validate(self.validation, "validation", suspects)
        self._require_finite(scores, step, suspects)
        if self.exam is not None:
            scores |= self._examine(self.exam)
            self._require_finite(scores, step, [])
        better = state.tracker.add(scores[measure], step)
        state.watch.validated(better)
        if step == 0:
            state.at_start = scores
        if better:
            state.at_best = scores
        # What chooses comes first in the record.
        record = {measure: scores[measure], **scores}
        if self.replay is not None:
            loss = stage.measures[0]
            record |= state.replayed(loss, self._validate(self.replay, "replay")[loss], step, better)
        if self.accelerator.is_main_process:
            if better:
                self.keeper.save_best(step, stage.model)
            head = {"stage": stage.name, "kind": "validation", "step": step, "epoch": epoch}
            self.listener.validation({**head, **record, "best": better})
        self.tell()

    def tell(self, *, over: bool = False) -> str | None:
        """The warning that training may do harm, None if there is no reason; told once."""
        text = self.state.warning(over=over)
        if text and not self.state.watch.told:
            self.state.watch.told = True
            if self.accelerator.is_main_process:
                self.listener.warn(f"{self.stage.name}: {text}.")
        return text

    @property
    def out_of_patience(self) -> bool:
        """Whether so many validations in a row brought no gain that training ends."""
        patience = self.settings.patience
        return patience is not None and self.state.tracker.without_gain >= patience

    def _validate(self, windows: Windows, part: str, suspects: list[int] | None = None) -> dict[str, float]:
        size = self.settings.batch_size
        return validate(self.stage, windows, size, self.accelerator, self.listener, part, suspects)

    def _require_finite(self, scores: dict[str, float], step: int, suspects: list[int]) -> None:
        bad = [name for name, score in scores.items() if not math.isfinite(score)]
        if bad:
            found = np.array(suspects, np.int64)
            culprits = find_nonfinite_windows(self.stage, self.validation, found, self.accelerator)
            what = f"validation {bad[0]} is {scores[bad[0]]} at step {step} {culprits}"
            raise diverged(self.stage, what, self.keeper)

    def _examine(self, exam: ForecastScorer) -> dict[str, float]:
        progress = self.listener.validating if self.accelerator.is_main_process else None
        table = torch.from_numpy(exam.answer(cast(Kronos, self.stage.model), progress))
        # Each question has one process that answers it: the sum only puts the answers together.
        return aggregate_scores(sum_over_ranks(self.accelerator, table).cpu().numpy())
