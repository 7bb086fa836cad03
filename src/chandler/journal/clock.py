"""When a bar begins at the earliest, so that nobody can say that its forecast came after it."""

from __future__ import annotations

import pandas as pd

from chandler.data.calendars import exchange_timezone, resolve_calendar, session_open
from chandler.errors import DataError

EASTERNMOST, WESTERNMOST = pd.Timedelta(hours=14), pd.Timedelta(hours=12)
"""How far clocks on earth are ahead of UTC, and behind it."""
AROUND = EASTERNMOST + WESTERNMOST
"""From the moment at which a wall clock first shows some time to that at which the last one does."""
UNKNOWN = "unknown"
"""The clock of times without a zone under no calendar that has one."""


def now() -> pd.Timestamp:
    """This moment, in UTC."""
    return pd.Timestamp.now("UTC").as_unit("ns")


def begins(first: pd.Timestamp, step: pd.Timedelta, calendar: str) -> tuple[pd.Timestamp, str]:
    """The earliest moment at which a bar can have begun, in UTC, and by which clock.

    A bar begins at its timestamp. One of a whole day under an exchange's calendar begins as that day's session opens. A time
    without a zone is read in the exchange's and as UTC, and the earlier counts; under no exchange, as on the clock on earth
    that is furthest ahead.

    Args:
        first: the time of the bar.
        step: the interval of the bars.
        calendar: as `Forecast.calendar`.
    """
    try:
        name = resolve_calendar(calendar)
        zone = exchange_timezone(name)
    except DataError:  # inferred, given
        name = zone = ""
    if zone and step >= pd.Timedelta(days=1) and first == first.normalize():
        opens = session_open(name, first)
        if opens is not None:
            return opens.tz_convert("UTC"), name
    if first.tz is not None:
        return first.tz_convert("UTC"), str(first.tz)
    if zone:
        local = first.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        return min(local.tz_convert("UTC"), first.tz_localize("UTC")), name
    return first.tz_localize("UTC") - EASTERNMOST, UNKNOWN


def ended(bar: pd.Timestamp, step: pd.Timedelta, moment: pd.Timestamp) -> bool:
    """Whether a bar has surely ended at a moment, wherever its clock is if it has no zone."""
    begun = bar.tz_localize("UTC") + WESTERNMOST if bar.tz is None else bar
    return bool(begun + step <= moment)
