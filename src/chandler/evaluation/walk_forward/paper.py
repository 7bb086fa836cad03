"""The paper's five tasks: which window suits which bars, and how paths are sampled for what.

Source: Kronos, arXiv 2508.02739, section on experiments and its appendix.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

Task = Literal["price", "return", "volatility", "generation", "investment"]


class TaskSampling(NamedTuple):
    """How a task samples."""

    temperature: float
    top_p: float
    paths: int


SAMPLING: dict[Task, TaskSampling] = {
    "price": TaskSampling(0.6, 0.9, 10),
    "return": TaskSampling(0.6, 0.9, 10),
    "volatility": TaskSampling(0.9, 0.9, 1),
    "generation": TaskSampling(1.0, 0.95, 1),
    "investment": TaskSampling(0.6, 0.9, 10),
}
_MINUTES = {5: (480, 96), 10: (240, 48), 15: (160, 32), 20: (120, 24), 40: (90, 24), 60: (80, 12), 120: (60, 12),
            240: (90, 18), 1440: (40, 12)}  # fmt: skip
INVESTMENT = (90, 10)
"""Lookback and horizon of the investment simulation on daily bars."""


def window_for(interval: pd.Timedelta, task: Task | None = None) -> tuple[int, int]:
    """The paper's (lookback, horizon) for bars of this interval; for others, that of the nearest by ratio.

    Investment has its own window for daily bars.
    """
    minutes = max(interval / pd.Timedelta(minutes=1), 1e-3)
    nearest = min(_MINUTES, key=lambda known: abs(np.log(known / minutes)))
    return INVESTMENT if task == "investment" and nearest == 1440 else _MINUTES[nearest]
