"""The one training loop: accumulate, clip, step, validate, keep the best. Both stages run through it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chandler.devices import bring, has_graphs
from chandler.errors import TrainingError
from chandler.training.datasets import BatchPlan, Feeder, RunData
from chandler.training.engine.checkpoints import CheckpointManager, TrainerState
from chandler.training.engine.distributed import max_over_ranks
from chandler.training.engine.evaluator import BestScore, Evaluator, NonFinite, weights_finite
from chandler.training.engine.forecast_validation import ForecastScorer
from chandler.training.engine.fsdp import is_sharded, prepare_model
from chandler.training.engine.interrupts import Interrupted, StopRequest
from chandler.training.engine.optim import make_optimizer, make_schedule
from chandler.training.engine.stages import Stage
from chandler.training.engine.step import TrainStep, compiles
from chandler.training.logging import Callback, StagePlan, StageResult
from chandler.training.settings import Settings, StageSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

ASKED_EVERY = 10
"""Steps between two questions to the other processes whether one is asked to stop: a GPU's answer has to be waited for."""


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
        sharded = is_sharded(accelerator, distributed)
        bring(accelerator.device, *stage.frozen)
        if not sharded:
            bring(accelerator.device, stage.model)
        self.optimizer = make_optimizer(stage.model, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay)
        saved = self.checkpoints.load(stage.model, self.optimizer, self._warn) if self.run.resume else None
        measure = stage.measures[0] if s.promote_on == "loss" else s.promote_on
        self.state = saved or TrainerState(BestScore(measure))
        self.resumed, self.seconds_before = saved is not None, self.state.seconds
        how = {"lr": s.learning_rate, "warmup": s.warmup, "div_factor": s.div_factor}
        self.schedule = make_schedule(self.optimizer, steps=self.steps, kind=s.schedule, done=self.state.step, **how)
        if self.state.tracker.measure != measure:
            raise TrainingError(
                f"{stage.name}: the saved state chose its best by {self.state.tracker.measure}, and {measure} cannot "
                "take over halfway. Undo the change of promote_on, or start anew with overwrite=True or in another folder (out=)."
            )
        setattr(stage.model, "checkpointing", s.gradient_checkpointing)  # noqa: B010 (mypy sees a plain Module)
        self.prepared = prepare_model(stage, self.optimizer, accelerator, distributed)
        if compiles(s, accelerator, plan.per_epoch * plan.length * s.epochs, sharded):
            self.prepared.compile()
        self.step = TrainStep(stage, s, self.run.settings.data, self.prepared, accelerator, self.seed, self._warn)
        # What a device alone can tell costs a wait; FSDP has waited by then.
        self.waits = sharded or not has_graphs(accelerator.device)
        self.feeder = Feeder(
            data.train,
            plan,
            accelerator.process_index,
            accelerator.device,
            ahead=has_graphs(accelerator.device),
            least_lookback=s.least_lookback,
        )
        self.evaluator = Evaluator(
            stage,
            data,
            s.batch_size,
            accelerator,
            self.scorer,
            lambda *work: self._tell(lambda c: c.on_validating(*work)),
        )
        self.pending: list[tuple[int, np.ndarray, Tensor]] = []
        """Steps taken and not yet read: number, windows of this rank, and the row of `TrainStep`."""

    def fit(self) -> StageResult:
        """Train to the end, or until patience ends; the best model is then in `checkpoints.best(result.best_step)`.

        Step 0 validates the starting weights; a later checkpoint is better only if its score is strictly better. The
        result of a stage that goes on from a saved state is that of one that was never interrupted.

        Raises:
            TrainingError: a loss, gradient or score that is not finite; a full disk.
            Interrupted: by a signal; the state is saved.
        """
        with closing(self.feeder):
            return self._fit()

    def _fit(self) -> StageResult:
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
            saves = due or state.step % s.save_every == 0
            asked = self._asked(saves)
            if saves or asked:
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
        """One optimiser step; without effect, or an error once it is read, where one of its numbers is not finite."""
        step = self.state.step
        ready = self.feeder.take(step, self.steps)
        row = self.step(step, ready)
        self.prepared.update(self.step.bad)
        self.schedule.step()
        self.prepared.optimizer.zero_grad(set_to_none=True)
        self.pending.append((step, np.concatenate([one.micro.indices for one in ready]), row))
        if self.waits:
            self._read()

    def _read(self) -> None:
        """Read what the steps taken have come to, all at once: here the host waits for the device."""
        taken, self.pending = self.pending, []
        rows = torch.stack([row for *_, row in taken]).tolist() if taken else []
        for (step, indices, _), row in zip(taken, rows, strict=True):
            if all(map(math.isfinite, row)):
                self.state.watch.add(row[self.step.losses.index("loss")])
                self.state.logged.append(row)
                self.windows += len(indices)
            else:
                self._leave_out(step, indices)

    def _asked(self, now: bool) -> int:
        """The signal that asks to stop, 0 without one, on all ranks alike. Several wait for each other: `now`, or at times."""
        if self.accelerator.num_processes > 1 and not (now or self.waits or self.state.step % ASKED_EVERY == 0):
            return 0
        return max_over_ranks(self.accelerator, self.run.stop.signal)

    def _leave_out(self, step: int, indices: np.ndarray) -> None:
        """Count a step whose loss or gradient is not finite, or stop; `indices` are its windows on this rank."""
        with self.prepared.whole():
            broken = not weights_finite(self.stage.model)
            culprits = self.evaluator.culprits(self.data.train, indices)
        what = f"the loss or its gradient is not finite at step {step} {culprits}"
        if self.settings.on_nonfinite == "stop" or broken:
            raise self._diverged(what)
        self.state.skipped += 1
        if self.accelerator.is_main_process:
            self._warn(f"{self.stage.name}: {what}; the step was left out ({self.state.skipped} so far)")

    def _validate(self) -> None:
        """Measure the model as it is, and keep it if it is the best so far."""
        self._read()
        stage, state, measure = self.stage, self.state, self.state.tracker.measure
        with self.prepared.whole():
            try:
                scores = self.step.with_room(lambda: self.evaluator.evaluate(state.step))
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
        self._read()
        self.state.seconds = self._seconds()
        with self.prepared.whole():
            moments = self.prepared.optimizer_state()
            if self.accelerator.is_main_process:
                self.checkpoints.save(self.state, self.stage.model, moments)
        self.accelerator.wait_for_everyone()

    def _log(self, rate: Tensor | float) -> None:
        """Report the mean losses since the last record; nothing if every step since was left out."""
        self._read()
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
            record |= dict(zip([*self.step.losses, "grad_norm"], means, strict=True))
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
