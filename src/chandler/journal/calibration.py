"""How well forecast distributions fitted what came: what their bands covered, and where in them the closes lay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.measures import PIT_BINS, Interval, pit_bins, share_interval

Array = NDArray[np.float64]
HALF = 0.5
LEVELS = (HALF, 0.8, 0.9)
"""Of the bands whose coverage is recorded."""
ENOUGH = 10
"""Origins whose forecasts share no time, below which a distribution of them says nothing."""
_TENTHS = [f"pit{number}" for number in range(PIT_BINS)]


@dataclass(frozen=True)
class Pit:
    """Where in their forecast distributions the closes lay."""

    shares: Array
    """(10,) of the closes in each tenth of the distribution, lowest first, summing to 1: steps of a forecast are averaged
    first, then forecasts of an origin. NaN without one."""
    origins: int
    """Behind it, and behind the coverage of 50%: scores that were given before these were kept have neither."""
    independent: int
    """Of these, origins whose forecast bars share no time."""

    @property
    def enough(self) -> bool:
        """Whether there are enough of them to look at."""
        return self.independent >= ENOUGH


def inside_column(level: float) -> str:
    """Of scores: inside80."""
    return f"inside{level * 100:.0f}"


def fit_by_forecast(scores: pd.DataFrame) -> pd.DataFrame:
    """Shares of each forecast's scored steps inside the bands (`inside_column`) and in the tenths of its distribution: a row
    each by id, NaN where no step has the figure."""
    bands = scores[[inside_column(level) for level in LEVELS]].astype("Float64").astype(np.float64)
    bins = pit_bins(scores["pit"])
    tenths = np.where(bins[:, None] < 0, np.nan, bins[:, None] == np.arange(PIT_BINS))
    whole = pd.concat([scores["id"], bands, pd.DataFrame(tenths, scores.index, _TENTHS)], axis=1)
    return whole.groupby("id", sort=False).mean()


def coverage_of(rows: pd.DataFrame, level: float, shared: int) -> Interval:
    """What the band of a level covered: the mean over origins that have it and its 95% block bootstrap interval. `rows` of
    `fit_by_forecast` with their origins, in order of time; `shared`: neighbouring origins with bars in common."""
    return share_interval(rows.groupby("origin")[inside_column(level)].mean().dropna(), shared)


def coverage_so_far(rows: pd.DataFrame) -> dict[float, Array]:
    """Level -> (n,) what its band covered up to each origin; NaN before the first that has it."""
    means = rows.groupby("origin")[[inside_column(level) for level in LEVELS]].mean().expanding().mean()
    return {level: means[inside_column(level)].to_numpy() for level in LEVELS}


def pit_of(rows: pd.DataFrame) -> Pit:
    """Of forecasts in rows as `coverage_of` takes them, with the `end` of each."""
    known = rows.dropna(subset=_TENTHS)
    origins, ends = spans_of(known)
    shares = known.groupby("origin")[_TENTHS].mean().mean().to_numpy(np.float64)
    return Pit(shares, len(origins), independent(origins, ends))


def spans_of(rows: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Origins, increasing, and the last bars of their forecasts: `origin` and `end` of rows, ns."""
    ends = rows.groupby("origin")["end"].max()
    return ends.index.to_numpy(np.int64), ends.to_numpy(np.int64)


def overlap(origins: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """How many neighbouring origins, at most, have forecast bars at common times; 1: none. `origins` (n,) increasing,
    `ends` (n,) of their last bars."""
    reach = np.searchsorted(origins, ends, side="left") - np.arange(len(origins))
    return int(max(1, reach.max(initial=1)))


def independent(origins: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """How many origins can be chosen whose forecasts share no time: greedily, by the end of their bars."""
    chosen, until = 0, None
    for at in np.argsort(ends, kind="stable"):
        if until is None or origins[at] >= until:
            chosen, until = chosen + 1, ends[at]
    return chosen
