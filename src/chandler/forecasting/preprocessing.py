"""Turns bars into what the model is given: the visible rows, their scale, and the times of the horizon.

The history is cut first and normalised after, so rows that the model never sees move nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import Bars
from chandler.data.calendars import INFERRED, describe_sessions, fit_schedule, holiday_notes, short, time_features
from chandler.data.datasets import denormalise, normalise
from chandler.data.reading import load_bars
from chandler.errors import DataError
from chandler.forecasting.engine import require_finite
from chandler.text import count, shortened

MIN_HISTORY = 2
"""Rows below which a spread, and so a scale, has no meaning."""
CALENDAR_ROWS = 20_000
"""Rows whose times tell when bars come: a short lookback may not have seen a close or a weekend."""
GIVEN = "given"
"""The calendar of a forecast whose timestamps a caller handed in."""


@dataclass(frozen=True, eq=False)
class ForecastIndex:
    """When the forecast bars come, and who says so."""

    index: pd.DatetimeIndex
    """(horizon,), in the zone of the history."""
    calendar: str
    """An exchange, "24/7", "24/5", "inferred" or "given"."""
    sessions: str = ""
    """What was inferred: `Mon-Fri 09:30-16:00`."""
    notes: tuple[str, ...] = ()


class ModelInput(NamedTuple):
    """What the model is given of one series."""

    values: NDArray[Any]
    """Normalised history, (T, 6)."""
    stamps: NDArray[np.uint8]
    """Time features of history and horizon, (T + horizon, 5)."""


@dataclass(frozen=True, eq=False)
class PreparedSeries:
    """One series ready to be forecast."""

    history: Bars
    """The visible rows."""
    times: ForecastIndex
    window: ModelInput
    scale: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Mean and standard deviation (6,) of the visible rows."""

    def restore(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised paths (P, horizon, 6) in the units of the history.

        Raises:
            DataError: a value that is no number, which only damaged weights can cause.
        """
        paths = denormalise(z, *self.scale)
        require_finite(bool(np.isfinite(paths).all()), f"{self.history.symbol}: ")
        return paths


def prepare_series(
    series: Bars,
    horizon: int,
    rows: int,
    timestamps: Any = None,
    calendar: str | None = None,
    *,
    suggest: bool = True,
    known: dict[Any, tuple[ForecastIndex, NDArray[np.uint8]]] | None = None,
) -> PreparedSeries:
    """Make a series ready.

    Args:
        series: bars; the last `rows` are visible, the times of up to 20,000 help to infer the calendar.
        horizon: bars ahead, >= 1.
        rows: >= 2.
        timestamps: of the forecast bars; None works them out.
        calendar: when the market trades, as of `future_timestamps`; None learns it from the history.
        suggest: whether a recorded calendar is looked for that fits a learned one.
        known: what was worked out for series before it with the same horizon, rows and calendar, and is now added to: those
            of a market share their times, and to learn from them takes longer than all else.

    Raises:
        DataError: fewer than 2 rows, values that are not finite, timestamps that do not fit, an unknown calendar.
    """
    history = series.tail(rows)
    if len(history) < MIN_HISTORY:
        raise DataError(
            f"{history.symbol}: {count(len(history), 'row')} of history, a forecast needs at least {MIN_HISTORY} "
            "(and is better with hundreds)."
        )
    broken = ~np.isfinite(history.values).all(axis=1)
    if broken.any():
        raise DataError(
            f"{history.symbol}: {count(int(broken.sum()), 'row')} of history with values that are not finite, first at "
            f"{history.timestamps[broken.argmax()]}. Read them with Bars.from_frame or load_bars, which say what to do."
        )
    z, mean, std = normalise(history.values, len(history))
    if timestamps is not None:
        where = f"{history.symbol}: the forecast timestamps"
        times = ForecastIndex(given_times(history.timestamps, horizon, timestamps, where), GIVEN)
        return PreparedSeries(history, times, ModelInput(z, _stamps(history, times)), (mean, std))
    known = {} if known is None else known
    past = series.tail(max(rows, CALENDAR_ROWS)).timestamps
    key = sha256(past.asi8.tobytes()).digest(), past.unit, str(past.tz), len(history), suggest
    if key not in known:
        times = _worked_out(series.symbol, past, horizon, calendar, suggest)
        known[key] = times, _stamps(history, times)
    times, stamps = known[key]
    return PreparedSeries(history, times, ModelInput(z, stamps), (mean, std))


def _stamps(history: Bars, times: ForecastIndex) -> NDArray[np.uint8]:
    return np.concatenate((time_features(history.timestamps), time_features(times.index)))


def one_series(bars: Any) -> Bars:
    """Bars of one symbol from Bars, a frame, or a store of one symbol.

    Raises:
        DataError: several symbols, none, or something else altogether.
    """
    if isinstance(bars, Bars):
        return bars
    if isinstance(bars, pd.DataFrame):
        return Bars.from_frame(bars)
    try:
        series = list(bars)
    except TypeError:
        series = []
    if len(series) == 1 and isinstance(series[0], Bars):
        return series[0]
    if series and all(isinstance(one, Bars) for one in series):
        names = shortened([one.symbol for one in series], 5)
        raise DataError(f"forecast takes one symbol, found {len(series)}: {names}. Pick one, or call forecast_many.")
    raise DataError(f"forecast takes Bars, a DataFrame or a store of one symbol, found {type(bars).__name__}.")


def many_series(series: Iterable[Bars | pd.DataFrame] | Any) -> list[Bars]:
    """Bars of each symbol of a store, of a frame of many symbols, or of an iterable of what `one_series` takes.

    Raises:
        DataError: something else.
    """
    if isinstance(series, Bars):
        return [series]
    if isinstance(series, pd.DataFrame):
        return list(load_bars(series))
    try:
        each = list(series)
    except TypeError:
        raise DataError(f"forecast_many takes a store, a frame or a list of bars, found {series!r:.60}.") from None
    return [one_series(bars) for bars in each]


def _worked_out(
    symbol: str, past: pd.DatetimeIndex, horizon: int, calendar: str | None, suggest: bool
) -> ForecastIndex:
    """Timestamps after those of a series, from a named calendar or from what they tell."""
    try:
        schedule = fit_schedule(past, calendar)
        future = schedule.after(horizon)
    except DataError as error:
        raise DataError(f"{symbol}: {error}") from None
    guess = (describe_sessions(schedule) or f"every {short(schedule.step)}") if schedule.name == INFERRED else ""
    notes = (*schedule.notes, *holiday_notes(schedule, future, suggest=suggest))
    return ForecastIndex(future, schedule.name, guess, notes)


def given_times(history: pd.DatetimeIndex, horizon: int, timestamps: Any, where: str) -> pd.DatetimeIndex:
    """Timestamps that a caller gave, checked against those of the history and brought to their zone.

    Args:
        history: (T,), increasing.
        horizon: how many there must be.
        timestamps: what a DatetimeIndex can be made of.
        where: their name in messages, in the plural.

    Raises:
        DataError: they do not fit; says how.
    """
    index = read_times(timestamps, where)
    if len(index) != horizon:
        raise DataError(f"{where} are {len(index)}, the horizon is {horizon}. Give one per forecast bar.")
    if (index.tz is None) != (history.tz is None):
        have, has = ("have no", "one") if index.tz is None else ("have a", "none")
        raise DataError(f"{where} {have} time zone, the history has {has}. Localise both (tz_localize) or neither.")
    if index[0] <= history[-1]:
        raise DataError(
            f"{where} begin at {index[0]}, but the history ends at {history[-1]}. Give later ones, or cut the history."
        )
    # The hour and weekday that the model sees are those of the history's clock.
    return index if index.tz is None else index.tz_convert(history.tz)


def read_times(timestamps: Any, where: str) -> pd.DatetimeIndex:
    """A DatetimeIndex of what a caller gave; DataError, by the name `where`, unless all are there and increasing, and text
    is in ISO 8601."""
    try:
        written = pd.api.types.infer_dtype(timestamps) == "string"  # of 11/10/2024 pandas would guess the month
        index = pd.DatetimeIndex(pd.to_datetime(timestamps, format="ISO8601") if written else timestamps)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} cannot be read as times: {error}.") from error
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(f"{where} must be strictly increasing, with none missing.")
    return index
