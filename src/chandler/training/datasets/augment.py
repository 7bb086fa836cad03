"""Changes to training windows; validation never sees them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from chandler.data.columns import VOLUME
from chandler.data.datasets.windows import CLIP, EPSILON
from chandler.training.engine.stages import Batch

"""Volume and amount are the last columns."""


def drop_volume(batch: Batch, chances: Tensor, share: float) -> Batch:
    """The batch with volume and amount missing in the windows whose chance (B,) in [0, 1) is below `share`.

    Missing volumes are all 0 (in 5% of windows when Kronos was pretrained), and a constant column is 0 when normalised.
    """
    if not share:
        return batch
    values = batch.values.clone()
    values[chances.to(values.device) < share, :, VOLUME:] = 0.0
    return replace(batch, values=values)


def random_lookback(batch: Batch, least: int | None, lookback: int) -> Batch:
    """The batch with each window scaled by its first `least` .. `lookback` rows, as many as its uniform number says.

    The scale is that of `data.windows.normalise`. Values come in scaled by `lookback` rows, so what was clipped there
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
