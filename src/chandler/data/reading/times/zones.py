"""The zone of times: where a wall clock says it, where offsets tell it, and as clocks go back and forward."""

from __future__ import annotations

from datetime import timedelta, timezone

import numpy as np
import pandas as pd

from chandler.data.calendars import from_ticks, zone_name
from chandler.errors import DataError
from chandler.text import count

# Tried in this order where a file mixes offsets because of daylight saving.
_EXCHANGE_ZONES = (
    "America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Europe/Athens",
    "America/Los_Angeles", "America/Denver", "America/Halifax", "Australia/Sydney", "Pacific/Auckland",
    "Asia/Jerusalem", "America/Santiago", "America/Sao_Paulo", "Africa/Cairo", "Europe/Moscow",
    "Europe/Istanbul", "Asia/Tehran",
)  # fmt: skip


def offset_seconds(offset: str) -> int:
    """`-05:00`, `-0500` or `-05` -> -18000; Z, UTC, GMT -> 0."""
    offset = offset.removeprefix("UTC").removeprefix("GMT")
    if not offset or offset[0] not in "+-":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def in_zone(
    index: pd.DatetimeIndex, timezone: str | None, series: np.ndarray | None = None
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Naive times become wall clock of `timezone`, others are converted to it; None leaves them.

    Times of an hour that comes twice as clocks go back are told apart by the order of the rows of a series, its
    numbers (N,) in `series`, and by the spacing where they are there once: a note says so. DataError for times that
    do not exist.
    """
    if timezone is None:
        return index, ()
    try:
        if index.tz is not None:
            return index.tz_convert(timezone), ()
        local = index.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    except (KeyError, ValueError):
        raise DataError(f"timezone={timezone!r} is not a known zone; say, for example, 'Europe/Berlin'.") from None
    odd = np.flatnonzero(np.asarray(local.isna()) & np.asarray(index.notna()))
    if not len(odd):
        return local, ()
    first, last = (
        index[odd].tz_localize(timezone, ambiguous=np.full(len(odd), summer), nonexistent="NaT")
        for summer in (True, False)
    )
    if (gone := np.asarray(first.isna())).any():
        time = index[odd][int(np.argmax(gone))]
        january = pd.Timestamp(time.year, 1, 1, tz=timezone) - pd.Timestamp(time.year, 1, 1, tz="UTC")
        winter = round(january / pd.Timedelta("1h"))  # in Etc/GMT+5 it is five hours less
        raise DataError(
            f"in {timezone} clocks go forward and {time} does not exist, but {count(int(gone.sum()), 'row')} have such a time. "
            f"So the clock of these times is another one, which does not change: timezone='UTC', or winter time all year, "
            f"timezone='Etc/GMT{winter:+d}'."
        )
    shift = (last - first).asi8
    late, alone = _second_pass(index.asi8, odd, np.zeros(len(index)) if series is None else series, shift)
    ticks = local.asi8.copy()
    ticks[odd] = np.where(late, last.asi8, first.asi8)
    notes: tuple[str, ...] = ()
    if alone.any():
        told = f"{count(int(alone.sum()), 'row')} of an hour that comes twice is there once"
        notes = (
            f"times: as clocks go back, {told.replace('rows of an hour that comes twice is', 'rows of hours that come twice are')}, "
            f"first {index[odd][int(np.argmax(alone))]}: taken as the first, or as the spacing of the rows says",
        )
    return from_ticks(ticks, timezone), notes


def named_zone(index: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Times in a zone that a name can say, as they must be to be kept: in UTC where there is none, as a note says."""
    try:
        name = zone_name(index.tz)
    except DataError:
        return index.tz_convert("UTC"), (f"times: in {index.tz}, a zone without a name: converted to UTC",)
    return index if name is None or str(index.tz) == name else index.tz_convert(name), ()


def _second_pass(
    wall: np.ndarray, odd: np.ndarray, series: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the `odd` rows (M,), whose hour comes twice, are of the second time; and which are there once."""
    steps = np.diff(wall)
    order = np.arange(len(wall)) if (series == series[0]).all() else np.argsort(series, kind="stable")
    if (steps < 0).sum() > (steps > 0).sum():  # newest first
        order = order[::-1]
    place, own = np.empty_like(order), series[order]
    place[order] = np.arange(len(order))
    at = np.argsort(place[odd])
    rows, wall = place[odd][at], wall[order]
    forward = np.diff(wall[:10_000])
    usual = np.median(forward[forward > 0]) if (forward > 0).any() else 0
    late, alone = np.zeros(len(odd), bool), np.zeros(len(odd), bool)
    new = (np.diff(rows) > 1) | (own[rows[1:]] != own[rows[:-1]]) | (np.diff(wall[rows]) > shift[at][1:])
    for run in np.split(np.arange(len(rows)), np.flatnonzero(new) + 1):
        lo, hi, hour = rows[run[0]], rows[run[-1]], shift[at[run[0]]]
        back = np.diff(wall[rows[run]])
        if (back <= 0).any():
            late[at[run[1 + int(np.argmax(back < 0 if (back < 0).any() else back <= 0)) :]]] = True
            continue
        before = wall[lo] - wall[lo - 1] if lo and own[lo - 1] == own[lo] else 0
        after = wall[hi + 1] - wall[hi] if hi + 1 < len(wall) and own[hi + 1] == own[hi] else 0
        alone[at[run]] = True
        late[at[run]] = (before + hour == usual) + (after == usual) > (before == usual) + (after + hour == usual)
    return late, alone


def zone_of(moments: pd.DatetimeIndex, offsets: np.ndarray) -> tuple[str, tuple[str, ...]]:
    """The zone of moments (UTC, without saying so) whose wall clock is `offsets` seconds ahead; a note if it was a choice."""
    distinct = np.unique(offsets)
    if len(distinct) == 1:
        return str(zone_name(timezone(timedelta(seconds=int(distinct[0]))))), ()
    moments = moments.tz_localize("UTC")
    for zone in _EXCHANGE_ZONES:
        local = moments.tz_convert(zone).tz_localize(None).asi8
        if np.array_equal(local - moments.asi8, offsets * 10**9):
            return zone, (f"times: the offsets from UTC change with daylight saving as in {zone}: took that zone",)
    return "UTC", ("times: the offsets from UTC fit no common exchange zone: times are in UTC",)
