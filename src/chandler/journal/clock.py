"""When a bar is over at the earliest, so that nobody can say that its forecast came after it."""

from __future__ import annotations

import pandas as pd

from chandler.data.calendars import exchange_timezone, fit_schedule, resolve_calendar, session_close
from chandler.errors import DataError

EASTERNMOST, WESTERNMOST = pd.Timedelta(hours=14), pd.Timedelta(hours=12)
"""How far clocks on earth are ahead of UTC, and behind it."""
AROUND = EASTERNMOST + WESTERNMOST
"""From the moment at which a wall clock first shows some time to that at which the last one does."""
WEEK = 7
"""Bars without a break, after which a daily market is one that never closes."""
UNKNOWN = "unknown"
"""The clock of times without a zone under no calendar that has one."""


def now() -> pd.Timestamp:
    """This moment, in UTC."""
    return pd.Timestamp.now("UTC").as_unit("ns")


def over(first: pd.Timestamp, history: pd.DatetimeIndex, step: pd.Timedelta, calendar: str) -> tuple[pd.Timestamp, str]:
    """The earliest moment at which a bar can have been over, and its close known, in UTC; and by which clock.

    A bar of less than a day is over an interval after its timestamp or as the session of an exchange closes, or at its timestamp
    where the sessions say that timestamps name the ends of bars. One of a whole day is over as that day's session of an exchange
    closes; under no exchange an interval after its timestamp if bars come without a break, else at its timestamp, for nobody knows
    when its market closes. A time without a zone is read in the exchange's and as UTC, and the earlier counts; under no calendar
    with a zone, as on the clock on earth that is furthest ahead.

    Args:
        first: the time of the bar.
        history: times of the bars before it.
        step: their interval.
        calendar: as `Forecast.calendar`.
    """
    try:
        name = resolve_calendar(calendar)
        zone = exchange_timezone(name)
    except DataError:  # inferred, given
        name = zone = ""
    if step >= pd.Timedelta(days=1):
        closes = session_close(name, first) if name else None
        if closes is not None:
            return closes.tz_convert("UTC"), name
        unbroken = len(history) > WEEK and bool((history[1:] - history[:-1] == step).all())
        length = step if unbroken or name else pd.Timedelta(0)
    else:
        length = step if _named_begin(history, name) else pd.Timedelta(0)
    if first.tz is not None:
        return _cut(first, first + length, name).tz_convert("UTC"), str(first.tz)
    if zone:
        local = first.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        end = _cut(local, local + length, name)
        return min(end.tz_convert("UTC"), first.tz_localize("UTC") + length), name
    return first.tz_localize("UTC") - EASTERNMOST + length, UNKNOWN


def _cut(begin: pd.Timestamp, end: pd.Timestamp, name: str) -> pd.Timestamp:
    """The end of a bar, or where an exchange's session closes before it: the last bar of a day may be a short one."""
    closes = session_close(name, begin.tz_convert(exchange_timezone(name))) if name else None
    return end if closes is None or closes <= begin else min(end, closes)


def _named_begin(history: pd.DatetimeIndex, name: str) -> bool:
    """Whether timestamps name the beginnings of bars, as far as an exchange's sessions tell."""
    try:
        return not name or fit_schedule(history, name).label == "open"
    except DataError:
        return True


def ended(bar: pd.Timestamp, step: pd.Timedelta, moment: pd.Timestamp) -> bool:
    """Whether a bar has surely ended at a moment, wherever its clock is if it has no zone."""
    begun = bar.tz_localize("UTC") + WESTERNMOST if bar.tz is None else bar
    return bool(begun + step <= moment)
