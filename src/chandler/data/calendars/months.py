"""Weeks, months, quarters and years of wall-clock dates: which day comes next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)
_NS_DAY = 86_400_000_000_000
Trading = Callable[[int, int], np.ndarray]
"""(first day, last day), days since 1970 -> the midnights of the sessions among them, ns."""


def periods_after(
    wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta, trading: Trading | None = None
) -> pd.DatetimeIndex:
    """The `horizon` dates after increasing `wall`, `step` apart (2 days and more).

    A constant spacing of whole days goes on; months go by the calendar. With `trading`, bars that stand on the
    first or the last session of their week or month go on so.
    """
    constant = len(wall) > 2 and len(np.unique(np.diff(wall.asi8))) == 1
    months = step >= 28 * DAY and not (step % (7 * DAY) == pd.Timedelta(0) and constant)
    if trading is not None and (months or step == 7 * DAY):
        by_session = _sessions_after(wall, horizon, step, trading, months)
        if by_session is not None:
            return by_session
    if months:
        return _months_after(wall, horizon, step).as_unit("ns")
    # Of weeks labelled by a session, the last label may be a holiday's neighbour: go on from the usual weekday.
    last = wall[-1]
    if step % (7 * DAY) == pd.Timedelta(0) and len(wall) > 5:
        counts = np.bincount(wall[-52:].day_of_week, minlength=7)
        usual = int(counts.argmax())
        if counts[usual] > 0.6 * counts.sum():
            last = last + DAY * ((usual - last.day_of_week + 3) % 7 - 3)
    return pd.DatetimeIndex(last + step * np.arange(1, horizon + 1)).as_unit("ns")


def _sessions_after(
    wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta, trading: Trading, months: bool
) -> pd.DatetimeIndex | None:
    """Dates on the first or last session of each period, if most of the last bars stand there; else None."""
    unit = "M" if months else "W"
    count = max(1, round(step / (pd.Timedelta(days=30.44) if months else 7 * DAY)))
    clock = wall[-1] - wall[-1].normalize()
    recent = wall[-52:].normalize()
    days = 40 * count if months else 10
    first, last = int(recent.asi8[0] // _NS_DAY) - 40, int(recent.asi8[-1] // _NS_DAY) + days * (horizon + 2)
    dates = pd.DatetimeIndex(trading(first, last).view("M8[ns]"))
    if not len(dates):
        return None
    grouped = dates.to_series().groupby(dates.to_period(unit).asi8)
    best = None
    for edge in (grouped.min(), grouped.max()):
        fit = float(recent[:-1].isin(edge).mean()) if len(recent) > 1 else 0.0
        if fit > (0.8 if best is None else best[0]):
            best = fit, edge
    constant = len(np.unique(recent.day_of_week)) == 1 and not months
    if best is None or constant:  # always a Friday: labelled by the calendar's week, holidays or not
        return None
    here = int(recent[-1:].to_period(unit).asi8[0])
    wanted = here + count * np.arange(1, horizon + 1)
    found = best[1].reindex(wanted).dropna()
    return pd.DatetimeIndex(found).as_unit("ns") + clock if len(found) == horizon else None


def _months_after(wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta) -> pd.DatetimeIndex:
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
