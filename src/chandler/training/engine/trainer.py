"""The one training loop: accumulate, clip, step, validate, keep the best. Both stages run through it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from chandler.devices import bring, wide
from chandler.errors import ConfigError, TrainingError
from chandler.training.datasets import (
    BatchPlan,
    MicroBatch,
    RunData,
    derive_seed,
    drop_volume,
    random_lookback,
    to_device,
)
from chandler.training.engine.checkpoints import CheckpointManager, TrainerState
from chandler.training.engine.distributed import max_over_ranks, mean_over_ranks, sum_over_ranks
from chandler.training.engine.evaluator import BestScore, Evaluator, NonFinite, weights_finite
from chandler.training.engine.forecast_validation import ForecastScorer
from chandler.training.engine.fsdp import is_sharded, prepare_model
from chandler.training.engine.interrupts import Interrupted, StopRequest
from chandler.training.engine.optim import make_optimizer, make_schedule
from chandler.training.engine.stages import Stage
from chandler.training.logging import Callback, StagePlan, StageResult
from chandler.training.settings import Settings, StageSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

COMPILE_STEPS = 2000
"""Optimiser steps from which compilation pays on a GPU: it takes a minute or more before the first step."""


@dataclass(frozen=True)
class RunContext:
    """What the stages of a run have in common."""

    settings: Settings
    data: RunData
    accelerator: Accelerator
    callbacks: Sequence[Callback]
    stop: StopRequest
    resume: bool
    """Whether a stage goes on from the newest whole state of an earlier run."""


@dataclass(eq=False)
class Trainer:
    """Trains one stage: its model, all that trains and measures it, and how far it is.

    Raises:
        TrainingError: fewer windows than processes; a saved state that chose its best by another measure.
        ConfigError: settings that do not go together.
    """

    stage: Stage
    settings: StageSettings
    """Of this stage."""
    run: RunContext
    checkpoints: CheckpointManager
    """Where its states go, and its best model."""
    seed: int
    """Of its windows, dropout and draws."""
    scorer: ForecastScorer | None = None
    """Scores forecasts beside the likelihood, where that is asked for."""

    def __post_init__(self) -> None:
        stage, s, data, accelerator = self.stage, self.settings, self.run.data, self.run.accelerator
        self.data, self.accelerator, distributed = data, accelerator, self.run.settings.distributed
        self.begun = time.monotonic()
        self.plan = plan = BatchPlan(
            data.train.drawn,
            data.train.length,
            s.batch_size,
            s.accumulation_steps,
            accelerator.num_processes,
            self.seed,
            noise=stage.noise > 0,
        )
        if not plan.steps_per_epoch:
            raise TrainingError(
                f"{stage.name}: {data.train.drawn} training windows for {plan.ranks} processes. Start fewer processes."
            )
        self.steps = plan.steps_per_epoch * s.epochs
        bring(accelerator.device, *stage.frozen)
        if not is_sharded(accelerator, distributed):
            bring(accelerator.device, stage.model)
        self.optimizer = make_optimizer(stage.model, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay)
        how = {"lr": s.learning_rate, "warmup": s.warmup, "div_factor": s.div_factor}
        self.schedule = make_schedule(self.optimizer, steps=self.steps, kind=s.schedule, **how)
        saved = (
            self.checkpoints.load(stage.model, self.optimizer, self.schedule, self._warn) if self.run.resume else None
        )
        measure = stage.measures[0] if s.promote_on == "loss" else s.promote_on
        self.state = saved or TrainerState(BestScore(measure))
        self.resumed, self.seconds_before = saved is not None, self.state.seconds
        if self.state.tracker.measure != measure:
            raise TrainingError(
                f"{stage.name}: the saved state chose its best by {self.state.tracker.measure}, and {measure} cannot "
                "take over halfway. Undo the change of promote_on, or start anew with overwrite=True or in another folder (out=)."
            )
        setattr(stage.model, "checkpointing", s.gradient_checkpointing)  # noqa: B010 (mypy sees a plain Module)
        self.prepared = prepare_model(stage, self.optimizer, accelerator, distributed)
        self.model = self.prepared.model
        if self._compiles():
            self.model = cast(nn.Module, torch.compile(self.model))
        self.evaluator = Evaluator(
            stage,
            data,
            s.batch_size,
            accelerator,
            self.scorer,
            lambda *work: self._tell(lambda c: c.on_validating(*work)),
        )
        self.order, self.order_epoch = np.empty(0, np.int64), 0
        self.losses: list[str] = []
        """Names of the losses, in the order of a row of `state.logged`."""

    def fit(self) -> StageResult:
        """Train to the end, or until patience ends; the best model is then in `checkpoints.best(result.best_step)`.

        Step 0 validates the starting weights; a later checkpoint is better only if its score is strictly better. The
        result of a stage that goes on from a saved state is that of one that was never interrupted.

        Raises:
            TrainingError: a loss, gradient or score that is not finite; a full disk.
            Interrupted: by a signal; the state is saved.
        """
        s, state, plan, name = self.settings, self.state, self.plan, self.stage.name
        begin = StagePlan(name, s.epochs, self.steps, plan.per_epoch, state.step if self.resumed else None)
        self._tell(lambda callback: callback.on_stage_begin(begin))
        if not self.resumed:
            self._validate()
            self._save()
        self._restart_clock()
        while state.step < self.steps and not self._out_of_patience():
            state.step += 1
            rate = self.schedule.get_last_lr()[0]
            self._train_step()
            ends_epoch = state.step % plan.steps_per_epoch == 0
            if ends_epoch or state.step % self.run.settings.log_every == 0:
                self._log(rate)
            is_last = state.step == self.steps
            due = ends_epoch if s.validate_every is None else state.step % s.validate_every == 0 or is_last
            if due:
                self._validate()
                self._restart_clock()
            asked = max_over_ranks(self.accelerator, self.run.stop.signal)
            if due or state.step % s.save_every == 0 or asked:
                self._save()
                self._restart_clock()
            if asked:
                raise Interrupted(
                    f"{name}: stopped at step {state.step:,} of {self.steps:,}, everything is saved.", 128 + asked
                )
        result = self._result()
        self._tell(lambda callback: callback.on_stage_end(name, result))
        return result

    def _train_step(self) -> None:
        """One optimiser step; without effect, or an error, where one of its numbers is not finite."""
        step, epoch = self.state.step, self.plan.epoch(self.state.step)
        if epoch != self.order_epoch:
            self.order, self.order_epoch = self.data.train.order(self.seed, epoch), epoch
        index, rank = (step - 1) % self.plan.steps_per_epoch, self.accelerator.process_index
        batches = list(self.plan.step(self.order, index, rank, step))
        losses = self._forward_backward(batches)
        norm = self.prepared.clip(self.settings.clip)
        self.losses = list(losses)
        means: list[float] = sum_over_ranks(self.accelerator, wide(torch.stack(list(losses.values())))).tolist()
        if math.isfinite(norm) and all(map(math.isfinite, means)):
            self.optimizer.step()
            self.state.watch.add(means[self.losses.index("loss")])
            self.state.logged.append([*means, norm])
            self.windows += sum(len(micro.indices) for micro in batches)
        else:
            self._leave_out(np.concatenate([micro.indices for micro in batches]))
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _forward_backward(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """All batches of one optimiser step on this rank; gradients end up equal on all ranks.

        Returns this rank's part of the mean losses: over ranks they sum to the global means.
        """
        accelerator, train = self.accelerator, self.data.train
        # Dropout draws from torch's global generator: seeding it anew makes each step a function of (seed, step, rank).
        torch.manual_seed(derive_seed(self.seed, self.state.step, accelerator.process_index, 1))
        self.model.train()
        totals: dict[str, Tensor] = {}
        for number, micro in enumerate(batches, start=1):
            batch = to_device(train, micro.indices, micro.uniforms, accelerator.device, micro.noise)
            batch = drop_volume(batch, micro.chances, self.run.settings.data.drop_volume)
            batch = random_lookback(batch, self.settings.least_lookback, train.main.lookback)
            with self.prepared.exchange(number == len(batches)):
                with accelerator.autocast():
                    losses = self.stage.losses(self.model, batch, mean_over_ranks(accelerator, micro.share))
                # DDP and FSDP average gradients over ranks, so each rank's weighted part is scaled up by their number.
                accelerator.backward(losses["loss"] * (micro.weight * self.plan.ranks))
            for name, value in losses.items():
                part = value.detach().float() * micro.weight
                totals[name] = totals[name] + part if name in totals else part
        return totals

    def _leave_out(self, indices: np.ndarray) -> None:
        """Count a step whose loss or gradient is not finite, or stop; `indices` are its windows on this rank."""
        with self.prepared.whole():
            broken = not weights_finite(self.stage.model)
            culprits = self.evaluator.culprits(self.data.train, indices)
        what = f"the loss or its gradient is not finite at step {self.state.step} {culprits}"
        if self.settings.on_nonfinite == "stop" or broken:
            raise self._diverged(what)
        self.state.skipped += 1
        if self.accelerator.is_main_process:
            self._warn(f"{self.stage.name}: {what}; the step was left out ({self.state.skipped} so far)")

    def _validate(self) -> None:
        """Measure the model as it is, and keep it if it is the best so far."""
        stage, state, measure = self.stage, self.state, self.state.tracker.measure
        with self.prepared.whole():
            try:
                scores = self.evaluator.evaluate(state.step)
            except NonFinite as error:
                raise self._diverged(f"validation {error}") from None
            better = state.validated(scores)
            # What chooses comes first in the record.
            record = {measure: scores[measure], **scores}
            replay = self.evaluator.replay_loss()
            if replay is not None:
                record |= state.replayed(stage.measures[0], replay, better)
            if better and self.accelerator.is_main_process:
                self.checkpoints.save_best(state.step, stage.model)
        head = {"stage": stage.name, "kind": "validation", "step": state.step, "epoch": self.plan.epoch(state.step)}
        self._tell(lambda callback: callback.on_validation({**head, **record, "best": better}))
        self._warning()

    def _warning(self, *, over: bool = False) -> str | None:
        """The warning that training may do harm, None if there is no reason; told once."""
        watch = self.state.watch
        text = watch.warning(self.state.tracker, over=over)
        if text and not watch.told:
            watch.told = True
            if self.accelerator.is_main_process:
                self._warn(f"{self.stage.name}: {text}.")
        return text

    def _out_of_patience(self) -> bool:
        """Whether so many validations in a row brought no gain that training ends."""
        patience = self.settings.patience
        return patience is not None and self.state.tracker.without_gain >= patience

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        with self.prepared.whole():
            moments = self.prepared.optimizer_state()
            if self.accelerator.is_main_process:
                self.checkpoints.save(self.state, self.stage.model, moments, self.schedule)
        self.accelerator.wait_for_everyone()

    def _log(self, rate: Tensor | float) -> None:
        """Report the mean losses since the last record; nothing if every step since was left out."""
        state, rows = self.state, self.state.logged
        if rows:
            means = np.mean(rows, axis=0).tolist()
            speed = self.windows * self.accelerator.num_processes / max(time.monotonic() - self.clock, 1e-9)
            record = {
                "stage": self.stage.name,
                "kind": "train",
                "step": state.step,
                "epoch": self.plan.epoch(state.step),
            }
            record |= dict(zip([*self.losses, "grad_norm"], means, strict=True))
            record |= {"lr": float(rate), "windows_per_second": speed}
            self._tell(lambda callback: callback.on_step(record))
        state.logged = []
        self._restart_clock()

    def _restart_clock(self) -> None:
        """Leave the time that passed since the last record out of the speed."""
        self.clock, self.windows = time.monotonic(), 0

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.begun

    def _result(self) -> StageResult:
        state, score = self.state, self.state.tracker
        return StageResult(
            measure=score.measure,
            start=score.start,
            best=score.best,
            best_step=score.best_step,
            steps=state.step,
            epochs=self.plan.epoch(state.step),
            stopped_early=state.step < self.steps,
            skipped=state.skipped,
            seconds=self._seconds(),
            train_windows=len(self.data.train.main),
            validation_windows=len(self.data.validation),
            at_start=state.at_start,
            at_best=state.at_best,
            warning=self._warning(over=True),
            replay_start=state.replay_start,
            replay_best=state.replay_best,
        )

    def _compiles(self) -> bool:
        """Whether the model is compiled. ConfigError where that was asked for and cannot be."""
        asked, sharded = self.settings.compile, is_sharded(self.accelerator, self.run.settings.distributed)
        if asked == "on" and sharded:
            raise ConfigError("compile: on was not tried together with distributed: fsdp. Use one of them.")
        pays = self.accelerator.device.type == "cuda" and self.steps >= COMPILE_STEPS
        return asked == "on" or (asked == "auto" and pays and not sharded)

    def _diverged(self, what: str) -> TrainingError:
        saved, name = self.checkpoints.saved(), self.stage.name
        last = f"The last good state is {saved[-1]}" if saved else "No state was saved before"
        return TrainingError(
            f"{name}: {what}. {last}. Lower {name}.learning_rate or {name}.clip, look at the bars with chandler inspect, "
            f"or set {name}.on_nonfinite: skip."
        )

    def _tell(self, event: Callable[[Callback], None]) -> None:
        """Rank 0 tells its callbacks, one after another."""
        if self.accelerator.is_main_process:
            for callback in self.run.callbacks:
                event(callback)

    def _warn(self, text: str) -> None:
        """Tell of something that may be seen on this rank alone."""
        for callback in self.run.callbacks:
            callback.on_warning(text)
