"""Coarser bars out of finer ones: first, max, min, last, sum, anchored to the session.

Bars of markets that close are counted from the opening of each session, and again after a lunch break, so that
none spans a break: the last bar before it may cover less time. Markets that never close are counted from
midnight UTC, days and weeks too. Days are the market's dates, weeks begin on Monday.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from chandler.data.bars import Bars, cut_segments, join_segments, segment_numbers
from chandler.data.calendars import DAY, INFERRED, NS_DAY, Schedule, fit_schedule, short
from chandler.data.notes import Note
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.text import count

_WEEK = 7 * DAY


def resample_store(store: BarStore, interval: str | pd.Timedelta, calendar: str | None = None) -> BarStore:
    """Every symbol of a store by `resample_bars`. Symbols of which no whole bar is left are left out.

    DataError as there, and if no symbol is left.
    """
    found = [one for one in (resample_bars(bars, interval, calendar) for bars in store) if len(one)]
    if not found:
        raise DataError(f"no symbol has a whole bar of {interval}: give more rows or a shorter interval.")
    return BarStore.from_bars(found)


def resample_bars(bars: Bars, interval: str | pd.Timedelta, calendar: str | None = None) -> Bars:
    """Bars of `interval` ("15min", "1h", "1D", "1W"): open of the first row, highest high, lowest low, close of
    the last row, volume and amount summed.

    Timestamps keep the convention of the rows: where they name the close of a bar, so do the new ones (days and
    weeks are always named by their date). The first and the last bar of the history are left out unless the rows
    reach both of its ends; a bar inside with rows missing is made of those there are. Bars are never made across
    segments: one that a segment boundary falls into is left out and the segments go on apart.

    Raises DataError for an interval that is not a multiple of the rows' own, and an unknown calendar.
    """
    width = interval_of(interval)
    if len(bars) < 2:
        return bars.slice(0, 0)
    schedule = fit_schedule(bars.timestamps, calendar, whole=True)
    step = schedule.step
    if width == step:
        return bars
    if width < step or width % step:
        raise DataError(
            f"{bars.symbol}: bars of {short(step, 'min')} cannot make bars of {short(width, 'min')}: "
            f"choose a multiple of {short(step, 'min')}."
        )
    if width > DAY and width % _WEEK and width % DAY:
        raise DataError(f"bars of {short(width, 'min')} are neither hours of a day nor whole days: choose 1D or 1W.")
    shift = step.value if schedule.label == "close" else 0  # from here on, times are openings
    wall = schedule.clock(bars.timestamps) - shift
    key, end = _bins(wall, width, schedule)
    return _aggregate(bars, wall, key, end, width, shift, schedule)


def interval_of(interval: str | pd.Timedelta) -> pd.Timedelta:
    """What "15min", "1h", "1D" or "1W" is. DataError for what is none."""
    try:
        width = pd.Timedelta(re.sub("w$", "W", str(interval).strip()))  # pandas means to drop 1w
    except ValueError:
        raise DataError(f"resample={interval!r} is no interval: write 15min, 1h, 4h, 1D or 1W.") from None
    if not width > pd.Timedelta(0):
        raise DataError(f"resample={interval!r} must be above 0.")
    return width


def _bins(wall: np.ndarray, width: pd.Timedelta, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Where the bin of each row begins and where it ends, (N,) ns of the market's wall clock."""
    span, day = width.value, wall // NS_DAY * NS_DAY
    dates = schedule.trading_days(wall) * NS_DAY
    if width % _WEEK == pd.Timedelta(0):
        monday = dates - (dates // NS_DAY + 3) % 7 * NS_DAY
        monday -= (monday // (7 * NS_DAY)) % (span // (7 * NS_DAY)) * 7 * NS_DAY
        return monday, monday + span
    if width >= DAY:
        begin = dates // span * span
        return begin, begin + span
    stretches = schedule.stretches()
    if stretches is None:
        begin = day + (wall - day) // span * span
        return begin, np.minimum(begin + span, day + NS_DAY)
    at = np.maximum(np.searchsorted(stretches[:, 0], wall, side="right") - 1, 0)
    opening, close = stretches[at, 0], stretches[at, 1]
    # A closing auction at the very close belongs to the last bar.
    inside = wall - (wall == close) if schedule.label == "both" else wall
    begin = opening + (inside - opening) // span * span
    return begin, np.where(inside < close, np.minimum(begin + span, close), begin + span)


def _aggregate(
    bars: Bars, wall: np.ndarray, key: np.ndarray, end: np.ndarray, width: pd.Timedelta, shift: int, schedule: Schedule
) -> Bars:
    values, rows = bars.values, len(bars)
    first = np.flatnonzero(np.concatenate([[True], np.diff(key) != 0]))
    last = np.concatenate([first[1:], [rows]]) - 1
    found = np.empty((len(first), values.shape[1]))
    found[:, 0], found[:, 3] = values[first, 0], values[last, 3]
    found[:, 1] = np.maximum.reduceat(values[:, 1], first)
    found[:, 2] = np.minimum.reduceat(values[:, 2], first)
    found[:, 4:] = np.add.reduceat(values[:, 4:], first, axis=0)
    segment = segment_numbers(join_segments([(bars.segments, rows)]), rows)
    whole = (segment[first] == segment[last]) & (np.minimum.reduceat(segment, first) >= 0)
    whole[0] &= _reaches(wall, schedule, int(key[0]), width, -1)
    whole[-1] &= _reaches(wall, schedule, int(end[-1]), width, 1)
    kept = np.flatnonzero(whole)
    owner = segment[first][kept]
    cuts = np.flatnonzero((np.diff(owner) != 0) | (np.diff(kept) != 1)) + 1
    labels = key[first][kept]
    if shift and width < DAY:
        labels = end[first][kept]
    dropped = len(first) - len(kept)
    note = f"resampled from {short(schedule.step, 'min')} to {short(width, 'min')} (calendar: {schedule.name})"
    if dropped:
        note += f"; left out {count(dropped, 'bar')} that the rows do not fill"
    times = schedule.times(labels, dates=width >= DAY)
    return replace(
        bars,
        timestamps=times,
        values=found[kept],
        notes=(*bars.notes, Note(note)),
        segments=cut_segments(cuts, len(kept)),
    )


def _reaches(wall: np.ndarray, schedule: Schedule, edge: int, width: pd.Timedelta, side: int) -> bool:
    """Whether the rows reach to the beginning (side -1) or the end (1) of the first or the last bin."""
    moment = int(wall[0]) if side < 0 else int(wall[-1]) + schedule.step.value

    def reached(limit: int) -> bool:
        return moment <= limit if side < 0 else moment >= limit

    if width < DAY:
        return reached(edge)
    # Days and weeks: to the opening of the first, the close of the last trading day that the bin has.
    [day] = schedule.trading_days(wall[[0 if side < 0 else -1]])
    if len(schedule.open_days(*((edge // NS_DAY, day - 1) if side < 0 else (day + 1, edge // NS_DAY - 1)))):
        return False
    if schedule.kind != "intraday":
        return True
    stretches = schedule.stretches()
    if stretches is None:
        return reached(edge)
    if schedule.name == INFERRED:  # its days are dates, its stretches may go on over midnight
        own = np.clip(stretches, day * NS_DAY, (day + 1) * NS_DAY)
        own = own[own[:, 0] < own[:, 1]]
    else:
        own = stretches[schedule.trading_days(stretches[:, 0]) == day]
    return not len(own) or reached(int(own[:, 0].min() if side < 0 else own[:, 1].max()))
