"""Puts times into zones: the one that is asked for, or the one whose daylight saving the offsets follow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chandler.errors import DataError

# Tried in this order where a file mixes offsets because of daylight saving.
EXCHANGE_ZONES = (
    "America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Europe/Athens",
    "America/Los_Angeles", "America/Denver", "America/Halifax", "Australia/Sydney", "Pacific/Auckland",
    "Asia/Jerusalem", "America/Santiago", "America/Sao_Paulo", "Africa/Cairo", "Europe/Moscow",
    "Europe/Istanbul", "Asia/Tehran",
)  # fmt: skip


def in_zone(index: pd.DatetimeIndex, timezone: str | None, where: str) -> pd.DatetimeIndex:
    """Naive times become wall clock of `timezone`, others are converted to it; None leaves them. DataError."""
    if timezone is None:
        return index
    try:
        return index.tz_localize(timezone, ambiguous="infer") if index.tz is None else index.tz_convert(timezone)
    except KeyError:
        raise DataError(
            f"{where}timezone={timezone!r} is not a known zone; say, for example, 'Europe/Berlin'."
        ) from None
    except ValueError as error:
        raise DataError(
            f"{where}wall-clock times that do not exist once and only once in {timezone}: {error}. "
            "Give timestamps with an offset, or in UTC with timezone='UTC'."
        ) from None


def zone_of(moments: pd.DatetimeIndex, offsets: np.ndarray) -> tuple[str, str]:
    """The zone of moments (UTC) whose wall clock is `offsets` seconds ahead; a note if it was a choice."""
    distinct = np.unique(offsets)
    if len(distinct) == 1:
        minutes = int(distinct[0]) // 60
        if minutes == 0:
            return "UTC", ""
        sign = "-" if minutes < 0 else "+"
        return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}", ""
    for zone in EXCHANGE_ZONES:
        local = moments.tz_convert(zone).tz_localize(None).asi8
        if np.array_equal(local - moments.asi8, offsets * 10**9):
            return zone, f"times: the offsets from UTC change with daylight saving as in {zone}: took that zone"
    return "UTC", "times: the offsets from UTC fit no common exchange zone: times are in UTC"
