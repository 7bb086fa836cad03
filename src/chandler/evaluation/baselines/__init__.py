"""What a forecast has to beat: naive distributions of the close, and of the volume. They see what they are handed."""

from chandler.evaluation.baselines.closes import close_windows
from chandler.evaluation.baselines.dlinear import DLinear
from chandler.evaluation.baselines.garch import garch
from chandler.evaluation.baselines.registry import BASELINES, Baseline
from chandler.evaluation.baselines.volume import volume_by_time_of_day
from chandler.evaluation.baselines.walks import bootstrap, ewma, gaussian_walk, last_close, random_walk

__all__ = [
    "BASELINES",
    "Baseline",
    "DLinear",
    "bootstrap",
    "close_windows",
    "ewma",
    "garch",
    "gaussian_walk",
    "last_close",
    "random_walk",
    "volume_by_time_of_day",
]
