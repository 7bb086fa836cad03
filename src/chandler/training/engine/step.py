"""All of an optimiser step but the update: from its batches to clipped gradients and a row of numbers, on the device.

Nothing here waits for the device. Where it has graphs, a step of whole batches is captured once and then replayed
(`chandler.devices.graphs`); what a step computes is written down once, for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from chandler.devices import GraphError, captured, has_float64, has_graphs
from chandler.errors import ConfigError, TrainingError
from chandler.training.datasets import Batch, MicroBatch, ReadyBatch, derive_seed, drop_volume
from chandler.training.engine.distributed import mean_over_ranks, sum_over_ranks
from chandler.training.engine.fsdp import PreparedModel, is_sharded
from chandler.training.engine.stages import Stage
from chandler.training.settings import DataSettings, Settings, StageSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

COMPILE_BARS = 50_000_000
"""Bars trained on, over all steps, from which compilation pays on a GPU: a block takes some 17 s on an H100, a step of base of
256 x 101 bars then 30 ms less."""
T = TypeVar("T")


def compiles(settings: StageSettings, accelerator: Accelerator, bars: int, sharded: bool) -> bool:
    """Whether the blocks of a stage's model are compiled; `bars` pass through it in all its steps."""
    pays = accelerator.device.type == "cuda" and bars >= COMPILE_BARS
    return settings.compile == "on" or (settings.compile == "auto" and pays and not sharded)


def _can_capture(settings: StageSettings, accelerator: Accelerator) -> bool:
    """Gradients that are exchanged are not captured, nor random numbers that a backward pass draws again."""
    from accelerate.utils import DistributedType

    alone = accelerator.distributed_type == DistributedType.NO
    return alone and has_graphs(accelerator.device) and not settings.gradient_checkpointing


def require_ways(settings: Settings, accelerator: Accelerator) -> None:
    """ConfigError where a stage asks for a way to compute that cannot be had here."""
    for name, stage in settings.stages():
        if not stage.enabled:
            continue
        if stage.compile == "on" and is_sharded(accelerator, settings.distributed):
            raise ConfigError("compile: on was not tried together with distributed: fsdp. Use one of them.")
        if stage.cuda_graph == "on" and not _can_capture(stage, accelerator):
            raise ConfigError(
                f"{name}.cuda_graph: on needs a CUDA device, one process that torchrun has not started, and "
                f"{name}.gradient_checkpointing: false. Use {name}.cuda_graph: auto, which does without where it has to."
            )


@dataclass(frozen=True)
class _Captured:
    """A step as one launch, and the memory that it reads and writes."""

    replay: Callable[[], None]
    inputs: list[Batch]
    row: Tensor
    gradients: list[tuple[nn.Parameter, Tensor]]


@dataclass(eq=False)
class TrainStep:
    """Computes the steps of a stage."""

    stage: Stage
    settings: StageSettings
    data: DataSettings
    prepared: PreparedModel
    accelerator: Accelerator
    seed: int
    warn: Callable[[str], None]

    def __post_init__(self) -> None:
        self.losses: list[str] = []
        """Names of the losses, in the order of a row."""
        self.bad = torch.zeros((), device=self.accelerator.device)
        """1 where the update is to be left out: a number of the step was not finite, or with `on_nonfinite: stop` one of
        any step so far, so that the weights stay those that it met."""
        self._captures = self.settings.cuda_graph != "off" and _can_capture(self.settings, self.accelerator)
        self._captured: _Captured | None = None

    def __call__(self, step: int, ready: Sequence[ReadyBatch]) -> Tensor:
        """Take a step as far as its gradients, which end up clipped and equal on all ranks; `bad` is set.

        Returns:
            (n,) on the device: mean losses over the step and all ranks, then the norm of the gradient.
        """
        batches, micros = [one.batch() for one in ready], [one.micro for one in ready]
        s, draws = self.settings, derive_seed(self.seed, step, self.accelerator.process_index, 1)
        whole = len(ready) == s.accumulation_steps and all(len(micro.indices) == s.batch_size for micro in micros)
        self.prepared.model.train()
        if whole and self._captures and self._captured is None:
            self._capture(batches, micros)
        # Dropout draws from torch's global generator: seeding it anew makes each step a function of (seed, step, rank).
        if whole and self._captured is not None:
            for mine, batch in zip(self._captured.inputs, batches, strict=True):
                mine.overwrite(batch)
            torch.manual_seed(draws)
            self._captured.replay()
            for parameter, gradient in self._captured.gradients:
                parameter.grad = gradient
            return self._captured.row.clone()

        def eager() -> Tensor:
            torch.manual_seed(draws)
            return self._compute(batches, micros)

        if whole:
            return eager()
        with self.prepared.plain():
            return self.with_room(eager)

    def _compute(self, batches: Sequence[Batch], micros: Sequence[MicroBatch]) -> Tensor:
        """What a step computes; of `micros` it takes nothing but how they count."""
        accelerator, ranks = self.accelerator, self.accelerator.num_processes
        self.prepared.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for number, (batch, micro) in enumerate(zip(batches, micros, strict=True), start=1):
            batch = drop_volume(batch, self.data.drop_volume)
            with self.prepared.exchange(number == len(batches)):
                with accelerator.autocast():
                    losses = self.stage.losses(self.prepared.model, batch, mean_over_ranks(accelerator, micro.share))
                # DDP and FSDP average gradients over ranks, so each rank's weighted part is scaled up by their number.
                accelerator.backward(losses["loss"] * (micro.weight * ranks))
            for name, value in losses.items():
                part = value.detach().float() * micro.weight
                totals[name] = totals[name] + part if name in totals else part
        self.losses = list(totals)
        norm, parts = self.prepared.clip(self.settings.clip), torch.stack(list(totals.values()))
        means = sum_over_ranks(accelerator, parts.double() if has_float64(parts.device) else parts)
        row = torch.cat((means, norm.to(means.dtype).view(1)))
        bad = torch.isfinite(row).all().logical_not().float()
        self.bad.copy_(torch.maximum(self.bad, bad) if self.settings.on_nonfinite == "stop" else bad)
        return row

    def _capture(self, batches: Sequence[Batch], micros: Sequence[MicroBatch]) -> None:
        """Capture the step, or go on without from now on."""
        name, bad, inputs = self.stage.name, self.bad.clone(), [batch.copy() for batch in batches]
        made: list[Tensor] = []

        def work() -> None:
            made[:] = [self._compute(inputs, micros)]

        try:
            replay = captured(work, self.accelerator.device)
        except GraphError as error:
            self._captures = False
            self.prepared.optimizer.zero_grad(set_to_none=True)
            if self.settings.cuda_graph == "on":
                raise TrainingError(
                    f"{name}: a step cannot be captured: {error}. Set {name}.cuda_graph to auto or off."
                ) from error
            self.warn(f"{name}: steps are launched one operation at a time, since they cannot be captured: {error}")
        else:
            trained = [(p, p.grad) for p in self.prepared.model.parameters() if p.grad is not None]
            self._captured = _Captured(replay, inputs, made[0], trained)
        self.bad.copy_(bad)

    def with_room(self, work: Callable[[], T]) -> T:
        """`work`; where memory does not do and a captured step holds some, once more without that."""
        try:
            return work()
        except torch.OutOfMemoryError:
            if self._captured is None:
                raise
        self._captured, self._captures = None, False
        self.prepared.optimizer.zero_grad(set_to_none=True)
        self.warn(f"{self.stage.name}: a captured step was given up, for there is no memory beside it")
        return work()
