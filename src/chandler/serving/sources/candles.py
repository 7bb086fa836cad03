"""Candles of one symbol as a chart shows them: raw, or 2, 4, 8, ... bars in one where there are too many.

Buckets are aligned to the symbol's first row, so that no candle changes as the view moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import CLOSE, HIGH, LOW, OPEN, VOLUME
from chandler.data.store import BarStore
from chandler.errors import DataError

DAY = 86_400
NS = 1_000_000_000
FAR = 9_223_000_000
"""Seconds before and after 1970 that nanoseconds can hold, with some days to spare."""
SAMPLE = 2000
"""Rows whose spacing tells the interval of the bars."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candles:
    """Columns of N candles, oldest first."""

    time: Ints
    """(N,) seconds, strictly increasing; see `chart_seconds`."""
    values: Floats
    """(N, 5) open, high, low, close, volume."""
    every: int
    """Bars in a candle."""
    more_before: bool
    more_after: bool


def step_seconds(store: BarStore, number: int) -> int:
    """The most common distance between bars of a symbol, in whole seconds; 0 where there is one bar only.

    Raises:
        DataError: bars shorter than a second, which a chart in seconds cannot show.
    """
    lo, hi = store.span(number)
    gaps = np.diff(np.asarray(store.timestamps[max(lo, hi - SAMPLE) : hi]))
    if not len(gaps):
        return 0
    found, counts = np.unique(gaps, return_counts=True)
    step = int(found[counts.argmax()])
    if step < NS:
        raise DataError(f"{store.symbols[number]}: bars shorter than a second cannot be drawn. Resample them first.")
    return step // NS


def chart_seconds(times: pd.DatetimeIndex, step: int) -> Ints:
    """Seconds as the chart has them, (N,): of bars of a day and longer their local date at 00:00 UTC, else true UTC
    seconds; times without zone count as UTC."""
    if step >= DAY:
        times = times.tz_localize(None).normalize()
    return np.asarray(times.as_unit("ns").asi8 // NS, np.int64)


def ends(store: BarStore, number: int, usual: int = 0) -> tuple[int, int]:
    """First and last chart time of a symbol. `usual`: the step of one that has a single bar.

    Raises:
        DataError: as `step_seconds`.
    """
    lo, hi = store.span(number)
    step = step_seconds(store, number) or usual
    first, last = (chart_seconds(store.index(number, row, row + 1), step) for row in (lo, hi - 1))
    return int(first[0]), int(last[0])


def span(store: BarStore) -> tuple[int, int, int]:
    """First and last chart time of all symbols, and the step of the longest one: a symbol of one bar has none.

    Raises:
        DataError: as `step_seconds`.
    """
    lo, hi = store.offsets[:-1], store.offsets[1:]
    step = step_seconds(store, int(np.argmax(hi - lo)))
    begin, end = np.asarray(store.timestamps[lo]), np.asarray(store.timestamps[hi - 1])
    found = []
    for zone in set(store.zones):  # the earliest of a zone is so by its dates as well
        mine = np.flatnonzero([one == zone for one in store.zones])
        first, last = mine[begin[mine].argmin()], mine[end[mine].argmax()]
        found.append((ends(store, int(first), step)[0], ends(store, int(last), step)[1]))
    return min(one for one, _ in found), max(one for _, one in found), step


def row_at(store: BarStore, number: int, seconds: int, step: int) -> int:
    """How many rows of a symbol lie at or before a chart time."""
    lo, hi = store.span(number)
    zone = store.zones[number]
    moment = pd.Timestamp(max(-FAR, min(seconds, FAR)), unit="s")
    if step >= DAY:  # any time of that local date
        moment = moment.normalize() + pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
        if zone is not None:
            moment = moment.tz_localize(zone, ambiguous=False, nonexistent="shift_backward").tz_convert("UTC")
    else:
        moment += pd.Timedelta(NS - 1, "ns")
    return int(np.searchsorted(np.asarray(store.timestamps[lo:hi]), moment.value, side="right"))


def candles(store: BarStore, number: int, start: int | None, end: int | None, limit: int) -> Candles:
    """What a chart asks for.

    Args:
        store: bars, mapped or not.
        number: of the symbol.
        start, end: chart times, both inclusive. With both, as many bars go into a candle as keeps them within `limit`;
            with one, that many raw bars from there; with none, the last ones.
        limit: candles at most, >= 1.

    Raises:
        DataError: bars that cannot be drawn.
    """
    step = step_seconds(store, number)
    base, over = store.span(number)
    rows = over - base
    lo = 0 if start is None else row_at(store, number, start - (DAY if step >= DAY else 1), step)
    hi = rows if end is None else row_at(store, number, end, step)
    every = 1
    if start is not None and end is not None:
        while -(-hi // every) - lo // every > limit:
            every *= 2
        lo, hi = lo // every * every, min(-(-hi // every) * every, rows)
    elif start is not None:
        hi = min(lo + limit, rows)
    else:
        lo = max(hi - limit, 0)
    return _cut(store, number, slice(lo, max(lo, hi)), every)


def _cut(store: BarStore, number: int, rows: slice, every: int) -> Candles:
    base, over = store.span(number)
    lo, hi = base + rows.start, base + rows.stop
    values = np.asarray(store.values[lo:hi], np.float64)
    first = np.arange(0, len(values), every)
    last = np.minimum(first + every, len(values)) - 1
    if len(values):
        columns = [
            values[first, OPEN],
            np.maximum.reduceat(values[:, HIGH], first),
            np.minimum.reduceat(values[:, LOW], first),
            values[last, CLOSE],
            np.add.reduceat(values[:, VOLUME], first),
        ]
        values = significant(np.stack(columns, axis=1))
    else:
        values = np.empty((0, 5))
    times = store.index(number, lo, hi)[first]
    time = chart_seconds(times, step_seconds(store, number))
    if len(time) > 1 and (np.diff(time) <= 0).any():
        raise DataError(
            f"{store.symbols[number]}: several bars share a second (or a date): they cannot be drawn. Resample them first."
        )
    return Candles(time, values, every, rows.start > 0, hi < over)


def significant(values: Floats, digits: int = 7) -> Floats:
    """Numbers rounded to so many digits: what float32 holds, and no noise behind it."""
    with np.errstate(divide="ignore"):
        place = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    scale = 10.0 ** (digits - 1 - place)
    rounded: Floats = np.round(values * scale) / scale
    return rounded
