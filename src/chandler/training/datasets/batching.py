"""Which windows each step, batch and rank gets. Depends on seed, epoch and sizes only, never on timing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class MicroBatch:
    """One batch of one rank: the windows it computes, and how they count in the optimiser step."""

    indices: np.ndarray
    """(b,) windows of this rank."""
    uniforms: torch.Tensor
    """(b, T) this rank's rows of the randomness of the global batch."""
    chances: torch.Tensor
    """(b,) in [0, 1), one for each window: whether it is changed for training."""
    share: float
    """This rank's part of the batch over all ranks (for means over ranks within the batch)."""
    weight: float
    """This rank's part of all windows of the optimiser step; over ranks and batches they sum to 1."""
    noise: torch.Tensor | None = None
    """(b, T, 2) in [0, 1): this rank's rows of what `token_noise` draws from, where the plan draws it."""


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch is cut: optimiser steps of `accumulation` batches of `batch_size` windows on each of `ranks`.

    Every window appears at most once per epoch over all ranks. A remainder of fewer windows than ranks is left out
    of an epoch, since each rank must have work in each batch.
    """

    windows: int
    """Windows that an epoch draws."""
    length: int
    """Bars of a window."""
    batch_size: int
    accumulation: int
    ranks: int
    seed: int
    noise: bool = False
    """Whether there are draws for `token_noise`."""

    @property
    def per_epoch(self) -> int:
        """Windows that an epoch uses."""
        rest = self.windows % (self.batch_size * self.ranks)
        return self.windows - rest if rest < self.ranks else self.windows

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch; 0 when there are fewer windows than ranks."""
        return -(-self.per_epoch // (self.batch_size * self.ranks * self.accumulation))

    def epoch(self, step: int) -> int:
        """The epoch (from 1) that optimiser step `step` (from 1) belongs to; 0 for step 0."""
        return -(-step // self.steps_per_epoch)

    def step(self, order: np.ndarray, index: int, rank: int, step: int) -> Iterator[MicroBatch]:
        """The batches of one rank in optimiser step `index` of an epoch, whose windows are `order` (windows,); `step`
        counts over all epochs."""
        wide = self.batch_size * self.ranks
        group = order[: self.per_epoch][index * wide * self.accumulation : (index + 1) * wide * self.accumulation]
        # One draw for the whole step: each window's numbers are the same however the step is cut and sharded.
        uniforms = _drawn(derive_seed(self.seed, step), len(group), self.length)
        chances = _drawn(derive_seed(self.seed, step, 0, 2), len(group))
        noise = _drawn(derive_seed(self.seed, step, 0, 3), len(group), self.length, 2) if self.noise else None
        for lo in range(0, len(group), wide):
            whole = min(wide, len(group) - lo)
            mine = np.arange(lo + rank, lo + whole, self.ranks)
            yield MicroBatch(
                group[mine],
                uniforms[mine],
                chances[mine],
                len(mine) / whole,
                len(mine) / len(group),
                None if noise is None else noise[mine],
            )


def derive_seed(*parts: int) -> int:
    """An independent 63-bit seed for each tuple of numbers."""
    high, low = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(high) << 31) ^ int(low)


def _drawn(seed: int, *shape: int) -> torch.Tensor:
    """Uniform numbers in [0, 1), on the CPU whatever torch's default device is."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), device="cpu")
