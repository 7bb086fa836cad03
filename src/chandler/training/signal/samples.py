"""Where a signal is asked for and what came of it: windows on the dates of a common calendar, cut into three periods."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from chandler.data import CLOSE
from chandler.data.store import BarStore
from chandler.errors import DataError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
DATES = {"train": 20, "validation": 5, "test": 10}
"""Fewer dates than that decide nothing."""
TINY = 1e-8


@dataclass(frozen=True, eq=False)
class Samples:
    """W windows, in the order of dates, then symbols."""

    numbers: Ints
    """(W,) the symbols, as numbers of the store."""
    rows: Ints
    """(W,) the absolute row of the last bar that the signal sees."""
    dates: Ints
    """(W,) positions in the calendar: the moments (slots of one bar) on which any symbol has a bar."""
    returns: Array
    """(W,) log return from the last close within `delay` positions of the row to that within `horizon` more."""
    volatility: Array
    """(W,) standard deviation of the log returns in the window, per bar."""
    momentum: Array
    """(W,) log return of the bars before."""
    reversal: Array
    """(W,) less the log return of the few bars before."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Mask | Ints) -> Samples:
        """The chosen windows."""
        return Samples(*(getattr(self, one.name)[chosen] for one in fields(self)))

    @property
    def scaled(self) -> Array:
        """(W,) returns in volatilities of the horizon so far; where nothing ever moved, 0."""
        return self.returns / np.maximum(self.volatility, TINY)


@dataclass(frozen=True, eq=False)
class Calendar:
    """The moments of a store on which any symbol has a bar."""

    slots: Ints
    """(T,) increasing: time // `interval`."""
    times: Ints
    """(T,) ns: the earliest bar of each."""
    interval: int
    """ns of a bar."""

    @classmethod
    def of(cls, store: BarStore) -> Calendar:
        """Of all rows of a store."""
        interval = store.interval.value
        times = np.unique(np.asarray(store.timestamps))
        slots, first = np.unique(times // interval, return_index=True)
        return cls(slots, times[first], interval)

    def position(self, moment: int) -> int:
        """The first position at or after a moment (ns)."""
        return int(np.searchsorted(self.times, moment))

    def time(self, position: int) -> pd.Timestamp:
        """When a position is, in UTC or in the wall clock of bars without a zone."""
        return pd.Timestamp(int(self.times[min(position, len(self.times) - 1)]))


def find_samples(
    store: BarStore, calendar: Calendar, lookback: int, ahead: tuple[int, int], every: int, past: tuple[int, int]
) -> Samples:
    """All windows of `lookback` unbroken rows on every `every`-th date whose return is known.

    `ahead` is (delay, horizon): the return goes from the last close at most `delay` positions later to the last one at most
    `horizon` positions after that, the same dates for all symbols; a symbol that is suspended then has its last one. Holes, and
    rows that no window uses, break a window but no return; a cut at a jump of the price ends both.
    `past`: bars of momentum and of reversal, of those in the window.

    Raises:
        DataError: there is none.
    """
    parts: list[tuple[Array | Ints, ...]] = []
    last, delay, reach = len(calendar.slots) - 1, ahead[0], sum(ahead)
    edges = np.searchsorted(store.owners, np.arange(len(store) + 1))
    for owner, (first, over) in enumerate(pairwise(store.offsets)):
        close = np.log(np.asarray(store.values[first:over, CLOSE], np.float64))
        places = np.searchsorted(calendar.slots, np.asarray(store.timestamps[first:over]) // calendar.interval)
        segments = store.segments[edges[owner] : edges[owner + 1]] - first
        # Cut where no date is missing: at a jump of the price, of a split or a wrong tick, which is no return.
        cuts = [lo for (_, hi), (lo, _) in pairwise(segments) if hi == lo and places[lo] - places[lo - 1] <= 1]
        jumps = np.array([*cuts, over - first])
        for lo, hi in segments:
            if hi - lo < lookback:
                continue
            at = np.arange(lo + lookback - 1, hi)
            # Among all rows of the symbol: what the model sees is unbroken, a return goes on over a hole.
            begin, end = (np.searchsorted(places, places[at] + later, side="right") - 1 for later in (delay, reach))
            end = np.minimum(end, jumps[np.searchsorted(jumps, at, side="right")] - 1)
            known = (places[at] + reach <= last) & (end > begin)
            spread = sliding_window_view(np.diff(close[lo:hi]), lookback - 1).std(axis=1)
            at, begin, end, spread = at[known], begin[known], end[known], spread[known]
            far, near = (min(bars, lookback - 1) for bars in past)
            parts.append(
                (np.full(len(at), owner), at + first, places[at], close[end] - close[begin], spread,
                 close[at] - close[at - far], close[at - near] - close[at])
            )  # fmt: skip
    if not sum(len(part[0]) for part in parts):
        raise DataError(
            f"no window to learn from: one needs {lookback} unbroken bars and {reach} more of the calendar. Lower lookback "
            "or horizon, or give more bars."
        )
    found = Samples(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    found = found.take((found.dates - found.dates.min()) % every == 0)
    return found.take(np.lexsort((found.numbers, found.dates)))


def split_samples(samples: Samples, reach: int, val: int, test: int) -> dict[str, Mask]:
    """Which windows belong to "train", "validation" and "test": (W,) each.

    `val` and `test` are the positions at which these begin. No return of a part ends in the next one (purge), and a part
    begins `reach` positions (delay and horizon) later than it might (embargo): what moved the returns before has died away.
    """
    dates, end = samples.dates, samples.dates + reach
    return {
        "train": end < val,
        "validation": (dates >= val + reach) & (end < test),
        "test": dates >= test + reach,
    }


def require_dates(samples: Samples, parts: dict[str, Mask], calendar: Calendar) -> None:
    """Refuse parts of too few dates to say anything.

    Raises:
        DataError: says how many there are, and where the parts begin.
    """
    told, short = [], False
    for name, chosen in parts.items():
        dates = np.unique(samples.dates[chosen])
        span = f" ({calendar.time(dates[0]).date()} to {calendar.time(dates[-1]).date()})" if len(dates) else ""
        told.append(f"{name} {len(dates)}{span}")
        short |= len(dates) < DATES[name]
    if short:
        need = ", ".join(
            f"{count} to {what}" for what, count in zip(("learn", "choose", "test"), DATES.values(), strict=True)
        )
        raise DataError(
            f"too few dates for a signal: {'; '.join(told)}; it takes {need}. Lower every or horizon, move val_start or "
            "test_start, or give a longer history."
        )
