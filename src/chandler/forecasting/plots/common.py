"""What both kinds of picture start from: the history that is drawn, and the truth at the forecast's times."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data.bars import Bars
from chandler.errors import ConfigError, DataError
from chandler.forecasting.forecast import Forecast

RISE, FALL, AHEAD, INK, MUTED, FAINT = "#0072B2", "#D55E00", "#7A3E9D", "#1A1A1A", "#555555", "#D9D9D9"
"""Told apart without red and green (Okabe & Ito); falling candles are filled where rising ones are hollow."""


def drawn_history(forecast: Forecast, band: float, history_rows: int) -> Bars:
    """The last `history_rows` bars of the history; ConfigError for an impossible band or number of rows."""
    if not 0 < band < 1:
        raise ConfigError(f"band is a share of the paths, above 0 and below 1, found {band!r}. 0.8 is usual.")
    if history_rows < 1:
        raise ConfigError(f"history_rows must be at least 1, found {history_rows!r}.")
    return forecast.history.tail(history_rows)


def matching(truth: Bars | pd.DataFrame, forecast: Forecast) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Steps (N,) of the forecast that the truth has, and its rows (N, 6) there."""
    bars = truth if isinstance(truth, Bars) else Bars.from_frame(truth)
    if (bars.timestamps.tz is None) != (forecast.timestamps.tz is None):
        raise DataError(f"{forecast.symbol}: of truth and forecast only one has a time zone. Localise both or neither.")
    where = bars.timestamps.get_indexer(forecast.timestamps)
    steps = np.flatnonzero(where >= 0)
    if not len(steps):
        span = f"{bars.timestamps[0]} to {bars.timestamps[-1]}" if len(bars) else "no rows"
        raise DataError(
            f"{forecast.symbol}: the truth ({span}) has none of the forecast's timestamps "
            f"({forecast.timestamps[0]} to {forecast.timestamps[-1]}). Forecast with timestamps= of the truth."
        )
    return steps, bars.values[where[steps]]
