"""When named markets are open: exchanges by their `exchange_calendars` name, "24/7" and "24/5".

Knows nothing of histories; `schedule.py` fits bars into what stands here.
"""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from chandler.errors import DataError

ALWAYS, FOREX = "24/7", "24/5"
NS_DAY = 86_400_000_000_000
_NEW_YORK = "America/New_York"
_SPELT = {"crypto": ALWAYS, "forex": FOREX, "fx": FOREX, "24x7": ALWAYS, "24x5": FOREX, "247": ALWAYS}


@dataclass(frozen=True, eq=False)
class Sessions:
    """The sessions of a market over a span of days, in order. Moments are ns of the market's wall clock.

    `day` (n,) days since 1970, the label of each session; `open`, `close` (n,); `pause`, `resume` (n,): the
    lunch break, both at `close` where there is none. A session may open on the day before its label.
    """

    zone: str
    day: np.ndarray
    open: np.ndarray
    close: np.ndarray
    pause: np.ndarray
    resume: np.ndarray

    @property
    def overnight(self) -> bool:
        """Whether sessions begin before midnight of their day, as those of futures and currencies do."""
        return bool(len(self.day)) and bool((self.open // NS_DAY < self.day).mean() > 0.5)

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(P,) each: begin and end of what is traded without a break, increasing; which session that is of; 1 after
        its lunch break, else 0."""
        broken = np.flatnonzero(self.resume < self.close)
        begin = np.concatenate([self.open, self.resume[broken]])
        end = np.concatenate([self.pause, self.close[broken]])
        session = np.concatenate([np.arange(len(self.day)), broken])
        after = np.repeat([0, 1], [len(self.day), len(broken)])
        order = np.argsort(begin, kind="stable")
        return begin[order], end[order], session[order], after[order]

    def holds(self, wall: np.ndarray, right: bool) -> np.ndarray:
        """Which moments (N,) are inside a session: [open, close) or, labelled by the close, (open, close]."""
        side: Any = "left" if right else "right"
        at = np.searchsorted(self.open, wall, side=side) - 1
        found = at >= 0
        at = np.maximum(at, 0)
        if not len(self.day):
            return np.zeros(len(wall), bool)
        before_close = wall <= self.close[at] if right else wall < self.close[at]
        in_break = (
            (wall > self.pause[at]) & (wall <= self.resume[at])
            if right
            else (wall >= self.pause[at]) & (wall < self.resume[at])
        )
        inside: np.ndarray = found & before_close & ~in_break
        return inside


def calendar_names() -> list[str]:
    """Every name that `calendar=` knows: "24/7", "24/5", and exchanges with their aliases."""
    import exchange_calendars

    names = exchange_calendars.get_calendar_names(include_aliases=True)
    return [ALWAYS, FOREX, *sorted(name for name in names if name not in (ALWAYS, FOREX))]


@lru_cache(maxsize=64)
def resolve_calendar(name: str) -> str:
    """The name as it is written here: XNYS for xnys. DataError that lists near names for an unknown one."""
    known = calendar_names()
    folded = {one.casefold(): one for one in known}
    wanted = _SPELT.get(str(name).strip().casefold(), str(name).strip())
    if wanted.casefold() in folded:
        return folded[wanted.casefold()]
    # XNSY is nearer to XNYS than to anything shorter: compare without regard to capitals.
    near = difflib.get_close_matches(wanted.casefold(), list(folded), n=5, cutoff=0.5)
    listed = ", ".join(folded[one] for one in near) if near else "XNYS, XLON, XHKG, XSHG, 24/7, 24/5"
    raise DataError(
        f"calendar {name!r} is not known; near names are {listed}. Exchanges go by their market code "
        "(exchange_calendars), crypto by 24/7, currencies by 24/5; leave it out to learn sessions from the bars."
    )


def exchange_timezone(name: str) -> str:
    """The zone of a resolved calendar's wall clock."""
    if name == ALWAYS:
        return "UTC"
    return _NEW_YORK if name == FOREX else str(_exchange(name).tz)


def sessions(name: str, first: int, last: int) -> Sessions:
    """The sessions labelled by days [first, last] (days since 1970) of a resolved calendar, except 24/7.

    Days beyond what the calendar records go on as ordinary weeks, without holidays: see `covers`.
    """
    if name == FOREX:
        return _forex(first, last)
    table = _schedule(name)
    day = table["day"]
    regular = day[-1] + 1, day[0] - 1  # what is not recorded
    lo, hi = np.searchsorted(day, [first, last + 1])
    parts = {key: values[lo:hi] for key, values in table.items()}
    later, earlier = np.arange(max(regular[0], first), last + 1), np.arange(first, min(regular[1], last) + 1)
    for days, where in ((later, -1), (earlier, 0)):
        days = days[np.isin((days + 3) % 7, table_weekdays(day))]
        if len(days):
            extra = {key: values[where] + (days - day[where]) * NS_DAY for key, values in table.items()}
            extra["day"] = days
            parts = {key: np.concatenate([parts[key], extra[key]][:: 1 if where else -1]) for key in parts}
    return Sessions(exchange_timezone(name), **parts)


def covers(name: str) -> tuple[int, int] | None:
    """First and last day (since 1970) whose holidays the calendar knows; None: all of them."""
    if name in (ALWAYS, FOREX):
        return None
    day = _schedule(name)["day"]
    return int(day[0]), int(day[-1])


def table_weekdays(day: np.ndarray) -> np.ndarray:
    """Weekdays (Monday 0) that trade, from the last three hundred sessions."""
    weekday = (day[-300:] + 3) % 7  # 1 January 1970 was a Thursday
    counts = np.bincount(weekday, minlength=7)
    return np.flatnonzero(counts > 0.2 * counts.max())


def _forex(first: int, last: int) -> Sessions:
    """From 17:00 in New York to 17:00 of the next day, the first on Sunday, the last on Friday.

    None ends on Christmas Day or New Year's Day: the two days on which banks are closed everywhere.
    """
    day = np.arange(first, last + 1)
    dates = day.astype("M8[D]")
    months = dates.astype("M8[M]")
    month, of_month = months.astype(np.int64) % 12 + 1, (dates - months).astype(np.int64) + 1
    closed = ((month == 12) & (of_month == 25)) | ((month == 1) & (of_month == 1))
    day = day[((day + 3) % 7 < 5) & ~closed]
    end = day * NS_DAY + 17 * 3_600_000_000_000
    return Sessions(_NEW_YORK, day, end - NS_DAY, end, end, end)


@lru_cache(maxsize=64)
def _exchange(name: str) -> Any:
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about the inside of exchange_calendars
        try:
            return _longest(exchange_calendars.get_calendar, name)
        except Exception as error:  # some of its calendars break with some releases of pandas
            raise DataError(
                f"calendar {name!r} cannot be built by exchange_calendars {exchange_calendars.__version__} "
                f"({type(error).__name__}: {str(error)[:100]}). Leave it out to learn sessions from the bars."
            ) from error


def _longest(make: Any, name: str) -> Any:
    """As far as it goes: some exchanges publish their holidays year by year."""
    bounds = make(name, start=pd.Timestamp("2022-01-01"), end=pd.Timestamp("2022-02-01"))
    least, most = bounds.bound_min(), bounds.bound_max()
    begin = pd.Timestamp("1950-01-01")
    start = max(begin, least) if least is not None else begin
    horizon = pd.Timestamp.now().normalize() + pd.DateOffset(years=15)
    end = min(horizon, most) if most is not None else horizon
    return make(name, start=start, end=end)


@lru_cache(maxsize=64)
def _schedule(name: str) -> dict[str, np.ndarray]:
    """All recorded sessions in the exchange's wall clock."""
    calendar = _exchange(name)
    table = calendar.schedule
    wall = {
        key: pd.DatetimeIndex(table[key]).tz_convert(calendar.tz).tz_localize(None).as_unit("ns").asi8
        for key in ("open", "close", "break_start", "break_end")
    }
    missing = np.asarray(table["break_start"].isna())
    return {
        "day": np.asarray(pd.DatetimeIndex(table.index).tz_localize(None).as_unit("ns").asi8 // NS_DAY),
        "open": wall["open"],
        "close": wall["close"],
        "pause": np.where(missing, wall["close"], wall["break_start"]),
        "resume": np.where(missing, wall["close"], wall["break_end"]),
    }
