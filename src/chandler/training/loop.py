"""The one fit(): accumulate, clip, step, validate, keep the best. Both stages run through it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chandler.data.windows import Windows, require_windows
from chandler.errors import TrainingError
from chandler.training.augment import draw_lookback, drop_volume
from chandler.training.config import StageSettings
from chandler.training.distributed import max_over_ranks, mean_over_ranks, sum_over_ranks
from chandler.training.mixture import Mixture
from chandler.training.optim import make_optimizer, make_schedule
from chandler.training.plan import Plan, derive_seed
from chandler.training.signals import Interrupted, StopRequest
from chandler.training.stages import Batch, Stage
from chandler.training.state import Keeper, State

if TYPE_CHECKING:
    from accelerate import Accelerator


COMPILE_STEPS = 2000
"""Optimiser steps from which compilation pays on a GPU: it takes a minute or more before the first step."""


class Listener(Protocol):
    """What the loop tells the outside, on rank 0 only: the run folder writes it down, a terminal shows it."""

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int, done: int) -> None:
        """A stage starts: epochs and optimiser steps planned, windows of an epoch, steps done before."""

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
    """The validation measure, lower is better."""
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
    replay_start: float | None = None
    """The measure on validation windows of the replay store at step 0; None without replay."""
    replay_best: float | None = None
    """The same at the best step: above `replay_start`, training has made the model forget."""

    @property
    def improved(self) -> bool:
        """Whether any checkpoint beat the starting weights."""
        return self.best_step > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {**asdict(self), "improved": self.improved}


def fit(
    stage: Stage,
    train: Mixture,
    validation: Windows,
    settings: StageSettings,
    *,
    accelerator: Accelerator,
    listener: Listener,
    keeper: Keeper,
    seed: int,
    replay_validation: Windows | None = None,
    volume_dropped: float = 0.0,
    log_every: int = 10,
    resume: bool = False,
    stop: StopRequest | None = None,
) -> StageResult:
    """Train one stage; its best model ends in `keeper.best(result.best_step)`.

    Step 0 validates the starting weights; a later checkpoint is better only if its score is strictly lower. With
    `resume` the newest whole state of the keeper is taken up, and the result is that of a run never interrupted.
    `replay_validation` is scored beside, never selected by. Training windows lose their volume at the rate
    `volume_dropped`.

    Raises:
        DataError: a split without a window.
        TrainingError: fewer windows than processes; a loss, gradient or score that is not finite; a full disk.
        Interrupted: `stop` was set; the state is saved.
    """
    require_windows(train.main, "training")
    require_windows(validation, "validation")
    s = settings
    plan = Plan(
        train.drawn,
        train.length,
        s.batch_size,
        s.accumulation_steps,
        accelerator.num_processes,
        seed,
        draw=lambda epoch: train.order(seed, epoch),
    )

    def change(batch: Batch, chances: Tensor) -> Batch:
        """What is done to training windows alone."""
        return draw_lookback(drop_volume(batch, chances, volume_dropped), s.least_lookback, train.main.lookback)

    if not plan.steps_per_epoch:
        raise TrainingError(
            f"{stage.name}: {train.drawn} training windows for {plan.ranks} processes. Start fewer processes."
        )
    begun = time.monotonic()
    main = accelerator.is_main_process
    stage.model.to(accelerator.device)
    optimizer = make_optimizer(stage.model, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay)
    total = plan.steps_per_epoch * s.epochs
    schedule = make_schedule(
        optimizer, lr=s.learning_rate, steps=total, warmup=s.warmup, div_factor=s.div_factor, kind=s.schedule
    )
    found = keeper.load(stage.model, optimizer, schedule, listener.warn) if resume else None
    state = found or State()
    before = state.seconds
    setattr(stage.model, "checkpointing", s.gradient_checkpointing)  # noqa: B010 (mypy sees a plain Module)
    model = accelerator.prepare_model(stage.model)
    if s.compile == "on" or (s.compile == "auto" and accelerator.device.type == "cuda" and total >= COMPILE_STEPS):
        model = torch.compile(model)
    log = _Log(stage, accelerator, listener, state)
    tracker = state.tracker

    def check(step: int) -> None:
        """Validate, and keep the model if it is the best so far."""
        scores = validate(stage, validation, s.batch_size, accelerator, listener)
        score = scores[stage.measures[0]]
        if not math.isfinite(score):
            raise _diverged(stage, f"validation {stage.measures[0]} is {score} at step {step}", keeper)
        better = tracker.add(score, step)
        if replay_validation is not None:
            replayed = validate(stage, replay_validation, s.batch_size, accelerator, listener, part="replay")
            scores |= state.replayed(stage.measures[0], replayed[stage.measures[0]], step, better)
        if main:
            if better:
                keeper.save_best(step, stage.model)
            record = {"stage": stage.name, "kind": "validation", "step": step, "epoch": plan.epoch(step)}
            listener.validation({**record, **scores, "best": better})

    def save(step: int) -> None:
        state.step, state.seconds = step, before + time.monotonic() - begun
        if main:
            keeper.save(state, stage.model, optimizer, schedule)
        accelerator.wait_for_everyone()

    def out_of_patience() -> bool:
        return s.patience is not None and tracker.without_gain >= s.patience

    if main:
        listener.begin(stage.name, epochs=s.epochs, steps=total, windows=plan.per_epoch, done=state.step)
    if found is None:
        check(0)
        save(0)
    step, order, order_epoch = state.step, np.empty(0, np.int64), 0
    while step < total and not out_of_patience():
        step += 1
        epoch, index = plan.epoch(step), (step - 1) % plan.steps_per_epoch
        if epoch != order_epoch:
            order, order_epoch = plan.order(epoch), epoch
        rate = schedule.get_last_lr()[0]
        losses, windows = _forward_backward(stage, model, train, plan, order, index, step, accelerator, change)
        norm = accelerator.clip_grad_norm_(model.parameters(), s.clip)
        if math.isfinite(float(norm if norm is not None else math.nan)):
            optimizer.step()
            log.add(losses, norm, windows)
        elif s.on_nonfinite == "skip":
            state.skipped += 1
            if main:
                listener.warn(
                    f"{stage.name}: step {step} was skipped, its gradient is not finite ({state.skipped} so far)"
                )
        else:
            mine = np.concatenate([m.indices for m in plan.step(order, index, accelerator.process_index, step)])
            culprits = offenders(stage, train, mine, s.batch_size, accelerator)
            raise _diverged(stage, f"the loss or its gradient is not finite at step {step} {culprits}", keeper)
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        ends_epoch = index + 1 == plan.steps_per_epoch
        if ends_epoch or step % log_every == 0:
            log.flush(step, epoch, rate)
        due = ends_epoch if s.validate_every is None else step % s.validate_every == 0 or step == total
        if due:
            check(step)
            log.restart_clock()
        asked = max_over_ranks(accelerator, stop.signal if stop else 0)
        if due or step % s.save_every == 0 or asked:
            save(step)
            log.restart_clock()
        if asked:
            raise Interrupted(f"{stage.name}: stopped at step {step:,} of {total:,}, everything is saved.", 128 + asked)
    result = StageResult(
        measure=stage.measures[0],
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
        replay_start=state.replay_start,
        replay_best=state.replay_best,
    )
    if main:
        listener.end(stage.name, result)
    return result


def _forward_backward(
    stage: Stage,
    model: nn.Module,
    windows: Mixture,
    plan: Plan,
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
        # Gradients are exchanged once per step, with the last batch.
        exchange = contextlib.nullcontext() if number == len(batches) else accelerator.no_sync(model)
        with exchange:
            with accelerator.autocast():
                losses = stage.losses(model, batch, mean_over_ranks(accelerator, micro.share))
            # DDP averages gradients over ranks, so each rank's weighted part is scaled up by their number.
            accelerator.backward(losses["loss"] * (micro.weight * plan.ranks))
        for name, value in losses.items():
            part = value.detach().float() * micro.weight
            totals[name] = totals[name] + part if name in totals else part
    return totals, sum(len(micro.indices) for micro in batches)


class _Log:
    """Collects the losses of several steps, then reports their means. What is collected is part of the state."""

    def __init__(self, stage: Stage, accelerator: Accelerator, listener: Listener, state: State) -> None:
        self.stage, self.accelerator, self.listener, self.state = stage, accelerator, listener, state
        self.names: list[str] = []
        self.windows = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time that passed since the last flush out of the speed."""
        self.clock, self.windows = time.monotonic(), 0

    def add(self, losses: dict[str, Tensor], norm: Tensor | float | None, windows: int) -> None:
        """Take in this rank's part of the mean losses, and the gradient norm that all ranks share."""
        self.names = list(losses)
        parts = torch.stack(list(losses.values())).double() if self._wide else torch.stack(list(losses.values()))
        means = sum_over_ranks(self.accelerator, parts).tolist()
        self.state.logged.append([*means, float(norm if norm is not None else math.nan)])
        self.windows += windows

    @property
    def _wide(self) -> bool:
        return self.accelerator.device.type != "mps"

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


def _diverged(stage: Stage, what: str, keeper: Keeper) -> TrainingError:
    saved = keeper.saved()
    last = f"The last good state is {saved[-1]}" if saved else "No state was saved before"
    return TrainingError(
        f"{stage.name}: {what}. {last}. Lower {stage.name}.learning_rate or {stage.name}.clip, look at the bars with "
        f"chandler inspect, or set {stage.name}.on_nonfinite: skip."
    )


@torch.no_grad()
def offenders(
    stage: Stage, windows: Mixture, indices: np.ndarray, batch_size: int, accelerator: Accelerator, limit: int = 3
) -> str:
    """Which of these windows have a validation measure that is not finite: symbols and dates, in words."""
    stage.model.eval()
    bad = []
    for index in indices:
        one = np.array([index])
        measures = stage.validation(to_device(windows, one, torch.zeros(1, windows.length), accelerator.device))
        if not all(math.isfinite(float(value)) for value in measures.values()):
            bad.append(int(index))
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        bad = gather_object(bad)
    suspects = bad or [int(i) for i in indices]
    named = [f"{symbol} {first} .. {last}" for symbol, first, last in map(windows.describe, suspects[:limit])]
    more = f" and {len(suspects) - limit} more" if len(suspects) > limit else ""
    which = "in windows" if bad else "with windows (each by itself is finite)"
    return f"{which} {', '.join(named)}{more}"


@torch.no_grad()
def validate(
    stage: Stage,
    windows: Windows,
    batch_size: int,
    accelerator: Accelerator,
    listener: Listener,
    part: str = "validation",
) -> dict[str, float]:
    """Mean of each validation measure over all windows, sharded over ranks; sums and counts are reduced with SUM.

    `part` names these windows among those that the stage is validated on.
    """
    mine = np.arange(accelerator.process_index, len(windows), accelerator.num_processes)
    sums = dict.fromkeys(stage.measures, 0.0)
    was_training = stage.model.training
    stage.model.eval()
    for lo in range(0, len(mine), batch_size):
        indices = mine[lo : lo + batch_size]
        batch = to_device(windows, indices, torch.zeros(len(indices), windows.length), accelerator.device)
        with accelerator.autocast():
            found = stage.validation(batch, key=(part, lo))
        for name in stage.measures:
            sums[name] += float(found[name])
        if accelerator.is_main_process:
            listener.validating(min(lo + batch_size, len(mine)), len(mine))
    stage.model.train(was_training)
    # float64 where the device has it, so that the split over ranks does not show in the score.
    dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
    row = torch.tensor([*sums.values(), float(len(mine))], dtype=dtype, device=accelerator.device)
    *values, count = sum_over_ranks(accelerator, row).tolist()
    return {name: value / count for name, value in zip(sums, values, strict=True)}


def to_device(windows: Windows | Mixture, indices: np.ndarray, uniforms: Tensor, device: torch.device) -> Batch:
    """Gather windows and hand them to the device of the model."""
    gathered = windows.gather(indices)
    return Batch(
        values=torch.from_numpy(gathered.values).to(device),
        stamps=torch.from_numpy(gathered.stamps).to(device=device, dtype=torch.long),
        uniforms=uniforms.to(device),
    )
