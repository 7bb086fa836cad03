"""What a forecast has to beat: `naive` distributions of the close and of the volume, `garch`, and the trained `dlinear`.

They see what they are handed. `BASELINES` and `TRAINED` hold them by name, to loop over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chandler.evaluation.baselines.dlinear import DLinear, close_windows
from chandler.evaluation.baselines.garch import garch
from chandler.evaluation.baselines.naive import (
    Array,
    bootstrap,
    ewma,
    gaussian_walk,
    last_close,
    random_walk,
    volume_by_time_of_day,
)

BASELINES: Mapping[str, Callable[..., Array]] = {
    "last_close": last_close,
    "bootstrap": bootstrap,
    "gaussian_walk": gaussian_walk,
    "ewma": ewma,
    "garch": garch,
}
"""Name -> f(history, horizon, paths, *, seed): closes (paths, horizon) in price units after those of the history (T,), the
newest last; a point forecast is one path. In the order of tables, from the simplest on."""
TRAINED: Mapping[str, type[DLinear]] = {"dlinear": DLinear}
"""Name -> what is fitted to windows of closes first; the `sample` of the result is as a function of `BASELINES`."""

__all__ = [
    "BASELINES",
    "TRAINED",
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
