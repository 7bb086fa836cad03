"""Bars of a request, each symbol cut at its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from chandler.data import Bars, BarStore, future_timestamps, load_bars, resample_bars
from chandler.data.calendars import fit_schedule
from chandler.errors import DataError
from chandler.serving.sources import DAY, row_at, step_seconds


@dataclass(frozen=True)
class Asked:
    """The settings of a request, as the server sends them."""

    horizon: int
    paths: int
    origin: int | None
    interval: str | None
    seed: int
    calibrated: bool
    calendar: str | None
    settings: dict[str, Any]
    """Further keywords of `Forecaster.forecast_many`."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One symbol cut at its origin."""

    history: Bars
    truth: Bars | None
    """The bars after the origin, as many as there are of the horizon; None at the end of the data."""
    timestamps: pd.DatetimeIndex | None
    """Of the forecast, where the true ones are known."""
    step: int
    first: pd.Timestamp
    """The bar after the origin, there or to come."""


def opened(bars: dict[str, str]) -> BarStore:
    """The bars of a source, mapped: {"path", "revision"}."""
    return _store(bars["path"], bars["revision"])


@lru_cache(maxsize=4)
def _store(path: str, revision: str) -> BarStore:
    return load_bars(path)


def prepared(bars: dict[str, str], symbols: Sequence[str], asked: Asked) -> list[Prepared]:
    """The series of a request.

    Raises:
        DataError: an unknown symbol, an interval that does not fit, an origin before all bars.
    """
    store = opened(bars)
    return [_prepared(store, symbol, asked) for symbol in symbols]


def _prepared(store: BarStore, symbol: str, asked: Asked) -> Prepared:
    number = store.number(symbol)
    if asked.interval is not None:
        coarse = resample_bars(store[symbol], asked.interval, asked.calendar)
        if not len(coarse):
            raise DataError(f"{symbol}: there is not one whole bar of {asked.interval}.")
        store, number = BarStore.from_bars([coarse]), 0
    base, over = store.span(number)
    rows, step = over - base, step_seconds(store, number)
    known = rows if asked.origin is None else row_at(store, number, asked.origin, step)
    if known < 1:
        raise DataError(f"{symbol}: there are no bars up to that time.")
    until = min(known + asked.horizon, rows)

    def cut(lo: int, hi: int) -> Bars:
        values = np.asarray(store.values[base + lo : base + hi], np.float64)
        return Bars(symbol, store.index(number, base + lo, base + hi), values)

    history, truth = cut(max(0, known - 20_000), known), cut(known, until) if until > known else None
    times = None
    if truth is not None:
        # Step k is held against bar k: it is given the true time; where the data end, the calendar goes on.
        times = truth.timestamps
        if len(truth) < asked.horizon:
            seen = _joined(history.timestamps, times)
            times = _joined(times, future_timestamps(seen, asked.horizon - len(truth), asked.calendar))
    first = (_to_come(history, step) if truth is None else truth.timestamps)[0]
    return Prepared(history, truth, times, step, first)


def _joined(first: pd.DatetimeIndex, then: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Times one after another."""
    return pd.DatetimeIndex(first.append(then))


def _to_come(history: Bars, step: int) -> pd.DatetimeIndex:
    """(1,) when the next bar is due."""
    times = history.timestamps
    if len(times) < 2:
        return pd.DatetimeIndex(times[-1:] + pd.Timedelta(seconds=max(step, DAY)))
    return fit_schedule(times[-2000:]).after(1)
