"""Tells breaks in time that a market's calendar expects from those in which bars are missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from chandler.data.calendars.inferred import isin_sorted
from chandler.data.calendars.schedule import INFERRED, Schedule
from chandler.data.calendars.time_features import NS_DAY, wall_clock, weekdays

HOLIDAY = 3
"""Days in a row that may be a holiday where no calendar knows better."""
_LATELY = pd.Timedelta(days=35)
"""How far back the sessions are looked at that are told: four weeks, and a few days more."""
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, eq=False)
class Gaps:
    """The holes of a series: after row `at` (G,), `missing` (G,) bars in `spacing` (G,) ns. `closings` counts the
    other breaks longer than an interval and a half."""

    at: np.ndarray
    missing: np.ndarray
    spacing: np.ndarray
    closings: int


NO_GAPS = Gaps(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), 0)


def find_gaps(schedule: Schedule, days: np.ndarray | None = None) -> Gaps:
    """The holes of the history that `schedule` was fitted to.

    A named calendar decides alone. A learned one knows no holidays: whole days without a bar, at most HOLIDAY in a
    row, count as closings, and so do days that are not among `days` (since 1970), those on which anybody traded.
    """
    index = schedule.history
    spacing, missing = np.diff(index.asi8), schedule.missing()
    long = spacing > 1.5 * schedule.step.value
    hole = long & (missing > 0)
    if schedule.name == INFERRED and hole.any() and schedule.kind != "long" and schedule.expected() is not None:
        wall = wall_clock(index)
        at = np.flatnonzero(hole)
        at = at[wall[at + 1] // NS_DAY > wall[at] // NS_DAY]
        hole[at[_holidays(schedule, wall[at], wall[at + 1], days)]] = False
    found = np.flatnonzero(hole)
    return Gaps(found, missing[found], spacing[found], int((long & ~hole).sum()))


def _holidays(schedule: Schedule, last: np.ndarray, first: np.ndarray, days: np.ndarray | None) -> np.ndarray:
    """(G,) bool: whether nothing but at most HOLIDAY whole days are missing between rows at `last` and `first`."""
    before, after = last // NS_DAY, first // NS_DAY
    traded = schedule.open_days(int(schedule.history[0].value // NS_DAY) - 1, int(after.max(initial=0)) + 1)
    if days is not None:
        traded = traded[isin_sorted(traded, days)]
    lost = np.searchsorted(traded, after, side="left") - np.searchsorted(traded, before, side="right")
    holidays: np.ndarray = lost <= HOLIDAY
    if schedule.kind == "intraday" and len(last):
        # The rows on both sides must end and begin a session, give or take half an interval.
        ticks = schedule.on_days(int(before.min()), int(after.max()))
        half = schedule.step.value // 2
        left = np.searchsorted(ticks, (before + 1) * NS_DAY) - np.searchsorted(ticks, last + half, side="right")
        missed = np.searchsorted(ticks, first - half) - np.searchsorted(ticks, after * NS_DAY)
        holidays &= (left <= 0) & (missed <= 0)
    return holidays


def describe_sessions(schedule: Schedule) -> str:
    """`Mon-Fri 09:30-11:30 13:00-15:00`, `Mon-Fri`, `around the clock`: when the history trades, lately."""
    if schedule.kind == "long":
        return ""
    lately = schedule.history.searchsorted(schedule.history[-1] - _LATELY)
    schedule = replace(schedule, history=schedule.history[lately:])
    newest = int(schedule.clock(schedule.history[-1:])[0] // NS_DAY)
    if schedule.kind == "daily":
        found = np.unique(weekdays(schedule.open_days(newest - 27, newest)))
        return "every day" if len(found) == 7 else _weekdays(found.tolist())
    stretches = schedule.stretches()
    if stretches is None:
        return "around the clock"
    stretches = stretches[stretches[:, 0] >= (newest - 27) * NS_DAY]
    if len(stretches) and int(np.median(stretches[:, 1] - stretches[:, 0])) > NS_DAY:
        return " to ".join(
            f"{_NAMES[int(weekdays(moment // NS_DAY))]} {_clock(moment)}" for moment in stretches[len(stretches) // 2]
        )
    by_day: dict[int, Counter[tuple[str, ...]]] = {}
    day = stretches[:, 0] // NS_DAY
    for one in np.unique(day):
        text = tuple(f"{_clock(lo)}-{_clock(hi)}" for lo, hi in stretches[day == one])
        by_day.setdefault(int(weekdays(one)), Counter())[text] += 1
    groups: dict[tuple[str, ...], list[int]] = {}
    for weekday in sorted(by_day):
        [(text, _)] = by_day[weekday].most_common(1)
        groups.setdefault(text, []).append(weekday)
    return "; ".join(f"{_weekdays(found)} {' '.join(text)}" for text, found in groups.items())


def _clock(moment: int) -> str:
    return f"{pd.Timestamp(int(moment)):%H:%M}"


def _weekdays(found: list[int]) -> str:
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{_NAMES[found[0]]}-{_NAMES[found[-1]]}"
    return " ".join(_NAMES[number] for number in found)


def short(span: pd.Timedelta, minute: str = "m") -> str:
    """`1d`, `5m`, `2d 3h`: the two largest units; `minute` is how minutes are spelt."""
    days, hours, minutes, seconds, *_ = span.components
    units = [(days, "d"), (hours, "h"), (minutes, minute), (seconds, "s")]
    return " ".join([f"{count}{unit}" for count, unit in units if count][:2]) or str(span)
