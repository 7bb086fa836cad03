"""Fits intraday bars into the sessions of a named market: zone, label, and the slots of a session that have bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from chandler.data.calendars.inferred import NS_DAY, OPEN_SHARE, distinct, isin_sorted, phase, weekdays
from chandler.data.calendars.sessions import Sessions, covers, exchange_timezone, sessions

MOVED = "sessions moved by an hour lately: learned from the days since"
Label = Literal["open", "close", "both"]
USUAL = -1
"""The group of parts of which the days of a history had none."""
_HOUR = 3_600_000_000_000
_MARGIN = 14
"""Days of sessions around a history: more than the longest holidays."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """How the bars of a history stand in the sessions of an exchange."""

    label: Label
    notes: tuple[str, ...]
    zone: str
    """Of the exchange; `ticks` are in its wall clock."""
    reading: str | None
    """The zone that naive times were taken to be in; None where they carry one."""
    ticks: Callable[[int, int], np.ndarray]
    """(first day, last day) since 1970 -> moments at which bars are expected, ns."""


def fit_exchange(name: str, width: int, recent: pd.DatetimeIndex, whole: bool) -> Fitted:
    """Learns slots of `width` ns inside the sessions of a calendar; its holidays and short days come on top.

    `whole`: all bars count alike, even if the clock changed on the way.
    """
    zone = exchange_timezone(name)
    choices = [zone, "UTC"] if recent.tz is None else [None]
    best: tuple[float, str | None, np.ndarray, Sessions] | None = None
    for reading in choices:
        wall = np.sort(market_clock(recent, zone, reading))
        found = sessions(name, int(wall[0] // NS_DAY) - _MARGIN, int(wall[-1] // NS_DAY) + _MARGIN)
        fit = float((found.holds(wall, False) | found.holds(wall, True)).mean())
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
    grid = _learned(wall, width, around, label)

    def ticks(lo: int, hi: int) -> np.ndarray:
        inside = around if first <= lo - 3 and hi + 3 <= last else sessions(name, lo - 3, hi + 3)
        found = grid.ticks(inside)
        return found[(found >= lo * NS_DAY) & (found < (hi + 1) * NS_DAY)]

    return Fitted(label, tuple(notes), zone, reading, ticks)


def market_clock(index: pd.DatetimeIndex, zone: str | None, reading: str | None) -> np.ndarray:
    """Times as ns of `zone`'s wall clock; naive ones are taken to be in `reading`. None leaves them as they are."""
    if index.tz is None and reading is not None and reading != zone:
        # A doubled hour has no order left without a zone: its first meaning is taken, and sorted below.
        index = index.tz_localize(reading, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward")
    if index.tz is not None and zone is not None:
        index = index.tz_convert(zone)
    return np.asarray(index.tz_localize(None).as_unit("ns").asi8)


def since_clock_change(wall: np.ndarray) -> tuple[np.ndarray, bool]:
    """The rows since all sessions moved by one hour (summer time, seen from UTC), if they did; and whether."""
    day, at = np.unique(wall // NS_DAY, return_index=True)
    if len(day) < 6:
        return wall, False
    begin = wall[at] % NS_DAY
    changed = np.flatnonzero(begin != begin[-1])
    since = int(changed[-1]) + 1 if len(changed) else 0
    if since < 3 or len(day) - since < 3 or not (np.abs(begin[max(0, since - 3) : since] - begin[-1]) == _HOUR).all():
        return wall, False
    return wall[at[since] :], True


def _hour_off(wall: np.ndarray, width: int, around: Sessions) -> tuple[str, ...]:
    """A note where whole sessions stand an hour beside the calendar's, as those of a file whose clock is wrong."""
    first = np.searchsorted(wall, around.day * NS_DAY)
    after = np.searchsorted(wall, (around.day + 1) * NS_DAY)
    traded = after > first
    begin = wall[first[traded]] - around.open[traded]
    end = wall[after[traded] - 1] - around.close[traded]
    for hour, word in ((_HOUR, "later"), (-_HOUR, "earlier")):
        off = (np.abs(begin - hour) <= width) & (np.abs(end - hour) <= width)
        if width < _HOUR and off.sum() > 2 and off.mean() > 0.02:
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


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where bars stand in the sessions of an exchange, as a history shows: `ticks` of any of its sessions.

    Moments inside a session count from the opening of their part of it, so that they move with its hours.
    """

    offsets: Mapping[int, np.ndarray]
    """Of each group of parts (see `_parts`): ns after the opening at which a bar comes, however long the part is."""
    at_end: Mapping[int, bool]
    """And whether one comes at its very end: a closing auction, or the last bar where the close names it."""
    outside: tuple[np.ndarray, np.ndarray]
    """Times of day that have bars although the exchange is closed: before the opening, and after the close."""
    overnight: bool

    def ticks(self, found: Sessions) -> np.ndarray:
        if not len(found.day):
            return np.empty(0, np.int64)
        begin, end, _, group = _parts(found, self.overnight)
        parts = []
        for number in np.unique(group).tolist():
            opening, closing = begin[group == number], end[group == number]
            offsets = self.offsets.get(number, self.offsets[USUAL])
            moments = opening[:, None] + offsets[offsets < (closing - opening).max()]
            parts.append(moments[moments < closing[:, None]])
            if self.at_end.get(number, self.at_end[USUAL]):
                parts.append(closing)
        for clocks, edge in zip(self.outside, (found.open, found.close), strict=True):
            extra = (found.day[_ordinary(edge, found.day)][:, None] * NS_DAY + clocks).ravel()
            parts.append(extra[~(found.holds(extra, False) | found.holds(extra, True))])
        return distinct(np.concatenate(parts))


def _learned(wall: np.ndarray, width: int, around: Sessions, label: Label) -> _Grid:
    """The grid of a history (N,) ns of the exchange's wall clock: a bar comes where at least `OPEN_SHARE` of the
    sessions that reached the moment had one, and where none has reached it yet, every `width`."""
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
    return _Grid(offsets, at_end, (nothing, nothing) if overnight else _outside(wall, inside, around), overnight)


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


def unrecorded(name: str, wall: np.ndarray) -> tuple[str, ...]:
    known = covers(name)
    if known is None or int(wall[-1] // NS_DAY) + 30 <= known[1]:
        return ()
    last = pd.Timestamp(known[1] * NS_DAY).date()
    return (f"the holidays of {name} are recorded to {last} only: later ones are taken as trading days",)
