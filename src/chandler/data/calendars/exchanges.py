"""Named markets: when they are open, and where the intraday bars of a history stand in their sessions.

Exchanges go by their `exchange_calendars` name; beside them there are "24/7" and "24/5". First the markets themselves
(`sessions`), then the bars of a history in them (`fit_exchange`).
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from chandler.data.calendars.inferred import (
    MOVED,
    OPEN_SHARE,
    distinct,
    isin_sorted,
    phase,
    since_clock_change,
)
from chandler.data.calendars.time_features import NS_DAY, NS_HOUR, wall_clock, weekdays
from chandler.errors import DataError

ALWAYS, FOREX = "24/7", "24/5"
Label = Literal["open", "close", "both"]
USUAL = -1
"""The group of parts of which the days of a history had none."""
_NEW_YORK = "America/New_York"
_SPELT = {"crypto": ALWAYS, "forex": FOREX, "fx": FOREX, "24x7": ALWAYS, "24x5": FOREX, "247": ALWAYS}
_MARGIN = 14
"""Days of sessions around a history: more than the longest holidays."""


@dataclass(frozen=True, eq=False)
class Sessions:
    """The sessions of a market over a span of days, in order. Moments are ns of the market's wall clock.

    `day` (n,) days since 1970, the label of each session; `open`, `close` (n,); `pause`, `resume` (n,): the
    lunch break, both at `close` where there is none. A session may open on the day before its label.
    """

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

    def holds(self, wall: np.ndarray) -> np.ndarray:
        """Which moments (N,) are inside a session, both ends of its parts included."""
        begin, end, *_ = self.parts()
        if not len(begin):
            return np.zeros(len(wall), bool)
        at = np.searchsorted(begin, wall, side="right") - 1
        inside: np.ndarray = (at >= 0) & (wall <= end[at])
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

    Days beyond what the calendar records go on as ordinary weeks, without holidays: see `unrecorded`.
    """
    if name == FOREX:
        return _forex(first, last)
    table = _schedule(name)
    day = table["day"]
    trading = _trading_weekdays(day)

    def ordinary(lo: int, hi: int, like: int) -> dict[str, np.ndarray]:
        """Sessions of days that are not recorded, at the hours of the recorded one at `like`."""
        days = np.arange(lo, hi + 1)
        days = days[np.isin(weekdays(days), trading)]
        return {key: values[like] + (days - day[like]) * NS_DAY for key, values in table.items()} | {"day": days}

    before = ordinary(first, min(int(day[0]) - 1, last), 0)
    after = ordinary(max(int(day[-1]) + 1, first), last, -1)
    recorded = slice(*np.searchsorted(day, [first, last + 1]))
    parts = {key: np.concatenate([before[key], values[recorded], after[key]]) for key, values in table.items()}
    return Sessions(**parts)


def session_close(name: str, day: pd.Timestamp) -> pd.Timestamp | None:
    """When the session that a day (its date) labels closes, in the market's zone; None of a day without one, and of 24/7.

    Args:
        name: a resolved calendar.
    """
    if name == ALWAYS:
        return None
    number = int(np.datetime64(day.date(), "D").astype(np.int64))
    found = sessions(name, number, number)
    return pd.Timestamp(int(found.close[0])).tz_localize(exchange_timezone(name)) if len(found.close) else None


def unrecorded(name: str, wall: np.ndarray) -> tuple[str, ...]:
    """A note where a history (N,) ns ends near the last day whose holidays the calendar knows, or behind it."""
    if name in (ALWAYS, FOREX):
        return ()
    known = int(_schedule(name)["day"][-1])
    if int(wall[-1] // NS_DAY) + 30 <= known:
        return ()
    last = pd.Timestamp(known * NS_DAY).date()
    return (f"the holidays of {name} are recorded to {last} only: later ones are taken as trading days",)


def _trading_weekdays(day: np.ndarray) -> np.ndarray:
    """Weekdays (Monday 0) that trade, from the last three hundred sessions."""
    counts = np.bincount(weekdays(day[-300:]), minlength=7)
    return np.flatnonzero(counts > 0.2 * counts.max())


def _forex(first: int, last: int) -> Sessions:
    """From 17:00 in New York to 17:00 of the next day, the first on Sunday, the last on Friday.

    None ends on Christmas Day or New Year's Day: the two days on which banks are closed everywhere.
    """
    day = np.arange(first, last + 1)
    dates = pd.DatetimeIndex(day.astype("M8[D]"))
    closed = (dates.month == 12) & (dates.day == 25) | (dates.month == 1) & (dates.day == 1)
    day = day[(weekdays(day) < 5) & ~closed]
    end = day * NS_DAY + 17 * NS_HOUR
    return Sessions(day, end - NS_DAY, end, end, end)


@lru_cache(maxsize=64)
def _exchange(name: str) -> Any:
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about the inside of exchange_calendars
        try:
            # As far as it goes: some exchanges publish their holidays year by year.
            bounds = exchange_calendars.get_calendar(name, start="2022-01-01", end="2022-02-01")
            least, most = bounds.bound_min(), bounds.bound_max()
            start, end = pd.Timestamp("1950-01-01"), pd.Timestamp.now().normalize() + pd.DateOffset(years=15)
            return exchange_calendars.get_calendar(
                name, start=start if least is None else max(start, least), end=end if most is None else min(end, most)
            )
        except Exception as error:  # some of its calendars break with some releases of pandas
            raise DataError(
                f"calendar {name!r} cannot be built by exchange_calendars {exchange_calendars.__version__} "
                f"({type(error).__name__}: {str(error)[:100]}). Leave it out to learn sessions from the bars."
            ) from error


@lru_cache(maxsize=64)
def _schedule(name: str) -> dict[str, np.ndarray]:
    """All recorded sessions in the exchange's wall clock: the fields of `Sessions`."""
    calendar = _exchange(name)
    table = calendar.schedule
    wall = [
        wall_clock(pd.DatetimeIndex(table[key].fillna(table["close"])), str(calendar.tz))
        for key in ("open", "close", "break_start", "break_end")
    ]
    days = wall_clock(pd.DatetimeIndex(table.index)) // NS_DAY
    return dict(zip(("day", "open", "close", "pause", "resume"), (days, *wall), strict=True))


def fit_exchange(name: str, width: int, recent: pd.DatetimeIndex, whole: bool) -> dict[str, Any]:
    """How the bars of a history stand in the sessions of a calendar, as fields of a `Schedule`.

    Slots of `width` ns inside the sessions are learned; holidays and short days come on top. `whole`: all bars count
    alike, even if the clock changed on the way.
    """
    zone = exchange_timezone(name)
    choices = [zone, "UTC"] if recent.tz is None else [None]
    best: tuple[float, str | None, np.ndarray, Sessions] | None = None
    for reading in choices:
        wall = np.sort(wall_clock(recent, zone, reading))
        found = sessions(name, int(wall[0] // NS_DAY) - _MARGIN, int(wall[-1] // NS_DAY) + _MARGIN)
        fit = float(found.holds(wall).mean())
        if best is None or fit > best[0] + 0.01:
            best = fit, reading, wall, found
    assert best is not None
    fit, reading, wall, around = best
    notes = list(unrecorded(name, wall))
    if reading is not None and reading != zone:
        notes.append(f"naive times are taken as {reading}, not {zone}: more of them are in the sessions of {name}")
    if fit < 0.5:
        notes.append(f"only {fit:.0%} of the bars are in the sessions of {name}: is it the right calendar?")
    if whole and not around.overnight:
        notes += _hour_off(wall, width, around)
    if not whole and not around.overnight:
        # A vendor's clock may be an hour off for some weeks of spring and autumn.
        wall, moved = since_clock_change(wall)
        notes += [MOVED] * moved
    first, last = int(wall[0] // NS_DAY) - _MARGIN, int(wall[-1] // NS_DAY) + _MARGIN
    label = _label(wall, around)
    bars_of = _learned(wall, width, around, label)

    def ticks(lo: int, hi: int) -> np.ndarray:
        inside = around if first <= lo - 3 and hi + 3 <= last else sessions(name, lo - 3, hi + 3)
        found = bars_of(inside)
        return found[(found >= lo * NS_DAY) & (found < (hi + 1) * NS_DAY)]

    return {"label": label, "notes": tuple(notes), "zone": zone, "assumed_timezone": reading, "_days": ticks}


def _hour_off(wall: np.ndarray, width: int, around: Sessions) -> tuple[str, ...]:
    """A note where whole sessions stand an hour beside the calendar's, as those of a file whose clock is wrong."""
    first = np.searchsorted(wall, around.day * NS_DAY)
    after = np.searchsorted(wall, (around.day + 1) * NS_DAY)
    traded = after > first
    begin = wall[first[traded]] - around.open[traded]
    end = wall[after[traded] - 1] - around.close[traded]
    for hour, word in ((NS_HOUR, "later"), (-NS_HOUR, "earlier")):
        off = (np.abs(begin - hour) <= width) & (np.abs(end - hour) <= width)
        if width < NS_HOUR and off.sum() > 2 and off.mean() > 0.02:
            day = pd.Timestamp(int(around.day[traded][off.argmax()]) * NS_DAY).date()
            return (
                f"on {int(off.sum()):,} of {len(off):,} days, such as {day}, the bars begin and end an hour {word} than "
                "the session: the clock of the file is wrong there, or its zone is another",
            )
    return ()


def _label(wall: np.ndarray, around: Sessions) -> Label:
    """`close` where sessions have a bar at their close and none at their open."""
    traded = np.searchsorted(wall, around.close, "right") > np.searchsorted(wall, around.open)
    # A close that is the next open, as those of currencies within the week, tells nothing.
    opens = around.open[traded & ~isin_sorted(around.open, around.close)]
    closes = around.close[traded & ~isin_sorted(around.close, around.open)]
    left = isin_sorted(opens, wall).mean() if len(opens) else 0.0
    right = isin_sorted(closes, wall).mean() if len(closes) else 0.0
    if right < OPEN_SHARE:
        return "open"
    return "both" if left >= OPEN_SHARE else "close"


def _learned(wall: np.ndarray, width: int, around: Sessions, label: Label) -> Callable[[Sessions], np.ndarray]:
    """Where the bars of a history (N,) ns of the exchange's wall clock stand in its sessions: the bars of any sessions.

    Moments inside a session count from the opening of their part of it, so that they move with its hours. A bar comes
    where at least `OPEN_SHARE` of the sessions that reached the moment had one, and where none has reached it yet, every
    `width`.
    """
    overnight = around.overnight
    begin, end, session, group = _parts(around, overnight)
    at = np.searchsorted(begin, wall, side="left" if label == "close" else "right") - 1
    inside = (at >= 0) & (wall <= end[at])
    closing = inside & (wall == end[at])
    offset = wall - begin[at]
    # A session without any bar is a halt, or not in the file: it had no chance.
    traded = isin_sorted(around.day, distinct(wall // NS_DAY))
    traded[session[at[inside]]] = True

    def grid(rows: np.ndarray) -> np.ndarray:
        every = np.arange(phase(rows, width) if len(rows) else 0, NS_DAY, width)
        return every[every > 0] if label == "close" else every

    usual = offset[inside & ~closing]
    # By group of parts: how long after the opening a bar comes, however long the part is; and whether one comes at its
    # very end: a closing auction, or the last bar where the close names it.
    offsets, at_end = {USUAL: grid(usual)}, {USUAL: label != "open"}
    for number in np.unique(group).tolist():
        mine, parts = group[at] == number, traded[session] & (group == number)
        own = np.sort(offset[inside & ~closing & mine])
        found = distinct(np.concatenate([own, grid(own if len(own) else usual)]))
        # What the history saw of each part: from `first` to before `last`.
        first, last = np.maximum(wall[0] - begin[parts], 0), np.minimum(wall[-1] + 1, end[parts]) - begin[parts]
        chances = np.searchsorted(np.sort(first), found, side="right")
        chances = chances - np.searchsorted(np.sort(np.maximum(first, last)), found, side="right")
        hits = np.searchsorted(own, found, side="right") - np.searchsorted(own, found)
        offsets[number] = found[(chances == 0) | (hits >= OPEN_SHARE * chances)]
        ended = int((parts & (end >= wall[0]) & (end <= wall[-1])).sum())
        at_end[number] = bool((closing & mine).sum() >= OPEN_SHARE * ended) if ended else at_end[USUAL]
    nothing = np.empty(0, np.int64)
    outside = (nothing, nothing) if overnight else _outside(wall, inside, around)

    def ticks(sessions: Sessions) -> np.ndarray:
        if not len(sessions.day):
            return nothing
        begin, end, _, group = _parts(sessions, overnight)
        found = []
        for number in np.unique(group).tolist():
            opening, closing = begin[group == number], end[group == number]
            own = offsets.get(number, offsets[USUAL])
            moments = opening[:, None] + own[own < (closing - opening).max()]
            found.append(moments[moments < closing[:, None]])
            if at_end.get(number, at_end[USUAL]):
                found.append(closing)
        for clocks, edge in zip(outside, (sessions.open, sessions.close), strict=True):
            extra = (sessions.day[_ordinary(edge, sessions.day)][:, None] * NS_DAY + clocks).ravel()
            found.append(extra[~sessions.holds(extra)])
        return distinct(np.concatenate(found))

    return ticks


def _outside(wall: np.ndarray, inside: np.ndarray, around: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """Times of day that have bars before the opening and after the close, on days that open and close as usual."""
    beside, traded = wall[~inside], isin_sorted(around.day, distinct(wall // NS_DAY))
    at = np.minimum(np.searchsorted(around.day, beside // NS_DAY), len(around.day) - 1)
    early = beside < around.open[at]

    def usual(rows: np.ndarray, edge: np.ndarray) -> np.ndarray:
        days = around.day[traded & _ordinary(edge, around.day)]
        clocks, hits = np.unique(rows[isin_sorted(rows // NS_DAY, days)] % NS_DAY, return_counts=True)
        chances = np.searchsorted(days, (wall[-1] - clocks) // NS_DAY, side="right")
        chances = chances - np.searchsorted(days, -((clocks - wall[0]) // NS_DAY), side="left")
        found: np.ndarray = clocks[hits >= OPEN_SHARE * chances]
        return found

    return usual(beside[early], around.open), usual(beside[~early], around.close)


def _parts(found: Sessions, overnight: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(P,) each: begin and end of all that is traded without a break, increasing, its session, and its group.

    Nights differ by their weekday, the days of an exchange only by their lunch break.
    """
    begin, end, session, number = found.parts()
    return begin, end, session, number + (2 * weekdays(found.day[session]) if overnight else 0)


def _ordinary(edge: np.ndarray, day: np.ndarray) -> np.ndarray:
    """(n,) whether a session opens (or closes) at the hour of the one before or after it: half days stand alone."""
    hour = edge - day * NS_DAY
    same = hour[1:] == hour[:-1]
    return np.concatenate([same, [False]]) | np.concatenate([[False], same])
