"""Learns from wall-clock bars in which (weekday, time of day) slots a market trades.

A slot counts as open where the history had a bar in at least `OPEN_SHARE` of its chances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandler.data.calendars.time_features import NS_DAY, NS_HOUR, weekdays

MOVED = "sessions moved by an hour lately: learned from the days since"
OPEN_SHARE = 0.25
"""Low, because illiquid symbols skip minutes; above 0, because one special session makes no rule."""
_LIMIT = 50_000_000
"""Cells of the day-by-slot table; a longer history speaks with its latest days."""
_TYPICAL: dict[str | None, tuple[tuple[str, str], ...]] = {
    None: (("09:30", "16:00"),),
    "America/New_York": (("09:30", "16:00"),),
    "Europe/London": (("08:00", "16:30"),),
    "Europe/Berlin": (("09:00", "17:30"),),
    "Europe/Paris": (("09:00", "17:30"),),
    "Asia/Shanghai": (("09:30", "11:30"), ("13:00", "15:00")),
    "Asia/Hong_Kong": (("09:30", "12:00"), ("13:00", "16:00")),
    "Asia/Tokyo": (("09:00", "11:30"), ("12:30", "15:30")),
    "Asia/Kolkata": (("09:15", "15:30"),),
}


@dataclass(frozen=True, eq=False)
class TradingHours:
    """Times of day `clocks` (K,) in ns, increasing, and on which weekdays they trade, `is_open` (7, K)."""

    clocks: np.ndarray
    is_open: np.ndarray

    def ticks(self, first: int, last: int) -> np.ndarray:
        """All open moments of days [first, last] (since 1970), increasing."""
        day = np.arange(first, last + 1)
        found: np.ndarray = (day[:, None] * NS_DAY + self.clocks)[self.is_open[weekdays(day)]]
        return found


def distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, increasing. By sorting: many times as fast as numpy's hashing where they are sorted."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def isin_sorted(values: np.ndarray, increasing: np.ndarray) -> np.ndarray:
    """(N,) bool: which values are in an increasing array."""
    if not len(increasing):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(increasing, values), len(increasing) - 1)
    found: np.ndarray = increasing[at] == values
    return found


def since_clock_change(wall: np.ndarray) -> tuple[np.ndarray, bool]:
    """The rows since all sessions moved by one hour (summer time, seen from UTC), if they did; and whether."""
    day, at = np.unique(wall // NS_DAY, return_index=True)
    if len(day) < 6:
        return wall, False
    begin = wall[at] % NS_DAY
    changed = np.flatnonzero(begin != begin[-1])
    since = int(changed[-1]) + 1 if len(changed) else 0
    if since < 3 or len(day) - since < 3 or not (np.abs(begin[max(0, since - 3) : since] - begin[-1]) == NS_HOUR).all():
        return wall, False
    return wall[at[since] :], True


def phase(ticks: np.ndarray, width: int) -> int:
    """Where in the interval most rows stand; where the last one does, if there is no most."""
    phases, counts = np.unique(ticks % width, return_counts=True)
    return int(phases[counts.argmax()]) if counts.max() > 0.5 * len(ticks) else int(ticks[-1] % width)


def presence_table(wall: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which slot had a bar on which day, of an increasing wall clock (N,) ns with bars of `width` ns: times of day (K,),
    days (D,), `seen` (D, K), and where there was a chance, `known` (D, K)."""
    clock = wall % NS_DAY
    clocks = distinct(clock)
    if NS_DAY % width == 0:  # times that the history jumped over are slots too, closed or not yet reached
        clocks = np.union1d(clocks, np.arange(phase(clock, width), NS_DAY, width))
    newest = int(wall[-1] // NS_DAY)
    first = max(int(wall[0] // NS_DAY), newest - _LIMIT // len(clocks))
    wall = wall[np.searchsorted(wall, first * NS_DAY) :]
    day = np.arange(first, newest + 1)
    seen = np.zeros((len(day), len(clocks)), bool)
    seen[wall // NS_DAY - first, np.searchsorted(clocks, wall % NS_DAY)] = True
    known = np.ones_like(seen)
    known[0] &= clocks >= wall[0] % NS_DAY
    known[-1] &= clocks <= wall[-1] % NS_DAY
    return clocks, day, seen, known


def infer_hours(wall: np.ndarray, width: int, zone: str | None, common: float | None = None) -> TradingHours:
    """The slots of a history (N,) ns of its wall clock, when nothing else is known about the market.

    A weekday that the history has not reached goes by the other working days; so do the slots that a weekday had
    fewer than three chances for, so that one half day is no rule for its weekday. A history inside one day tells
    no closing time: it takes the usual one of its zone if it begins with the opening, else it goes on for ever.
    `common`: a slot must be had as often as this share of the best slot; what is expected of every day is more
    than what may come.
    """
    clocks, day, seen, known = presence_table(wall, width)
    weekday = weekdays(day)
    times, traded = np.bincount(weekday, minlength=7), np.bincount(weekday, seen.any(axis=1), minlength=7)
    usual_closed = (traded == 0) & (times >= 3)  # Fridays in Riyadh
    working = (weekday < 5) & ~usual_closed[weekday]
    if seen[working].any():
        known &= ~(working & ~seen.any(axis=1))[:, None]  # a working day without any bar is a holiday

    def share(rows: np.ndarray) -> np.ndarray:
        """(K,): in which share of its chances on these days a slot had a bar; NaN without a chance."""
        chances, hits = known[rows].sum(axis=0), (seen[rows] & known[rows]).sum(axis=0)
        return np.where(chances > 0, hits / np.maximum(chances, 1), np.nan)

    usual = share(working)
    evening = _typical(wall, width, zone, clocks)
    if evening is not None:
        usual = np.where(np.isnan(usual), evening, usual)
    best = np.nan if np.isnan(usual).all() else float(np.nanmax(usual))
    least = OPEN_SHARE if common is None or np.isnan(best) else common * best
    breaks = bool((usual < least).any())
    is_open = np.zeros((7, len(clocks)), bool)
    for number in range(7):
        rows = weekday == number
        own = share(rows)
        weekend = number >= 5
        if not weekend:
            own = np.where(known[rows].sum(axis=0) < 3, np.nan, own)
        # No word on a weekend: closed where the working days have a closing time, else open.
        other = np.full(len(clocks), 0.0 if breaks else 1.0) if weekend else usual
        value = np.where(np.isnan(own), other, own)
        is_open[number] = (np.isnan(value) | (value >= least)) & ~usual_closed[number]
    used = is_open.any(axis=0)
    return TradingHours(clocks[used], is_open[:, used])


def _typical(wall: np.ndarray, width: int, zone: str | None, clocks: np.ndarray) -> np.ndarray | None:
    """(K,) 1 inside the usual hours of the zone, if the history is one day that begins with their opening."""
    hours = _TYPICAL.get(zone)
    if hours is None or wall[0] // NS_DAY != wall[-1] // NS_DAY:
        return None
    parts = [tuple(pd.Timedelta(f"{text}:00").value for text in part) for part in hours]
    opening, closing = parts[0][0], parts[-1][1]
    by_close = wall[0] % NS_DAY == opening + width  # labelled by the close of a bar
    if not (wall[0] % NS_DAY == opening or by_close) or wall[-1] % NS_DAY > closing:
        return None
    inside = np.zeros(len(clocks))
    shift = width if by_close else 0
    for lo, hi in parts:
        inside[(clocks - shift >= lo) & (clocks - shift < hi)] = 1.0
    return inside
