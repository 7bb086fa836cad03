"""Says where a learned calendar ends: it knows no holidays. And which recorded calendar the history itself fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from chandler.data.calendars.exchanges import sessions
from chandler.data.calendars.inferred import distinct, isin_sorted
from chandler.data.calendars.schedule import INFERRED, Schedule
from chandler.data.calendars.time_features import NS_DAY, NS_HOUR, wall_clock, weekdays
from chandler.errors import DataError
from chandler.text import count

_MARKETS = {
    "XNYS": ("America/New_York", 9.5, 16, "0101 0704 1225"),
    "XSHG": ("Asia/Shanghai", 9.5, 15, "0101 0501 1001 1002 1003"),
    "XHKG": ("Asia/Hong_Kong", 9.5, 16, "0101 0501 0701 1001 1225"),
    "XLON": ("Europe/London", 8, 16.5, "0101 1225 1226"),
    "XETR": ("Europe/Berlin", 9, 17.5, "0101 0501 1224 1225 1226 1231"),
    "XPAR": ("Europe/Paris", 9, 17.5, "0101 0501 1225 1226"),
    "XSWX": ("Europe/Zurich", 9, 17.5, "0101 0102 0501 0801 1224 1225 1226 1231"),
    "XTKS": ("Asia/Tokyo", 9, 15, "0101 0102 0103 0503 0504 0505 1103 1231"),
    "XTAI": ("Asia/Taipei", 9, 13.5, "0101 0228 0501 1010"),
    "XBOM": ("Asia/Kolkata", 9.25, 15.5, "0126 0501 0815 1002 1225"),
    "XASX": ("Australia/Sydney", 10, 16, "0101 0126 0425 1225 1226"),
    "XTSE": ("America/Toronto", 9.5, 16, "0101 0701 1225 1226"),
    "BVMF": ("America/Sao_Paulo", 10, 17, "0101 0421 0501 0907 1012 1225"),
}
"""Markets that are tried: zone, hours of opening and of closing, give or take an hour, and days on which they are always closed.
These pick the few that are worth loading, which takes a good part of a second each."""
_LOADED = 4
_LATELY = 2_000
"""Rows that tell the hours of the market."""
_LEAST = 20
"""Days of history below which nothing is suggested that its hours or its zone do not tell."""


def holiday_notes(schedule: Schedule, future: pd.DatetimeIndex, *, suggest: bool = True) -> tuple[str, ...]:
    """A note where `future` goes beyond the day of the last bar by a learned calendar of a market that has closed days.

    `suggest`: with the recorded calendar that fits, which takes a good part of a second, and tens of milliseconds later.
    """
    history = schedule.history
    if schedule.name != INFERRED or schedule.kind == "long" or not len(history) or not len(future):
        return ()
    wall = wall_clock(history)
    traded = distinct(wall // NS_DAY)
    if wall_clock(future[-1:])[0] // NS_DAY <= traded[-1] or len(np.unique(weekdays(traded))) == 7:
        return ()
    told = "holidays are not known, and come out as trading days"
    name, fits = _best(schedule, traded) if suggest else ("", "")
    return (f"{told}; {name} fits {fits} of the history: calendar={name!r}" if name else told,)


def _best(schedule: Schedule, own: np.ndarray) -> tuple[str, str]:
    """The recorded calendar that explains the days (D,) since 1970 of a history best, and how well; empty for none."""
    scores: list[tuple[int, str, int, int]] = []
    found = sorted(_possible(schedule, own), key=lambda one: one[0])
    for _, name, traded in found[:_LOADED]:
        try:
            known = sessions(name, int(traded[0]), int(traded[-1])).day
        except DataError:  # a calendar that does not build here
            continue
        wrong = int((~isin_sorted(traded, known)).sum())
        absent = int((~isin_sorted(known, traded)).sum())
        holidays = int((weekdays(np.arange(traded[0], traded[-1] + 1)) < 5).sum()) - len(known)
        told = len(found) == 1 or (holidays > 0 and len(traded) >= _LEAST)
        if told and wrong <= 0.01 * len(traded) and absent <= 0.05 * len(traded):
            scores.append((wrong + absent, name, wrong, len(traded)))
            if not wrong + absent and holidays > 1:
                break
    if not scores:
        return "", ""
    _, name, wrong, days = min(scores, key=lambda one: one[0])
    return name, f"all {count(days, 'day')}" if not wrong else f"all but {wrong} of {count(days, 'day')}"


def _possible(schedule: Schedule, own: np.ndarray) -> Iterator[tuple[tuple[bool, int], str, np.ndarray]]:
    """The markets whose zone, hours and certain closed days a history does not contradict: how likely (less is more), the name,
    the days (D,) that were traded on the market's clock."""
    history, intraday = schedule.history, schedule.kind == "intraday"
    zone = None if history.tz is None else str(history.tz)
    first = int(own[0]) - 1  # on another clock it may be the day before
    day = np.arange(first, int(own[-1]) + 2)
    month = day.astype("M8[D]").astype("M8[M]")
    date = (day.astype("M8[D]") - month.astype("M8[D]")).astype(np.int64) + 1
    dates = np.where(weekdays(day) < 5, (month.astype(np.int64) % 12 + 1) * 100 + date, 0)
    zoned = zone in {one for one, *_ in _MARKETS.values()}
    for name, (place, opening, closing, closed) in _MARKETS.items():
        if zoned and zone != place:
            continue
        readings: list[str | None] = [place, "UTC"] if zone is None and intraday else [None]
        for reading in readings:
            lately = wall_clock(history[-_LATELY:], place, reading) if intraday else own
            if intraday and not _has_hours(lately, opening, closing, schedule.step.value):
                continue
            traded = distinct(wall_clock(history, place, reading) // NS_DAY) if intraday else own
            day = np.arange(traded[0], traded[-1] + 1)
            certain = np.isin(dates[day - first], [int(one) for one in closed.split()])
            if not isin_sorted(day[certain], traded).any():
                yield (reading == "UTC", -int(certain.sum())), name, traded
                break


def _has_hours(wall: np.ndarray, opening: float, closing: float, step: int) -> bool:
    """Whether most days begin with the bar at the opening, or with the one that closes an interval behind it, and end
    within an hour of the closing."""
    new = np.flatnonzero(np.diff(wall // NS_DAY))
    first = wall[np.append(0, new + 1)] % NS_DAY - round(opening * NS_HOUR)
    last = wall[np.append(new, len(wall) - 1)] % NS_DAY - round(closing * NS_HOUR)
    begins, ends = (first == 0) | (first == step), np.abs(last) <= max(step, NS_HOUR / 2)
    return bool(begins.mean() > 0.5 and ends.mean() > 0.5)
