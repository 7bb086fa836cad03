"""Fits a history of bars into a market's calendar, or one learned from the bars: which bars are expected, and when.

A `Schedule` continues a history (`after`) and lists what should have been there (`expected`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from chandler.data.calendars import infer_interval
from chandler.data.months import periods_after
from chandler.data.sessions import ALWAYS, Sessions, recorded, resolve, sessions, table_weekdays, zone_of
from chandler.data.slots import NS_DAY, OPEN_SHARE, Seen, Slots, learn, look, phase, weekdays
from chandler.errors import DataError

DAY = pd.Timedelta(days=1)
HOUR = pd.Timedelta(hours=1)
RECENT = pd.Timedelta(days=60)
"""How far back an intraday history speaks for its sessions; older hours may have been others."""
INFERRED = "inferred"
_MOVED = "sessions moved by an hour lately: learned from the days since"
Label = Literal["open", "close", "both"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """When bars of one series come."""

    name: str
    """The calendar: `XNYS`, `24/7`, `24/5`, or `inferred`."""
    step: pd.Timedelta
    """The interval of the bars."""
    kind: Literal["intraday", "daily", "long"]
    """`long`: weeks and more, whole days apart."""
    history: pd.DatetimeIndex
    """As given, in ns."""
    label: Label = "open"
    """Which end of a bar its timestamp names, where an exchange's sessions tell; `both`: bars at either end."""
    notes: tuple[str, ...] = ()
    zone: str | None = None
    """The zone whose wall clock the ticks below are in; None: that of the history."""
    reading: str | None = None
    """The zone that naive times were taken to be in; None: that of the market."""
    _days: Callable[[int, int], np.ndarray] | None = None
    """(first day, last day) -> expected ticks in ns of `zone`'s wall clock; None: every `step`, without breaks."""

    def after(self, horizon: int) -> pd.DatetimeIndex:
        """The `horizon` timestamps that follow the history, in its zone."""
        if self.kind == "long":
            trading = None if self.name in (INFERRED, ALWAYS) else self._days
            future = periods_after(self.history.tz_localize(None), horizon, self.step, trading)
            return self._as_history(future.asi8, None)[:horizon]
        if self._days is None:
            return self._plain(horizon)
        day = int(self._market(self.history[-1:])[0] // NS_DAY)
        found, span = self.history[:0], 14
        for _ in range(12):
            found = self._as_history(self._days(day - 1, day + span), self.zone)
            found = found[found > self.history[-1]]
            if len(found) >= horizon:
                return found[:horizon]
            span = 2 * max(span, int(span * horizon / max(len(found), 1)))
        raise DataError(f"calendar {self.name} has no {horizon} bars after {self.history[-1]}. Ask for fewer.")

    def expected(self) -> np.ndarray | None:
        """Ticks (M,) int64, as a store keeps times, of the bars expected from the first to the last of the history.

        None where bars come every `step` without breaks, and for weeks and longer.
        """
        if self._days is None or self.kind == "long":
            return None
        first, last = (int(self._market(self.history[[at]])[0] // NS_DAY) for at in (0, -1))
        return np.unique(self._as_history(self._days(first - 1, last + 1), self.zone).asi8)

    def missing(self) -> np.ndarray:
        """(N - 1,) int64: how many expected bars are missing between one row and the next."""
        ticks, width = self.history.asi8, self.step.value
        spacing = np.diff(ticks)
        expected = self.expected()
        if expected is None:
            return np.maximum(np.rint(spacing / width).astype(np.int64) - 1, 0)
        found = np.zeros(len(spacing), np.int64)
        long = np.flatnonzero(spacing > 1.5 * width)
        # Half an interval of tolerance: an odd tick beside an expected one is that one.
        lo = np.searchsorted(expected, ticks[long] + width // 2, side="right")
        hi = np.searchsorted(expected, ticks[long + 1] - width // 2, side="left")
        found[long] = np.maximum(hi - lo, 0)
        return found

    def _plain(self, horizon: int) -> pd.DatetimeIndex:
        # The last row may be a live bar off the grid (13:50:02 of 15-minute bars): go on along the grid.
        width, ticks = self.step.value, self.history.asi8
        start = int(ticks[-1]) - (int(ticks[-1]) - phase(ticks[-200_000:], width)) % width
        plain = pd.DatetimeIndex((start + width * np.arange(1, horizon + 1)).view("M8[ns]"))
        return plain if self.history.tz is None else plain.tz_localize("UTC").tz_convert(self.history.tz)

    def _market(self, index: pd.DatetimeIndex) -> np.ndarray:
        return market_clock(index, self.zone, self.reading)

    def _as_history(self, wall: np.ndarray, zone: str | None) -> pd.DatetimeIndex:
        """Ticks of a wall clock as the history writes times; those in a skipped hour are left out."""
        index = pd.DatetimeIndex(np.asarray(wall, np.int64).view("M8[ns]"))
        own = self.history.tz
        source = zone if zone is not None else own
        if own is None and (zone is None or self.reading in (None, zone)):
            return index
        daily = self.kind != "intraday"
        # Of a doubled hour the first; of a skipped one the moment after: daily bars must not vanish.
        first = np.ones(len(index), bool)
        index = index.tz_localize(source, ambiguous=first, nonexistent="shift_forward" if daily else "NaT")
        index = index[index.notna()]
        return index.tz_convert(self.reading).tz_localize(None) if own is None else index.tz_convert(own)


def market_clock(index: pd.DatetimeIndex, zone: str | None, reading: str | None) -> np.ndarray:
    """Times as ns of `zone`'s wall clock; naive ones are taken to be in `reading`. None leaves them as they are."""
    if index.tz is None and reading is not None and reading != zone:
        # A doubled hour has no order left without a zone: its first meaning is taken, and sorted below.
        index = index.tz_localize(reading, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward")
    if index.tz is not None and zone is not None:
        index = index.tz_convert(zone)
    return np.asarray(index.tz_localize(None).as_unit("ns").asi8)


def fit_schedule(
    history: pd.DatetimeIndex,
    calendar: str | None = None,
    *,
    interval: pd.Timedelta | str | None = None,
    whole: bool = False,
) -> Schedule:
    """The schedule of a history (N,) of increasing times; `calendar` as for `future_timestamps`.

    Naive times of an exchange are taken as its wall clock, or as UTC where that fits its sessions better (a note
    says so). `whole`: learn from the whole history, to judge its gaps, and not from the last 60 days.
    Raises DataError for an empty history, one row without `interval`, and an unknown calendar.
    """
    if not len(history):
        raise DataError("no history to continue: give at least one timestamp.")
    name = INFERRED if calendar is None or calendar == INFERRED else resolve(calendar)
    history = history.as_unit("ns")
    step = infer_interval(history) if interval is None else pd.Timedelta(interval)
    if step <= pd.Timedelta(0):
        raise DataError(f"interval must be above 0, but is {step}.")
    if step > DAY + HOUR and (step % DAY == pd.Timedelta(0) or step >= 7 * DAY):
        if name in (INFERRED, ALWAYS):
            return Schedule(name, step, "long", history)
        return Schedule(name, step, "long", history, _days=lambda lo, hi: sessions(name, lo, hi).day * NS_DAY)
    if DAY - HOUR <= step <= DAY + HOUR:
        return _daily(name, step, history)
    recent = history if whole else history[(history > history[-1] - RECENT)][-200_000:]
    if name == ALWAYS:
        return Schedule(name, step, "intraday", history)
    if name != INFERRED:
        return _exchange(name, step, history, recent, whole)
    gaps = np.diff(recent.asi8)
    if not len(gaps) or (gaps <= step.value * 1.5).mean() < 0.3:  # too short or too irregular to have sessions
        return Schedule(name, step, "intraday", history)
    wall = market_clock(recent, None, None)
    notes: tuple[str, ...] = ()
    if not whole:
        wall, moved = _since_clock_change(wall)
        notes = (_MOVED,) if moved else ()
    slots = learn(wall, step.value, None if history.tz is None else str(history.tz))
    always = slots.is_open.all() or not slots.is_open.any()
    return Schedule(name, step, "intraday", history, notes=notes, _days=None if always else slots.ticks)


def _daily(name: str, step: pd.Timedelta, history: pd.DatetimeIndex) -> Schedule:
    own = market_clock(history, None, None)
    if name == INFERRED:
        traded = _traded(own[-750:])
        return Schedule(name, step, "daily", history, _days=_dates(own, lambda day: np.isin(weekdays(day), traded)))
    if name == ALWAYS:
        return Schedule(name, step, "daily", history, _days=_dates(own, lambda day: np.ones(len(day), bool)))

    def trades(day: np.ndarray) -> np.ndarray:
        return np.isin(day, sessions(name, int(day[0]), int(day[-1])).day)

    # Midnight in Hong Kong is the day before in UTC: count in the zone whose dates are the sessions.
    zone = zone_of(name) if history.tz is not None else None
    market = market_clock(history, zone, None)
    lo, hi = int(own[0] // NS_DAY) - 1, int(own[-1] // NS_DAY) + 1
    day = sessions(name, lo, hi).day
    fits = [np.isin(clock[-750:] // NS_DAY, day).mean() for clock in (own, market)]
    if zone is None or fits[0] >= fits[1]:
        zone, market = None, own
    return Schedule(name, step, "daily", history, notes=_unrecorded(name, market), zone=zone,
                    _days=_dates(market, trades))  # fmt: skip


def _dates(wall: np.ndarray, trades: Callable[[np.ndarray], np.ndarray]) -> Callable[[int, int], np.ndarray]:
    clock = int(wall[-1] % NS_DAY)

    def ticks(first: int, last: int) -> np.ndarray:
        day = np.arange(first, last + 1)
        found: np.ndarray = day[trades(day)] * NS_DAY + clock
        return found

    return ticks


def _traded(wall: np.ndarray) -> np.ndarray:
    """Weekdays that daily bars trade on. Below three weeks of history only: with or without weekends."""
    counts = np.bincount(weekdays(wall // NS_DAY), minlength=7)
    if wall[-1] - wall[0] < 21 * NS_DAY:
        weekend = counts[5:].any() or counts[:5].sum() == 0
        return np.arange(7) if weekend else np.arange(5)
    return np.flatnonzero(counts >= np.maximum(1, OPEN_SHARE * counts.max()))


def _since_clock_change(wall: np.ndarray) -> tuple[np.ndarray, bool]:
    """The rows since all sessions moved by one hour (summer time, seen from UTC), if they did; and whether."""
    day, at = np.unique(wall // NS_DAY, return_index=True)
    if len(day) < 6:
        return wall, False
    begin = wall[at] % NS_DAY
    changed = np.flatnonzero(begin != begin[-1])
    since = int(changed[-1]) + 1 if len(changed) else 0
    hour = HOUR.value
    if since < 3 or len(day) - since < 3 or not (np.abs(begin[max(0, since - 3) : since] - begin[-1]) == hour).all():
        return wall, False
    return wall[at[since] :], True


def _exchange(
    name: str, step: pd.Timedelta, history: pd.DatetimeIndex, recent: pd.DatetimeIndex, whole: bool
) -> Schedule:
    """Slots learned inside the sessions of a calendar; its holidays, short days and breaks come on top."""
    zone, width = zone_of(name), step.value
    choices = [zone, "UTC"] if history.tz is None else [None]
    best: tuple[float, str | None, np.ndarray, Sessions] | None = None
    for reading in choices:
        wall = np.sort(market_clock(recent, zone, reading))
        found = sessions(name, int(wall[0] // NS_DAY) - 3, int(wall[-1] // NS_DAY) + 3)
        fit = float((found.holds(wall, False) | found.holds(wall, True)).mean())
        if best is None or fit > best[0] + 0.01:
            best = fit, reading, wall, found
    assert best is not None
    fit, reading, wall, around = best
    notes = list(_unrecorded(name, wall))
    if reading is not None and reading != zone:
        notes.append(f"naive times are taken as {reading}, not {zone}: more of them are in the sessions of {name}")
    if fit < 0.5:
        notes.append(f"only {fit:.0%} of the bars are in the sessions of {name}: is it the right calendar?")
    if not whole and not around.overnight:
        # A vendor's clock may be an hour off for some weeks of spring and autumn.
        wall, moved = _since_clock_change(wall)
        notes += [_MOVED] * moved
    first, last = int(wall[0] // NS_DAY) - 3, int(wall[-1] // NS_DAY) + 3
    label = _label(wall, around)
    table = look(wall, width)
    slots = _slots_of(table, around, label)

    def ticks(lo: int, hi: int) -> np.ndarray:
        inside = around if first <= lo - 3 and hi + 3 <= last else sessions(name, lo - 3, hi + 3)
        return _within(slots.ticks(lo, hi), inside, label, usual)

    usual = _usual_hours(around)
    return Schedule(name, step, "intraday", history, label, tuple(notes), zone, reading, ticks)


def _label(wall: np.ndarray, around: Sessions) -> Label:
    """`close` where sessions have a bar at their close and none at their open."""
    traded = np.searchsorted(wall, around.close, "right") > np.searchsorted(wall, around.open)
    # A close that is the next open, as those of currencies within the week, tells nothing.
    opens = around.open[traded & ~np.isin(around.open, around.close)]
    closes = around.close[traded & ~np.isin(around.close, around.open)]
    left = np.isin(opens, wall).mean() if len(opens) else 0.0
    right = np.isin(closes, wall).mean() if len(closes) else 0.0
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


def _unrecorded(name: str, wall: np.ndarray) -> tuple[str, ...]:
    known = recorded(name)
    if known is None or int(wall[-1] // NS_DAY) + 30 <= known[1]:
        return ()
    last = pd.Timestamp(known[1] * NS_DAY).date()
    return (f"the holidays of {name} are recorded to {last} only: later ones are taken as trading days",)
