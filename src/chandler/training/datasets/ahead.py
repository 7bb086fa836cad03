"""The batches of a step, worked out while the device is at the step before."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from chandler.devices import pinned, upload
from chandler.training.datasets.augment import Batch, draw_lookbacks
from chandler.training.datasets.batching import BatchPlan, MicroBatch
from chandler.training.datasets.device_cache import Gather
from chandler.training.datasets.mixture import TrainingSet


@dataclass(frozen=True)
class ReadyBatch:
    """One batch of one rank, all that the host does for it done."""

    micro: MicroBatch
    gather: Gather
    device: torch.device
    lookbacks: torch.Tensor | None = None
    """(b,) int64: rows that scale each window, where they were drawn."""

    def batch(self) -> Batch:
        """The batch on the device; the host does not wait for it."""
        micro, noise = self.micro, self.micro.noise
        uniforms, chances = upload(micro.uniforms, self.device), upload(micro.chances, self.device)
        noise, rows = (None if one is None else upload(one, self.device) for one in (noise, self.lookbacks))
        return Batch(*self.gather(), uniforms, lookback=rows, noise=noise, chances=chances)


class Feeder:
    """The batches of one rank, step by step. They are a function of (seed, step) alone: nothing has to be kept of it.

    With `ahead` a thread works out the next step while its caller is busy with this one. It ends with `close`.
    `least_lookback`: that of the stage.
    """

    def __init__(
        self,
        train: TrainingSet,
        plan: BatchPlan,
        rank: int,
        device: torch.device,
        *,
        ahead: bool,
        least_lookback: int | None = None,
    ) -> None:
        self.train, self.plan, self.rank, self.device = train, plan, rank, device
        self.least_lookback = least_lookback
        self._order, self._epoch = np.empty(0, np.int64), 0
        self._next: tuple[int, Future[list[ReadyBatch]]] | None = None
        self._pool = ThreadPoolExecutor(1, "chandler-batches", self._begin) if ahead else None

    def take(self, step: int, last: int) -> list[ReadyBatch]:
        """The batches of optimiser step `step` (from 1), of `last` in all; what went wrong in the thread is raised here."""
        if self._pool is None:
            return self._prepare(step)
        if self._next is None or self._next[0] != step:
            self._next = step, self._pool.submit(self._prepare, step)
        ready = self._next[1].result()
        self._next = (step + 1, self._pool.submit(self._prepare, step + 1)) if step < last else None
        return ready

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # each thread has its own

    def _prepare(self, step: int) -> list[ReadyBatch]:
        plan, epoch = self.plan, self.plan.epoch(step)
        if epoch != self._epoch:
            self._order, self._epoch = self.train.order(plan.seed, epoch), epoch
        batches = plan.step(self._order, (step - 1) % plan.steps_per_epoch, self.rank, step)
        return [self._ready(micro) for micro in batches]

    def _ready(self, micro: MicroBatch) -> ReadyBatch:
        noise = None if micro.noise is None else pinned(micro.noise, self.device)
        uniforms, chances = pinned(micro.uniforms, self.device), pinned(micro.chances, self.device)
        drawn = MicroBatch(micro.indices, uniforms, chances, micro.share, micro.weight, noise)
        # Known before the windows are cut: their scale is that of a forecast with so many bars, to the last bit.
        rows = draw_lookbacks(micro.uniforms, self.least_lookback, self.train.main.lookback)
        gather = self.train.fetch(micro.indices, self.device, rows)
        return ReadyBatch(
            drawn, gather, self.device, None if rows is None else pinned(torch.from_numpy(rows), self.device)
        )
