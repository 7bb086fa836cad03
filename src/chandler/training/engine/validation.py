"""Measures a stage on windows, and says which windows made a number that is not finite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from chandler.data.datasets.windows import Windows
from chandler.errors import TrainingError
from chandler.training.datasets.augment import to_device
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.engine.checkpoints import CheckpointManager
from chandler.training.engine.distributed import gathered, sum_over_ranks
from chandler.training.engine.stages import Stage
from chandler.training.logging.callbacks import Callback

if TYPE_CHECKING:
    from accelerate import Accelerator


@torch.no_grad()
def find_nonfinite_windows(
    stage: Stage, windows: Windows | TrainingSet, indices: np.ndarray, accelerator: Accelerator, limit: int = 3
) -> str:
    """Which of these windows have a validation measure that is not finite: symbols and dates, in words.

    All ranks take part, each with windows of its own.
    """
    if not weights_finite(stage.model):
        return "because weights of the model are no longer finite"
    was_training = stage.model.training
    stage.model.eval()
    bad = []
    for index in indices:
        one = np.array([index])
        measures = stage.validation(to_device(windows, one, torch.zeros(1, windows.length), accelerator.device))
        if not all(math.isfinite(float(value)) for value in measures.values()):
            bad.append(int(index))
    stage.model.train(was_training)
    bad, every = gathered(accelerator, bad), gathered(accelerator, [int(i) for i in indices])
    suspects = bad or every
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
    listener: Callback,
    part: str = "validation",
    suspects: list[int] | None = None,
) -> dict[str, float]:
    """Mean of each validation measure over all windows, sharded over ranks; sums and counts are reduced with SUM.

    `part` names these windows among those that the stage is validated on. This rank's first batch with a measure that
    is not finite is added to `suspects`.
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
        if suspects is not None and not suspects and not all(map(math.isfinite, sums.values())):
            suspects += indices.tolist()
        if accelerator.is_main_process:
            listener.validating(min(lo + batch_size, len(mine)), len(mine))
    stage.model.train(was_training)
    # float64, so that the split over ranks does not show in the score.
    row = torch.tensor([*sums.values(), float(len(mine))], dtype=torch.float64)
    *values, count = sum_over_ranks(accelerator, row).tolist()
    return {name: value / count for name, value in zip(sums, values, strict=True)}


def weights_finite(model: nn.Module) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


def diverged(stage: Stage, what: str, keeper: CheckpointManager) -> TrainingError:
    saved = keeper.saved()
    last = f"The last good state is {saved[-1]}" if saved else "No state was saved before"
    return TrainingError(
        f"{stage.name}: {what}. {last}. Lower {stage.name}.learning_rate or {stage.name}.clip, look at the bars with "
        f"chandler inspect, or set {stage.name}.on_nonfinite: skip."
    )
