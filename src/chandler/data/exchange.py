"""Fits intraday bars into the sessions of a named market: zone, label, and the slots of a session that have bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from chandler.data.sessions import Sessions, recorded, sessions, table_weekdays, zone_of
from chandler.data.slots import NS_DAY, OPEN_SHARE, Seen, Slots, among, look, weekdays

MOVED = "sessions moved by an hour lately: learned from the days since"
Label = Literal["open", "close", "both"]
_HOUR = 3_600_000_000_000


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
    zone = zone_of(name)
    choices = [zone, "UTC"] if recent.tz is None else [None]
    best: tuple[float, str | None, np.ndarray, Sessions] | None = None
    for reading in choices:
        wall = np.sort(market_clock(recent, zone, reading))
        found = sessions(name, int(wall[0] // NS_DAY) - 3, int(wall[-1] // NS_DAY) + 3)
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
    first, last = int(wall[0] // NS_DAY) - 3, int(wall[-1] // NS_DAY) + 3
    label = _label(wall, around)
    table = look(wall, width)
    slots = _slots_of(table, around, label)

    def ticks(lo: int, hi: int) -> np.ndarray:
        inside = around if first <= lo - 3 and hi + 3 <= last else sessions(name, lo - 3, hi + 3)
        return _within(slots.ticks(lo, hi), inside, label, usual)

    usual = _usual_hours(around)
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
    opens = around.open[traded & ~among(around.open, around.close)]
    closes = around.close[traded & ~among(around.close, around.open)]
    left = among(opens, wall).mean() if len(opens) else 0.0
    right = among(closes, wall).mean() if len(closes) else 0.0
    if right < OPEN_SHARE:
        return "open"
    return "both" if left >= OPEN_SHARE else "close"


def _usual_hours(around: Sessions) -> tuple[int, int]:
    """The most common opening and closing times, ns after the midnight of the session's day."""
    return tuple(  # type: ignore[return-value]
        int(values[counts.argmax()])
        for values, counts in (
            np.unique(moments - around.day * NS_DAY, return_counts=True) for moments in (around.open, around.close)
        )
    )


def _slots_of(table: Seen, around: Sessions, label: Label) -> Slots:
    """What traded of the table on regular days; what it never had a chance for goes by the calendar's hours."""
    opening, closing = _usual_hours(around)
    if around.overnight:
        rows = weekdays(table.day)
        is_open = np.stack([table.share(rows == number) for number in range(7)])
        return Slots(table.clocks, np.isnan(is_open) | (is_open >= OPEN_SHARE)).trimmed()
    at = np.searchsorted(around.day, table.day)
    at = np.minimum(at, len(around.day) - 1)
    regular = (around.day[at] == table.day) & table.seen.any(axis=1)
    regular &= (around.open[at] - table.day * NS_DAY == opening) & (around.close[at] - table.day * NS_DAY == closing)
    share = table.share(regular)
    day = int(around.day[-1])
    model = Sessions(around.zone, np.array([day]), np.array([day * NS_DAY + opening]),
                     np.array([day * NS_DAY + closing]), *_break(around, day))  # fmt: skip
    moments = day * NS_DAY + table.clocks
    by_hours = model.holds(moments, False) if label != "close" else model.holds(moments, True)
    open_slots = np.where(np.isnan(share), by_hours, share >= OPEN_SHARE)
    is_open = np.zeros((7, len(table.clocks)), bool)
    is_open[table_weekdays(around.day)] = open_slots
    return Slots(table.clocks, is_open).trimmed()


def _break(around: Sessions, day: int) -> tuple[np.ndarray, np.ndarray]:
    usual = [int(np.median(moments - around.day * NS_DAY)) for moments in (around.pause, around.resume)]
    return np.array([day * NS_DAY + usual[0]]), np.array([day * NS_DAY + usual[1]])


def _within(ticks: np.ndarray, inside: Sessions, label: Label, usual: tuple[int, int]) -> np.ndarray:
    """Ticks of session days, without those that a short day cuts off."""
    if inside.overnight:
        keep = inside.holds(ticks, label == "close")
        return ticks[keep | inside.holds(ticks, True)] if label == "both" else ticks[keep]
    day = ticks // NS_DAY
    at = np.minimum(np.searchsorted(inside.day, day), max(len(inside.day) - 1, 0))
    if not len(inside.day):
        return ticks[:0]
    keep = inside.day[at] == day
    short = inside.close[at] - day * NS_DAY < usual[1]
    keep &= ~short | (ticks < inside.close[at] if label == "open" else ticks <= inside.close[at])
    late = inside.open[at] - day * NS_DAY > usual[0]
    keep &= ~late | (ticks > inside.open[at] if label == "close" else ticks >= inside.open[at])
    return ticks[keep]


def unrecorded(name: str, wall: np.ndarray) -> tuple[str, ...]:
    known = recorded(name)
    if known is None or int(wall[-1] // NS_DAY) + 30 <= known[1]:
        return ()
    last = pd.Timestamp(known[1] * NS_DAY).date()
    return (f"the holidays of {name} are recorded to {last} only: later ones are taken as trading days",)
