"""The batch that a step or a validation computes with, and what is done to those of training alone."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from chandler.data import VOLUME
from chandler.data.datasets import Windows
from chandler.devices import upload
from chandler.training.datasets.device_cache import fetch
from chandler.training.datasets.mixture import TrainingSet

NOISE_LAGS = 4
"""Token noise takes a pair from up to so many bars before: as far off as a sampled pair is (docs/log.md, 2026-11-27)."""


@dataclass(frozen=True)
class Batch:
    """Windows on the device of the model."""

    values: Tensor
    """(B, T, 6) normalised bars."""
    stamps: Tensor
    """(B, T, 5) time features, int64."""
    uniforms: Tensor
    """(B, T) in [0, 1): the randomness of this step, drawn for the whole global batch and then sharded. The first
    column chooses `lookback`, the others s1 tokens."""
    lookback: Tensor | None = None
    """(B,) int64: rows that the scale of each window comes from, where they were drawn (`draw_lookbacks`)."""
    noise: Tensor | None = None
    """(B, T, 2) in [0, 1): for each bar whether its pair of tokens is replaced, and from how far before; None: none is."""
    chances: Tensor | None = None
    """(B,) in [0, 1), one for each window: whether it is changed for training; None: none is."""

    def copy(self) -> Batch:
        """The same numbers in memory of their own."""
        there = {field.name: tensor for field in fields(self) if (tensor := getattr(self, field.name)) is not None}
        return replace(self, **{name: tensor.clone() for name, tensor in there.items()})

    def overwrite(self, other: Batch) -> None:
        """Take the numbers of another batch of the same shape, in place."""
        for field in fields(self):
            if (mine := getattr(self, field.name)) is not None:
                mine.copy_(getattr(other, field.name), non_blocking=True)


def to_device(windows: Windows | TrainingSet, indices: np.ndarray, uniforms: Tensor, device: torch.device) -> Batch:
    """Gather windows and hand them to the device of the model."""
    gather = windows.fetch(indices, device) if isinstance(windows, TrainingSet) else fetch(windows, indices, device)
    return Batch(*gather(), upload(uniforms, device))


def drop_volume(batch: Batch, share: float) -> Batch:
    """The batch with volume and amount missing in the windows whose chance is below `share`.

    They are the last columns. Missing ones are all 0 (in 5% of windows when Kronos was pretrained), and a constant
    column is 0 when normalised.
    """
    if not share or batch.chances is None:
        return batch
    last = torch.arange(batch.values.shape[-1], device=batch.values.device) >= VOLUME
    # As a mask of the same shape, not as an index: a device would have to tell how many there are.
    return replace(batch, values=batch.values.masked_fill((batch.chances < share)[:, None, None] & last, 0.0))


def draw_lookbacks(uniforms: Tensor, least: int | None, lookback: int) -> np.ndarray | None:
    """How many rows scale each window in training, (B,) int64 from `least` to `lookback`, as its first uniform number says.

    `uniforms` (B, T) are those of a `Batch`, on the host. None: there is no choice.
    """
    if least is None or least == lookback:
        return None
    drawn: np.ndarray = least + (uniforms[:, 0] * (lookback - least + 1)).long().clamp(max=lookback - least).numpy()
    return drawn


def replace_tokens(s1: Tensor, s2: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """s1, s2 (B, T) in which about `share` of the pairs are those of a bar 1 .. `NOISE_LAGS` rows before in the same window.

    `noise` is that of a `Batch`. Never a later bar, which would tell the model what it is asked for; never another window,
    so that the result does not depend on how a step is shared out. The first bar has none before it and stays.
    """
    rows = torch.arange(s1.shape[1], device=s1.device)
    back = 1 + (noise[..., 1] * NOISE_LAGS).long().clamp(max=NOISE_LAGS - 1)
    source = torch.where(noise[..., 0] < share, (rows - back).clamp(min=0), rows)
    return s1.gather(1, source), s2.gather(1, source)
