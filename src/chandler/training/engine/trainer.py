"""The one fit(): accumulate, clip, step, validate, keep the best. Both stages run through it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from chandler.data.datasets.windows import Windows, require_windows
from chandler.devices import bring
from chandler.errors import ConfigError, TrainingError
from chandler.training.datasets.augment import Batch, drop_volume, random_lookback, to_device
from chandler.training.datasets.batching import BatchPlan, derive_seed
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.engine.checkpoints import BestScore, CheckpointManager, TrainerState
from chandler.training.engine.distributed import max_over_ranks, mean_over_ranks
from chandler.training.engine.evaluator import Evaluator, measure_for_best
from chandler.training.engine.forecast_validation import ForecastScorer
from chandler.training.engine.fsdp import PreparedModel, is_sharded, prepare_model
from chandler.training.engine.interrupts import Interrupted, StopRequest
from chandler.training.engine.optim import make_optimizer, make_schedule
from chandler.training.engine.stages import Stage
from chandler.training.engine.validation import diverged, find_nonfinite_windows, weights_finite
from chandler.training.logging.callbacks import Callback, LossAverager, StageResult
from chandler.training.settings.stage import StageSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

COMPILE_STEPS = 2000
"""Optimiser steps from which compilation pays on a GPU: it takes a minute or more before the first step."""


def fit(
    stage: Stage,
    train: TrainingSet,
    validation: Windows,
    settings: StageSettings,
    *,
    accelerator: Accelerator,
    listener: Callback,
    keeper: CheckpointManager,
    seed: int,
    replay_validation: Windows | None = None,
    exam: ForecastScorer | None = None,
    volume_dropped: float = 0.0,
    log_every: int = 10,
    resume: bool = False,
    stop: StopRequest | None = None,
    distributed: Literal["ddp", "fsdp"] = "ddp",
) -> StageResult:
    """Train one stage; its best model ends in `keeper.best(result.best_step)`.

    Step 0 validates the starting weights; a later checkpoint is better only if its score is strictly better. With
    `resume` the newest whole state of the keeper is taken up, and the result is that of a run never interrupted.
    `exam` scores forecasts beside the likelihood. `replay_validation` is scored beside, never selected by. Training
    windows lose their volume at the rate `volume_dropped`. `distributed` says how several processes share a model.

    Raises:
        DataError: a split without a window.
        TrainingError: fewer windows than processes; a loss, gradient or score that is not finite; a full disk.
        Interrupted: `stop` was set; the state is saved.
    """
    require_windows(train.main, "training")
    require_windows(validation, "validation")
    s = settings
    plan = BatchPlan(train.drawn, train.length, s.batch_size, s.accumulation_steps, accelerator.num_processes, seed)

    def change(batch: Batch, chances: Tensor) -> Batch:
        """What is done to training windows alone."""
        return random_lookback(drop_volume(batch, chances, volume_dropped), s.least_lookback, train.main.lookback)

    if not plan.steps_per_epoch:
        raise TrainingError(
            f"{stage.name}: {train.drawn} training windows for {plan.ranks} processes. Start fewer processes."
        )
    begun = time.monotonic()
    main = accelerator.is_main_process
    bring(accelerator.device, *stage.frozen)
    if not is_sharded(accelerator, distributed):
        bring(accelerator.device, stage.model)
    optimizer = make_optimizer(stage.model, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay)
    total = plan.steps_per_epoch * s.epochs
    schedule = make_schedule(
        optimizer, lr=s.learning_rate, steps=total, warmup=s.warmup, div_factor=s.div_factor, kind=s.schedule
    )
    found = keeper.load(stage.model, optimizer, schedule, listener.warn) if resume else None
    state = found or TrainerState(BestScore(measure_for_best(stage, s)))
    if state.tracker.measure != measure_for_best(stage, s):
        raise TrainingError(
            f"{stage.name}: the saved state chose its best by {state.tracker.measure}, and {measure_for_best(stage, s)} cannot "
            "take over halfway. Undo the change of promote_on, or start anew with --overwrite or another --out."
        )
    before = state.seconds
    setattr(stage.model, "checkpointing", s.gradient_checkpointing)  # noqa: B010 (mypy sees a plain Module)
    prepared = prepare_model(stage, optimizer, accelerator, distributed)
    model = prepared.model
    if compiles(s, accelerator, total, distributed):
        model = cast(nn.Module, torch.compile(model))
    log = LossAverager(stage, accelerator, listener, state)
    tracker = state.tracker
    judge = Evaluator(stage, s, validation, replay_validation, exam, state, accelerator, listener, keeper)

    def save(step: int) -> None:
        state.step, state.seconds = step, before + time.monotonic() - begun
        with prepared.whole():
            moments = prepared.optimizer_state()
            if main:
                keeper.save(state, stage.model, moments, schedule)
        accelerator.wait_for_everyone()

    if main:
        listener.begin(
            stage.name, epochs=s.epochs, steps=total, windows=plan.per_epoch, done=None if found is None else found.step
        )
    if found is None:
        with prepared.whole():
            judge.check(0, 0)
        save(0)
    step, order, order_epoch = state.step, np.empty(0, np.int64), 0
    while step < total and not judge.out_of_patience:
        step += 1
        epoch, index = plan.epoch(step), (step - 1) % plan.steps_per_epoch
        if epoch != order_epoch:
            order, order_epoch = train.order(seed, epoch), epoch
        rate = schedule.get_last_lr()[0]
        losses, windows = _forward_backward(
            stage, model, prepared, train, plan, order, index, step, accelerator, change
        )
        norm = prepared.clip(s.clip)
        means = log.means(losses)
        if math.isfinite(norm) and all(map(math.isfinite, means)):
            optimizer.step()
            log.add(means, norm, windows)
        else:
            mine = np.concatenate([m.indices for m in plan.step(order, index, accelerator.process_index, step)])
            with prepared.whole():
                broken = not weights_finite(stage.model)
                culprits = find_nonfinite_windows(stage, train, mine, accelerator)
            what = f"the loss or its gradient is not finite at step {step} {culprits}"
            if s.on_nonfinite == "stop" or broken:
                raise diverged(stage, what, keeper)
            state.skipped += 1
            if main:
                listener.warn(f"{stage.name}: {what}; the step was left out ({state.skipped} so far)")
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        ends_epoch = index + 1 == plan.steps_per_epoch
        if ends_epoch or step % log_every == 0:
            log.flush(step, epoch, rate)
        due = ends_epoch if s.validate_every is None else step % s.validate_every == 0 or step == total
        if due:
            with prepared.whole():
                judge.check(step, epoch)
            log.restart_clock()
        asked = max_over_ranks(accelerator, stop.signal if stop else 0)
        if due or step % s.save_every == 0 or asked:
            save(step)
            log.restart_clock()
        if asked:
            raise Interrupted(f"{stage.name}: stopped at step {step:,} of {total:,}, everything is saved.", 128 + asked)
    result = StageResult(
        measure=tracker.measure,
        start=tracker.start,
        best=tracker.best,
        best_step=tracker.best_step,
        steps=step,
        epochs=plan.epoch(step),
        stopped_early=step < total,
        skipped=state.skipped,
        seconds=before + time.monotonic() - begun,
        train_windows=len(train.main),
        validation_windows=len(validation),
        at_start=state.at_start,
        at_best=state.at_best,
        warning=judge.tell(over=True),
        replay_start=state.replay_start,
        replay_best=state.replay_best,
    )
    if main:
        listener.end(stage.name, result)
    return result


def compiles(settings: StageSettings, accelerator: Accelerator, steps: int, distributed: str) -> bool:
    """Whether a stage is compiled. ConfigError where it was asked for and cannot be."""
    sharded = is_sharded(accelerator, distributed)
    if settings.compile == "on" and sharded:
        raise ConfigError("compile: on was not tried together with distributed: fsdp. Use one of them.")
    long = accelerator.device.type == "cuda" and steps >= COMPILE_STEPS
    return settings.compile == "on" or (settings.compile == "auto" and long and not sharded)


def _forward_backward(
    stage: Stage,
    model: nn.Module,
    prepared: PreparedModel,
    windows: TrainingSet,
    plan: BatchPlan,
    order: np.ndarray,
    index: int,
    step: int,
    accelerator: Accelerator,
    change: Callable[[Batch, Tensor], Batch],
) -> tuple[dict[str, Tensor], int]:
    """All batches of one optimiser step on this rank; gradients end up equal on all ranks.

    Returns this rank's part of the mean losses (over ranks they sum to the global means) and its count of windows.
    """
    # Dropout draws from torch's global generator: seeding it anew makes each step a function of (seed, step, rank).
    torch.manual_seed(derive_seed(plan.seed, step, accelerator.process_index, 1))
    model.train()
    totals: dict[str, Tensor] = {}
    batches = list(plan.step(order, index, accelerator.process_index, step))
    for number, micro in enumerate(batches, start=1):
        batch = to_device(windows, micro.indices, micro.uniforms, accelerator.device)
        batch = change(batch, micro.chances)
        with prepared.exchange(number == len(batches)):
            with accelerator.autocast():
                losses = stage.losses(model, batch, mean_over_ranks(accelerator, micro.share))
            # DDP and FSDP average gradients over ranks, so each rank's weighted part is scaled up by their number.
            accelerator.backward(losses["loss"] * (micro.weight * plan.ranks))
        for name, value in losses.items():
            part = value.detach().float() * micro.weight
            totals[name] = totals[name] + part if name in totals else part
    return totals, sum(len(micro.indices) for micro in batches)
