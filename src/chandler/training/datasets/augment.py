"""The batch that a step or a validation computes with, and what is done to those of training alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from chandler.data import VOLUME
from chandler.data.datasets import CLIP, EPSILON, Windows
from chandler.training.datasets.device_cache import gather_tensors
from chandler.training.datasets.mixture import TrainingSet


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
    """(B,) int64: rows that the scale of each window comes from, where they differ."""


def to_device(windows: Windows | TrainingSet, indices: np.ndarray, uniforms: Tensor, device: torch.device) -> Batch:
    """Gather windows and hand them to the device of the model."""
    gather = windows.gather_tensors if isinstance(windows, TrainingSet) else partial(gather_tensors, windows)
    return Batch(*gather(indices, device), uniforms.to(device))


def drop_volume(batch: Batch, chances: Tensor, share: float) -> Batch:
    """The batch with volume and amount missing in the windows whose chance (B,) in [0, 1) is below `share`.

    They are the last columns. Missing ones are all 0 (in 5% of windows when Kronos was pretrained), and a constant
    column is 0 when normalised.
    """
    if not share:
        return batch
    values = batch.values.clone()
    values[chances.to(values.device) < share, :, VOLUME:] = 0.0
    return replace(batch, values=values)


def random_lookback(batch: Batch, least: int | None, lookback: int) -> Batch:
    """The batch with each window scaled by its first `least` .. `lookback` rows, as many as its uniform number says.

    The scale is that of `data.datasets.normalise`. Values come in scaled by `lookback` rows, so what was clipped there
    stays clipped.
    """
    if least is None or least == lookback:
        return batch
    values = batch.values
    rows = least + (batch.uniforms[:, 0] * (lookback - least + 1)).long().clamp(max=lookback - least)
    seen = (torch.arange(values.shape[1], device=values.device) < rows[:, None])[..., None]
    mean = (values * seen).sum(1, keepdim=True) / rows[:, None, None]
    std = (((values - mean) * seen).square().sum(1, keepdim=True) / rows[:, None, None]).sqrt()
    return replace(batch, values=((values - mean) / (std + EPSILON)).clamp(-CLIP, CLIP), lookback=rows)
