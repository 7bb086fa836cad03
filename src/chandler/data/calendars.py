"""Time features of bars and the timestamps that come after them.

Everything is read off the history itself, in its local wall clock: which weekdays, which times of day.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from chandler.errors import DataError

DAY = pd.Timedelta(days=1)
_NS = 86_400_000_000_000
RECENT = pd.Timedelta(days=60)
"""How far back an intraday history speaks for its sessions; older hours may have been others."""
OPEN_SHARE = 0.25
"""A slot counts as open where the history had a bar in at least this share of its chances.

Low, because illiquid symbols skip minutes; above 0, because one special session makes no rule."""


def time_features(index: pd.DatetimeIndex) -> np.ndarray:
    """(N, 5) uint8 of the local wall clock: minute, hour, weekday (Monday 0), day of month, month."""
    parts = (index.minute, index.hour, index.day_of_week, index.day, index.month)
    return np.stack([np.asarray(part, np.uint8) for part in parts], axis=1)


def infer_interval(index: pd.DatetimeIndex) -> pd.Timedelta:
    """The most common spacing of increasing timestamps, the shorter of two as common. DataError below 2."""
    if len(index) < 2:
        raise DataError(f"{len(index)} timestamp cannot tell the interval of the bars. Give at least 2 rows.")
    steps, counts = np.unique(np.diff(index.as_unit("ns").asi8), return_counts=True)
    return pd.Timedelta(int(steps[counts.argmax()]), unit="ns")


def future_timestamps(
    history: pd.DatetimeIndex, horizon: int, interval: pd.Timedelta | str | None = None
) -> pd.DatetimeIndex:
    """The `horizon` timestamps that follow `history` (increasing, naive or in a zone), in its zone.

    Months, weeks and days go on by the calendar, days on the weekdays that the history trades. Shorter
    bars go on in the (weekday, time of day) slots that the last 60 days traded; a weekday that the history
    has not reached yet goes by the other weekdays. Series without breaks go on without breaks.
    `interval` overrides the most common spacing. Holidays are not known. Raises DataError for an empty
    history and for one row without `interval`.
    """
    if horizon < 0:
        raise DataError(f"horizon must not be negative, but is {horizon}.")
    if not len(history):
        raise DataError("no history to continue: give at least one timestamp.")
    history = history.as_unit("ns")
    step = infer_interval(history) if interval is None else pd.Timedelta(interval)
    if step <= pd.Timedelta(0):
        raise DataError(f"interval must be above 0, but is {step}.")
    wall = history.tz_localize(None)  # weekdays and sessions are facts of the wall clock
    if step >= 28 * DAY and not (step % (7 * DAY) == pd.Timedelta(0) and _constant(wall)):
        future = _months(wall, horizon, step)
    elif step > DAY and (step % DAY) == pd.Timedelta(0):
        future = pd.DatetimeIndex(wall[-1] + step * np.arange(1, horizon + 1))
    elif pd.Timedelta(hours=23) <= step <= pd.Timedelta(hours=25):
        future = _days(wall, horizon)
    else:
        return _intraday(history, wall, horizon, step)
    return _localise(future.as_unit("ns"), history)


def _localise(wall: pd.DatetimeIndex, history: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if history.tz is None:
        return wall
    # Of a doubled hour the first, of a skipped one the moment after: daily bars must not vanish.
    first = np.ones(len(wall), bool)
    return wall.tz_localize(history.tz, ambiguous=first, nonexistent="shift_forward").as_unit("ns")


def _constant(wall: pd.DatetimeIndex) -> bool:
    return len(wall) > 2 and len(np.unique(np.diff(wall.asi8))) == 1


def _months(wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta) -> pd.DatetimeIndex:
    """Calendar months, quarters, years: the same day, or the month's first or last (business) day."""
    months = max(1, round(step / pd.Timedelta(days=30.44)))
    last = wall[-1]
    clock = last - last.normalize()
    recent = wall[-12:].normalize()
    starts = pd.DatetimeIndex(np.datetime64(last, "M") + months * np.arange(horizon + 1)).as_unit("ns")
    ends = starts + pd.offsets.MonthEnd(1)
    business = (recent.day_of_week < 5).all() and len(recent) > 2
    rules = (
        # Not is_month_end: with a business `freq` pandas means the last business day by it.
        ((recent == recent + pd.offsets.MonthEnd(0)).all(), ends),
        ((recent.day == 1).all(), starts),
        (business and (recent == _last_business(recent)).all(), _last_business(starts)),
        (business and (recent == _first_business(recent)).all(), _first_business(starts)),
    )
    for holds, dates in rules:
        if holds:
            return pd.DatetimeIndex(dates[1:] + clock)
    day = max(recent.day)
    same_day = starts + (day - 1) * DAY
    return pd.DatetimeIndex(same_day.where(same_day < ends, ends)[1:] + clock)


def _last_business(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    ends = dates + pd.offsets.MonthEnd(0)
    return ends - pd.to_timedelta(np.maximum(ends.day_of_week - 4, 0), unit="D")


def _first_business(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    starts = dates.to_period("M").start_time.as_unit("ns") if len(dates) else dates
    return starts + pd.to_timedelta(np.where(starts.day_of_week > 4, 7 - starts.day_of_week, 0), unit="D")


def _days(wall: pd.DatetimeIndex, horizon: int) -> pd.DatetimeIndex:
    traded = _weekdays(wall)
    last = wall[-1]
    candidates = pd.DatetimeIndex(last + DAY * np.arange(1, 7 * (horizon // len(traded) + 2)))
    return candidates[np.isin(candidates.day_of_week, traded)][:horizon]


def _weekdays(wall: pd.DatetimeIndex) -> np.ndarray:
    """Weekdays that daily bars trade on. Below three weeks of history only: with or without weekends."""
    wall = wall[-750:]
    counts = np.bincount(wall.day_of_week, minlength=7)
    if (wall[-1] - wall[0]) < 21 * DAY:
        weekend = counts[5:].any() or counts[:5].sum() == 0
        return np.arange(7) if weekend else np.arange(5)
    return np.flatnonzero(counts >= np.maximum(1, OPEN_SHARE * counts.max()))


def _intraday(history: pd.DatetimeIndex, wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta) -> pd.DatetimeIndex:
    # The last row may be a live bar off the grid (13:50:02 of 15-minute bars): go on along the grid.
    width = step.value
    last = int(history.asi8[-1])
    start = last - (last - _phase(history.asi8, width)) % width
    plain = pd.DatetimeIndex((start + width * np.arange(1, horizon + 1)).view("M8[ns]"))
    plain = plain if history.tz is None else plain.tz_localize("UTC").tz_convert(history.tz)

    recent = wall[(wall > wall[-1] - RECENT) & (np.arange(len(wall)) >= len(wall) - 200_000)]
    gaps = np.diff(recent.asi8)
    if not len(gaps) or (gaps <= width * 1.5).mean() < 0.3:  # too short or too irregular to have sessions
        return plain
    clocks, is_open = _slots(recent, width)
    if is_open.all() or not is_open.any():
        return plain
    days_needed = 7 * (horizon // int(is_open.sum()) + 2)
    dates = wall[-1].normalize().value + _NS * np.arange(days_needed)
    weekdays = (dates // _NS + 3) % 7  # 1 January 1970 was a Thursday
    ticks = (dates[:, None] + clocks[None, :])[is_open[weekdays]]
    ticks = ticks[ticks > wall.asi8[-1]]
    future = pd.DatetimeIndex(ticks.view("M8[ns]"))
    if history.tz is not None:
        first = np.ones(len(future), bool)
        future = future.tz_localize(history.tz, ambiguous=first, nonexistent="NaT")
        future = future[future.notna() & (future > history[-1])]
    return future[:horizon]


def _phase(ticks: np.ndarray, width: int) -> int:
    """Where in the interval most rows stand; where the last one does, if there is no most."""
    phases, counts = np.unique(ticks % width, return_counts=True)
    return int(phases[counts.argmax()]) if counts.max() > 0.5 * len(ticks) else int(ticks[-1] % width)


def _slots(recent: pd.DatetimeIndex, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Times of day (K,) in ns and whether (7, K) a bar is expected there on each weekday."""
    ticks = recent.asi8
    clock = ticks % _NS
    clocks = np.unique(clock)
    if _NS % width == 0:  # times that the history jumped over are slots too, closed or not yet reached
        clocks = np.union1d(clocks, np.arange(_phase(clock, width), _NS, width))
    day = ticks // _NS
    first, days = int(day[0]), int(day[-1] - day[0]) + 1
    seen = np.zeros((days, len(clocks)), bool)
    seen[day - first, np.searchsorted(clocks, clock)] = True
    moments = (first + np.arange(days))[:, None] * _NS + clocks[None, :]
    known = (moments >= ticks[0]) & (moments <= ticks[-1])
    weekday = (first + np.arange(days) + 3) % 7
    working = weekday < 5
    if seen[working].any():
        known &= ~(working & ~seen.any(axis=1))[:, None]  # a working day without any bar is a holiday

    def share(rows: np.ndarray) -> np.ndarray:
        chances = known[rows].sum(axis=0)
        return np.where(chances > 0, (seen & known)[rows].sum(axis=0) / np.maximum(chances, 1), np.nan)

    usual = share(working)
    breaks = bool((usual < OPEN_SHARE).any())
    is_open = np.zeros((7, len(clocks)), bool)
    for number in range(7):
        own = share(weekday == number)
        # No word on a weekend: closed where the working days have a closing time, else open.
        other = usual if number < 5 else np.full(len(clocks), 0.0 if breaks else 1.0)
        value = np.where(np.isnan(own), other, own)
        is_open[number] = np.isnan(value) | (value >= OPEN_SHARE)
    used = is_open.any(axis=0)
    return clocks[used], is_open[:, used]
