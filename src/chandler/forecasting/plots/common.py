"""What both kinds of picture draw of a forecast: the last bars of its history, mean and band of its closes, the truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.candles import bar_labels
from chandler.data import CLOSE, Bars
from chandler.errors import ConfigError, DataError

RISE, FALL, AHEAD, INK, MUTED, FAINT = "#0072B2", "#D55E00", "#7A3E9D", "#1A1A1A", "#555555", "#D9D9D9"
"""Told apart without red and green (Okabe & Ito); falling candles are filled where rising ones are hollow."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What is to be drawn.

    Raises:
        ConfigError: an impossible band or number of rows.
    """

    symbol: str
    history: Bars
    timestamps: pd.DatetimeIndex
    """Of the forecast bars, (H,)."""
    close: NDArray[np.float64]
    """(paths, H)."""
    truth: Bars | pd.DataFrame | None
    band: float
    history_rows: int

    def __post_init__(self) -> None:
        if not 0 < self.band < 1:
            raise ConfigError(f"band is a share of the paths, above 0 and below 1, found {self.band!r}. 0.8 is usual.")
        if self.history_rows < 1:
            raise ConfigError(f"history_rows must be at least 1, found {self.history_rows!r}.")

    @cached_property
    def past(self) -> Bars:
        """The last rows of the history."""
        return self.history.tail(self.history_rows)

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        """Times of all bars that are drawn."""
        return pd.DatetimeIndex(self.past.timestamps.append(self.timestamps))

    @cached_property
    def labels(self) -> list[str]:
        return bar_labels(self.index)

    @property
    def title(self) -> str:
        bars = "bar" if len(self.timestamps) == 1 else f"{len(self.timestamps)} bars"
        return f"{self.symbol}: next {bars} after {self.labels[len(self.past) - 1]}"

    @property
    def time_title(self) -> str:
        zone = self.timestamps.tz
        return "time of bar" if zone is None else f"time of bar ({zone})"

    @property
    def mean_name(self) -> str:
        return "mean forecast close" if len(self.close) > 1 else "forecast close (1 path)"

    @property
    def band_name(self) -> str:
        return f"{self.band:.0%} of {len(self.close)} paths"

    def lines(self) -> NDArray[np.float64]:
        """Mean, lower and upper edge of the band, (3, 1 + H): they begin at the last known close, out of which they grow."""
        low, high = np.quantile(self.close, [(1 - self.band) / 2, (1 + self.band) / 2], axis=0)
        ahead = np.stack([self.close.mean(axis=0), low, high])
        return np.c_[np.full(3, self.history.values[-1, CLOSE]), ahead]

    def came_true(self) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        """Steps (N,) of the forecast that the truth has, and its rows (N, 6) there; DataError where it has none."""
        if self.truth is None:
            return np.arange(0), np.empty((0, 6))
        bars = self.truth if isinstance(self.truth, Bars) else Bars.from_frame(self.truth)
        if (bars.timestamps.tz is None) != (self.timestamps.tz is None):
            raise DataError(f"{self.symbol}: of truth and forecast only one has a time zone. Localise both or neither.")
        where = bars.timestamps.get_indexer(self.timestamps)
        steps = np.flatnonzero(where >= 0)
        if not len(steps):
            span = f"{bars.timestamps[0]} to {bars.timestamps[-1]}" if len(bars) else "no rows"
            raise DataError(
                f"{self.symbol}: the truth ({span}) has none of the forecast's timestamps "
                f"({self.timestamps[0]} to {self.timestamps[-1]}). Forecast with timestamps= of the truth."
            )
        return steps, bars.values[where[steps]]
