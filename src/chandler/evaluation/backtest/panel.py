"""A store as matrices of one common calendar: who trades on which bar, at what open, and worth what at its close."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import AMOUNT, CLOSE, HIGH, LOW, OPEN, VOLUME
from chandler.data.calendars import infer_interval
from chandler.data.store import BarStore
from chandler.errors import DataError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
YEAR = pd.Timedelta(days=365.25)


@dataclass(frozen=True, eq=False)
class Panel:
    """T bars of S symbols on one calendar: the union of all symbols' timestamps.

    Everything about bar t follows from the bars up to t, so what happens later changes nothing before.
    """

    symbols: tuple[str, ...]
    times: pd.DatetimeIndex
    """(T,), in the zone of the symbols where all have the same, else UTC; naive where none has one."""
    open: Array
    """(T, S) in price units, NaN where the symbol has no bar."""
    value: Array
    """(T, S) the last close so far, NaN before the first bar: what a position is marked at."""
    traded: Mask
    """(T, S) whether there is a bar, and a trade in it where the symbol's volume is known."""
    flat: Mask
    """(T, S) bars of one price (high = low)."""

    @classmethod
    def from_store(cls, store: BarStore) -> Panel:
        """The whole store. A symbol's volume counts as known from its first bar with volume or amount on."""
        ticks, rows = np.unique(np.asarray(store.timestamps, np.int64), return_inverse=True)
        shape = (len(ticks), len(store))
        opens, closes = np.full(shape, np.nan), np.full(shape, np.nan)
        traded, flat = np.zeros(shape, bool), np.zeros(shape, bool)
        for number in range(len(store)):
            lo, hi = store.span(number)
            values, places = np.asarray(store.values[lo:hi], np.float64), rows[lo:hi]
            opens[places, number], closes[places, number] = values[:, OPEN], values[:, CLOSE]
            flat[places, number] = values[:, HIGH] <= values[:, LOW]
            moved = (values[:, VOLUME] > 0) | (values[:, AMOUNT] > 0)
            traded[places, number] = moved | ~np.logical_or.accumulate(moved)
        times = pd.DatetimeIndex(ticks.view("M8[ns]"))
        zones = set(store.zones)
        if zones != {None}:
            times = times.tz_localize("UTC")
            only = zones.pop() if len(zones) == 1 else None
            times = times if only is None else times.tz_convert(only)
        return cls(store.symbols, times, opens, pd.DataFrame(closes).ffill().to_numpy(), traded, flat)

    def __len__(self) -> int:
        return len(self.times)

    def period(self, row: int) -> tuple[int, int]:
        """The moments of bar `row` and of the last one, ns since 1970."""
        ticks = self.times.as_unit("ns").asi8
        return int(ticks[row]), int(ticks[-1])

    @property
    def has_bar(self) -> Mask:
        """(T, S) whether the symbol has a bar."""
        return ~np.isnan(self.open)

    def until(self, bar: int) -> Panel:
        """The bars before position `bar` alone."""
        return replace(
            self, times=self.times[:bar], open=self.open[:bar], value=self.value[:bar], traded=self.traded[:bar],
            flat=self.flat[:bar],
        )  # fmt: skip

    def fillable(self, limit: float | None, one_price: bool, up: bool) -> Mask:
        """(T, S) whether a buy (`up`) or a sale at the open is filled: the symbol trades, and not one way only.

        A bar that opens at the limit (against the close before), or has one price, is blocked in the wrong direction.
        At limit-up nobody sells, so a buy is not filled and a sale is; at limit-down the other way round. A bar of
        one price that is the close before had no move to tell the side: neither is filled.
        """
        move = self.open / self._before() - 1
        away = move if up else -move
        blocked = np.zeros(self.open.shape, bool)
        if limit is not None:
            blocked |= away >= limit - 1e-9  # prices are float32: 10.0 % may read 9.9999999 %
        if one_price:
            blocked |= self.flat & ~(away < 0)
        return self.traded & ~blocked

    def returns(self) -> Array:
        """(T, S) value now over value one bar ago, less 1; NaN before a symbol's second bar."""
        return self.value / self._before() - 1

    def _before(self) -> Array:
        """(T, S) `value` one bar ago."""
        return np.vstack([np.full((1, len(self.symbols)), np.nan), self.value[:-1]])

    def bars_per_year(self) -> float:
        """Bars of the calendar per 365.25 days, measured from the first to the last."""
        if len(self) < 2:
            raise DataError("one bar cannot tell how many a year has. Give more bars, or set bars_per_year.")
        span = self.times[-1] - self.times[0]
        return float((len(self) - 1) * (YEAR / span))

    def interval(self) -> pd.Timedelta:
        """The most common spacing of the calendar."""
        return infer_interval(self.times)
