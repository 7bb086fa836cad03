"""The one fit(): accumulate, clip, step, validate, keep the best. Both stages run through it."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chandler.data.windows import Windows, require_windows
from chandler.errors import TrainingError
from chandler.training.config import StageSettings
from chandler.training.distributed import mean_over_ranks, sum_over_ranks
from chandler.training.optim import make_optimizer, make_schedule
from chandler.training.plan import Plan, derive_seed
from chandler.training.stages import Batch, Stage

if TYPE_CHECKING:
    from accelerate import Accelerator


class Listener(Protocol):
    """What the loop tells the outside, on rank 0 only: the run folder writes it down, a terminal shows it."""

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int) -> None:
        """A stage starts: epochs and optimiser steps planned, windows of an epoch."""

    def train(self, record: dict[str, Any]) -> None:
        """Mean losses, gradient norm, learning rate and speed since the last record."""

    def validating(self, done: int, total: int) -> None:
        """Progress within a validation, in windows."""

    def validation(self, record: dict[str, Any], model: nn.Module, best: bool) -> None:
        """Scores of a validation; `model` is to be kept when it is the best so far."""

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
    seconds: float
    train_windows: int
    validation_windows: int

    @property
    def improved(self) -> bool:
        """Whether any checkpoint beat the starting weights."""
        return self.best_step > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {**asdict(self), "improved": self.improved}


@dataclass
class _Tracker:
    """The best score so far and how long ago it was."""

    start: float = math.nan
    best: float = math.inf
    best_step: int = 0
    without_gain: int = 0

    def add(self, score: float, step: int) -> bool:
        """Take a score in; whether it is a new best (strictly lower than all before)."""
        if step == 0:
            self.start = score
        better = score < self.best
        if better:
            self.best, self.best_step = score, step
        self.without_gain = 0 if better else self.without_gain + 1
        return better


def fit(
    stage: Stage,
    train: Windows,
    validation: Windows,
    settings: StageSettings,
    *,
    accelerator: Accelerator,
    listener: Listener,
    seed: int,
    windows_per_epoch: int | None = None,
    log_every: int = 10,
) -> StageResult:
    """Train one stage; the listener is handed each new best model, step 0 included.

    Step 0 validates the starting weights; a later checkpoint is better only if its score is strictly lower.

    Raises:
        DataError: a split without a window.
        TrainingError: fewer windows than processes; a loss or score that is not finite.
    """
    require_windows(train, "training")
    require_windows(validation, "validation")
    s = settings
    plan = Plan(
        len(train),
        train.length,
        s.batch_size,
        s.accumulation_steps,
        accelerator.num_processes,
        seed,
        windows_per_epoch,
    )
    if not plan.steps_per_epoch:
        raise TrainingError(
            f"{stage.name}: {len(train)} training windows for {plan.ranks} processes. Start fewer processes."
        )
    begun = time.monotonic()
    stage.model.to(accelerator.device)
    model = accelerator.prepare_model(stage.model)
    optimizer = make_optimizer(stage.model, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay)
    total = plan.steps_per_epoch * s.epochs
    schedule = make_schedule(optimizer, lr=s.learning_rate, steps=total, warmup=s.warmup, div_factor=s.div_factor)
    tracker = _Tracker()

    def check(epoch: int, step: int) -> None:
        """Validate, and hand the model on if it is the best so far."""
        scores = validate(stage, validation, s.batch_size, accelerator, listener)
        score = scores[stage.measures[0]]
        if not math.isfinite(score):
            raise _diverged(stage, f"validation {stage.measures[0]} is {score} at step {step}", tracker)
        better = tracker.add(score, step)
        if accelerator.is_main_process:
            record = {"stage": stage.name, "kind": "validation", "step": step, "epoch": epoch, **scores}
            listener.validation(record, stage.model, better)

    if accelerator.is_main_process:
        listener.begin(stage.name, epochs=s.epochs, steps=total, windows=plan.per_epoch)
    check(0, 0)
    stopped = False
    step = epoch = 0
    log = _Log(stage, accelerator, listener)
    for epoch in range(1, s.epochs + 1):
        order = plan.order(epoch)
        for index in range(plan.steps_per_epoch):
            step += 1
            rate = schedule.get_last_lr()[0]
            losses, windows = _forward_backward(stage, model, train, plan, order, index, step, accelerator)
            norm = accelerator.clip_grad_norm_(model.parameters(), s.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            log.add(losses, norm, windows)
            ends_epoch = index + 1 == plan.steps_per_epoch
            if ends_epoch or step % log_every == 0:
                log.flush(step, epoch, rate, tracker)
            if ends_epoch if s.validate_every is None else step % s.validate_every == 0 or step == total:
                check(epoch, step)
                log.restart_clock()
                stopped = s.patience is not None and tracker.without_gain >= s.patience
                if stopped:
                    break
        if stopped:
            break
    result = StageResult(
        measure=stage.measures[0],
        start=tracker.start,
        best=tracker.best,
        best_step=tracker.best_step,
        steps=step,
        epochs=epoch,
        stopped_early=stopped,
        seconds=time.monotonic() - begun,
        train_windows=len(train),
        validation_windows=len(validation),
    )
    if accelerator.is_main_process:
        listener.end(stage.name, result)
    return result


def _forward_backward(
    stage: Stage,
    model: nn.Module,
    windows: Windows,
    plan: Plan,
    order: np.ndarray,
    index: int,
    step: int,
    accelerator: Accelerator,
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
    """Collects the losses of several steps without waiting for the device, then reports their means."""

    def __init__(self, stage: Stage, accelerator: Accelerator, listener: Listener) -> None:
        self.stage, self.accelerator, self.listener = stage, accelerator, listener
        self.rows: list[Tensor] = []
        self.names: list[str] = []
        self.windows = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time that passed since the last flush out of the speed."""
        self.clock = time.monotonic()

    def add(self, losses: dict[str, Tensor], norm: Tensor | float | None, windows: int) -> None:
        # The norm is the same on every rank; a share of it each makes the sum over ranks right.
        share = torch.as_tensor(norm, dtype=torch.float32, device=self.accelerator.device)
        self.names = [*losses, "grad_norm"]
        self.rows.append(torch.stack([*losses.values(), share / self.accelerator.num_processes]))
        self.windows += windows

    def flush(self, step: int, epoch: int, rate: Tensor | float, tracker: _Tracker) -> None:
        """Report the means since the last flush; TrainingError if one is not finite."""
        means = sum_over_ranks(self.accelerator, torch.stack(self.rows).mean(0)).tolist()
        if not all(map(math.isfinite, means)):
            raise _diverged(
                self.stage,
                f"loss or gradient is not finite in steps {step - len(self.rows) + 1} to {step}",
                tracker,
            )
        if self.accelerator.is_main_process:
            speed = self.windows * self.accelerator.num_processes / max(time.monotonic() - self.clock, 1e-9)
            record = {"stage": self.stage.name, "kind": "train", "step": step, "epoch": epoch}
            record |= dict(zip(self.names, means, strict=True))
            self.listener.train({**record, "lr": float(rate), "windows_per_second": speed})
        self.rows, self.windows = [], 0
        self.restart_clock()


def _diverged(stage: Stage, what: str, tracker: _Tracker) -> TrainingError:
    return TrainingError(
        f"{stage.name}: {what}. The best checkpoint so far (step {tracker.best_step}) is kept in checkpoints/. "
        f"Lower {stage.name}.learning_rate or {stage.name}.clip, and look at the bars with chandler inspect."
    )


@torch.no_grad()
def validate(
    stage: Stage, windows: Windows, batch_size: int, accelerator: Accelerator, listener: Listener
) -> dict[str, float]:
    """Mean of each validation measure over all windows, sharded over ranks; sums and counts are reduced with SUM."""
    mine = np.arange(accelerator.process_index, len(windows), accelerator.num_processes)
    sums = dict.fromkeys(stage.measures, 0.0)
    was_training = stage.model.training
    stage.model.eval()
    for lo in range(0, len(mine), batch_size):
        indices = mine[lo : lo + batch_size]
        batch = to_device(windows, indices, torch.zeros(len(indices), windows.length), accelerator.device)
        with accelerator.autocast():
            found = stage.validation(batch)
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


def to_device(windows: Windows, indices: np.ndarray, uniforms: Tensor, device: torch.device) -> Batch:
    """Gather windows and hand them to the device of the model."""
    gathered = windows.gather(indices)
    return Batch(
        values=torch.from_numpy(gathered.values).to(device),
        stamps=torch.from_numpy(gathered.stamps).to(device=device, dtype=torch.long),
        uniforms=uniforms.to(device),
    )
