"""What times themselves tell: the time features of bars, their interval, the name and the wall clock of a zone."""

from __future__ import annotations

import re
from datetime import timedelta, tzinfo
from functools import cache

import numpy as np
import pandas as pd

from chandler.errors import DataError

DAY = pd.Timedelta(days=1)
HOUR = pd.Timedelta(hours=1)
NS_DAY = DAY.value
NS_HOUR = HOUR.value
_BLOCK = 1 << 14


def time_features(index: pd.DatetimeIndex, out: np.ndarray | None = None) -> np.ndarray:
    """(N, 5) uint8 of the local wall clock: minute, hour, weekday (Monday 0), day of month, month.

    Written into `out` where it is given.
    """
    # By integers, and the calendar once per day: pandas takes each field of each row apart. Block by block: what
    # stays in the cache of a core costs a fifth.
    ticks = wall_clock(index)
    features = np.empty((len(ticks), 5), np.uint8) if out is None else out
    if not len(ticks):
        return features
    first, last = int(ticks.min()) // NS_DAY, int(ticks.max()) // NS_DAY
    day = np.arange(first, last + 1)
    dates = day.astype("M8[D]")
    months = dates.astype("M8[M]")
    of_day = weekdays(day), (dates - months).astype(np.int64) + 1, months.astype(np.int64) % 12 + 1
    tables = [table.astype(np.uint8) for table in of_day]
    for lo in range(0, len(ticks), _BLOCK):
        block = features[lo : lo + _BLOCK]
        minutes = (ticks[lo : lo + _BLOCK] // 60_000_000_000).astype(np.int32)
        days = minutes // 1440
        minutes -= days * 1440
        hours = minutes // 60
        block[:, 0] = minutes - hours * 60
        block[:, 1] = hours
        at = days.astype(np.intp) - first
        for column, table in enumerate(tables, 2):
            block[:, column] = table.take(at)
    return features


def weekdays(day: np.ndarray) -> np.ndarray:
    """Weekday (Monday 0) of days since 1970."""
    weekday: np.ndarray = (day + 3) % 7  # 1 January 1970 was a Thursday
    return weekday


def infer_interval(index: pd.DatetimeIndex) -> pd.Timedelta:
    """The most common spacing of increasing timestamps, the shorter of two as common. DataError below 2."""
    if len(index) < 2:
        raise DataError(f"{len(index)} timestamp cannot tell the interval of the bars. Give at least 2 rows.")
    steps, counts = np.unique(np.diff(index.as_unit("ns").asi8), return_counts=True)
    return pd.Timedelta(int(steps[counts.argmax()]), unit="ns")


def zone_name(zone: tzinfo | None) -> str | None:
    """The name by which a zone is kept and found again: `Europe/Berlin`, `UTC`, `UTC+05:30`; None for None.

    What a zone calls itself need not be one: "EST" can be any fixed offset. DataError for a zone without a name.
    """
    if zone is None:
        return None
    name, offset = getattr(zone, "key", None) or getattr(zone, "zone", None), zone.utcoffset(None)
    if name is None and offset is None:  # dateutil and ZoneInfo.from_file tell the file that they were read from
        file = re.search(r"(?:tzfile\('|zoneinfo/)([A-Za-z][\w+-]*(?:/[\w+-]+)*)'", repr(zone))
        name = file[1] if file else None
    if name is not None and _is_zone(name):
        return str(name)
    if offset is None or offset % timedelta(minutes=1):
        raise DataError(
            f"the zone {zone} has no name to find it again: convert times to one that has, such as 'Europe/Berlin' or 'UTC'."
        )
    minutes = offset // timedelta(minutes=1)
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "UTC"


@cache
def _is_zone(name: str) -> bool:
    try:
        return pd.Timestamp(0, tz=name).tz is not None
    except (KeyError, ValueError, OSError):
        return False


def from_ticks(ticks: np.ndarray, zone: str | tzinfo | None) -> pd.DatetimeIndex:
    """Times (N,) of ns since 1970 UTC, in a zone; naive, as if they were UTC, for None."""
    index = pd.DatetimeIndex(np.asarray(ticks, np.int64).view("M8[ns]"))
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


def wall_clock(index: pd.DatetimeIndex, zone: str | None = None, reading: str | None = None) -> np.ndarray:
    """Times as ns of `zone`'s wall clock; naive ones are taken to be in `reading`. None leaves them as they are."""
    if index.tz is None and reading is not None and reading != zone:
        # A doubled hour has no order left without a zone: its first meaning is taken, and sorted below.
        index = index.tz_localize(reading, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward")
    if index.tz is not None and zone is not None:
        index = index.tz_convert(zone)
    return np.asarray(index.tz_localize(None).as_unit("ns").asi8)
