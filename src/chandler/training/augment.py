"""Changes to training windows; validation never sees them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from chandler.data.columns import FEATURES
from chandler.training.stages import Batch

FIRST_VOLUME = FEATURES.index("volume")
"""Volume and amount are the last columns."""


def drop_volume(batch: Batch, chances: Tensor, share: float) -> Batch:
    """The batch with volume and amount missing in the windows whose chance (B,) in [0, 1) is below `share`.

    Missing volumes are all 0 (in 5% of windows when Kronos was pretrained), and a constant column is 0 when normalised.
    """
    if not share:
        return batch
    values = batch.values.clone()
    values[chances.to(values.device) < share, :, FIRST_VOLUME:] = 0.0
    return replace(batch, values=values)
