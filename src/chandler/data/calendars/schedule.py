"""Fits a history of bars into a market's calendar, or one learned from the bars: which bars are expected, and when.

A `Schedule` continues a history (`after`) and lists what should have been there (`expected`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from chandler.data.calendars.exchanges import (
    ALWAYS,
    Label,
    exchange_timezone,
    fit_exchange,
    resolve_calendar,
    sessions,
    unrecorded,
)
from chandler.data.calendars.inferred import (
    MOVED,
    OPEN_SHARE,
    distinct,
    infer_hours,
    phase,
    since_clock_change,
)
from chandler.data.calendars.time_features import DAY, HOUR, NS_DAY, from_ticks, infer_interval, wall_clock, weekdays
from chandler.errors import DataError

RECENT = pd.Timedelta(days=60)
"""How far back an intraday history speaks for its sessions; older hours may have been others."""
INFERRED = "inferred"
_BREAK = pd.Timedelta(minutes=45)
Ticks = Callable[[int, int], np.ndarray]
"""(first day, last day), days since 1970 -> the moments among them at which bars are expected, ns of a wall clock."""


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
    assumed_timezone: str | None = None
    """The zone that naive times were taken to be in; None: that of the market."""
    _days: Ticks | None = None
    """Expected bars, in `zone`'s wall clock; None: every `step`, without breaks."""

    def after(self, horizon: int) -> pd.DatetimeIndex:
        """The `horizon` timestamps that follow the history, in its zone."""
        if self.kind == "long":
            trading = None if self.name in (INFERRED, ALWAYS) else self._days
            future = _periods_after(self.history.tz_localize(None), horizon, self.step, trading)
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
        return distinct(self._as_history(self._days(first - 1, last + 1), self.zone).asi8)

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

    def clock(self, index: pd.DatetimeIndex) -> np.ndarray:
        """Times of the history as ns of the market's wall clock; of UTC where the market never closes."""
        if self._days is None:
            return np.asarray(index.as_unit("ns").asi8)
        return self._market(index)

    def times(self, wall: np.ndarray, dates: bool) -> pd.DatetimeIndex:
        """The way back from `clock`; `dates`: midnights that name a date, in whatever zone the history is."""
        if self._days is not None:
            return self._as_history(wall, None if dates else self.zone)
        return from_ticks(wall, self.history.tz)

    def trading_days(self, wall: np.ndarray) -> np.ndarray:
        """(N,) the day since 1970 that each moment of `clock` is traded on: its date, or its session's."""
        day: np.ndarray = wall // NS_DAY
        if self.name in (INFERRED, ALWAYS) or self.kind != "intraday" or not len(wall):
            return day
        found = sessions(self.name, int(day[0]) - 3, int(day[-1]) + 3)
        if found.overnight:
            at = np.searchsorted(found.open, wall, side="right") - 1
            day = found.day[np.maximum(at, 0)]
        return day

    def open_days(self, first: int, last: int) -> np.ndarray:
        """Days [first, last] since 1970 on which the market is expected to trade."""
        if self._days is None or last < first:
            return np.arange(first, last + 1)
        if self.name in (INFERRED, ALWAYS) or self.kind != "intraday":
            return distinct(self._days(first, last) // NS_DAY)
        return sessions(self.name, first, last).day

    def on_days(self, first: int, last: int) -> np.ndarray:
        """Expected ticks of days [first, last] since 1970, in the market's wall clock."""
        assert self._days is not None
        return self._days(first, last)

    def stretches(self) -> np.ndarray | None:
        """(A, 2): from when to when the market trades without a break, ns of `clock`, over the history.

        As the calendar says; learned ones are told apart by breaks of 45 minutes. None where it never closes.
        """
        if self._days is None or self.kind != "intraday":
            return None
        first, last = (int(self._market(self.history[[at]])[0] // NS_DAY) for at in (0, -1))
        if self.name != INFERRED:
            begin, end, *_ = sessions(self.name, first - 3, last + 3).parts()
            return np.stack([begin, end], axis=1)
        ticks = self._days(first - 1, last + 1)
        new = np.diff(ticks) > max(1.5 * self.step.value, _BREAK.value)
        begin, end = ticks[np.concatenate([[True], new])], ticks[np.concatenate([new, [True]])]
        return np.stack([begin, end + self.step.value], axis=1)

    def _plain(self, horizon: int) -> pd.DatetimeIndex:
        # The last row may be a live bar off the grid (13:50:02 of 15-minute bars): go on along the grid.
        width, ticks = self.step.value, self.history.asi8
        start = int(ticks[-1]) - (int(ticks[-1]) - phase(ticks[-200_000:], width)) % width
        return from_ticks(start + width * np.arange(1, horizon + 1), self.history.tz)

    def _market(self, index: pd.DatetimeIndex) -> np.ndarray:
        return wall_clock(index, self.zone, self.assumed_timezone)

    def _as_history(self, wall: np.ndarray, zone: str | None) -> pd.DatetimeIndex:
        """Ticks of a wall clock as the history writes times; those in a skipped hour are left out."""
        index = from_ticks(wall, None)
        own = self.history.tz
        source = zone if zone is not None else own
        if own is None and (zone is None or self.assumed_timezone in (None, zone)):
            return index
        daily = self.kind != "intraday"
        # Of a doubled hour the first; of a skipped one the moment after: daily bars must not vanish.
        first = np.ones(len(index), bool)
        index = index.tz_localize(source, ambiguous=first, nonexistent="shift_forward" if daily else "NaT")
        index = index[index.notna()]
        return index.tz_convert(self.assumed_timezone).tz_localize(None) if own is None else index.tz_convert(own)


def known_calendar(name: str | None) -> str | None:
    """The name of a calendar as it is written here, "inferred" included; None for None. DataError for an unknown one."""
    return name if name is None or name == INFERRED else resolve_calendar(name)


def future_timestamps(
    history: pd.DatetimeIndex,
    horizon: int,
    calendar: str | None = None,
    *,
    interval: pd.Timedelta | str | None = None,
) -> pd.DatetimeIndex:
    """The `horizon` timestamps that follow `history` (increasing, naive or in a zone), in its zone.

    `calendar`: an exchange (XNYS, XSHG, XHKG, ...: holidays, half days and lunch breaks are known), "24/7", "24/5"
    (currencies), or None: weekdays and sessions are learned from the history, and holidays are not known. Times
    of an exchange are labelled as the history labels them, by the open or the close of a bar. `interval`
    overrides the most common spacing.

    `fit_schedule(history, calendar)` says what was taken: name, label, notes.

    Raises DataError for an empty history, one row without `interval`, and an unknown calendar.
    """
    if horizon < 0:
        raise DataError(f"horizon must not be negative, but is {horizon}.")
    return fit_schedule(history, calendar, interval=interval).after(horizon)


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
    name = known_calendar(calendar) or INFERRED
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
        return Schedule(name, step, "intraday", history, **fit_exchange(name, step.value, recent, whole))
    gaps = np.diff(recent.asi8)
    if not len(gaps) or (gaps <= step.value * 1.5).mean() < 0.3:  # too short or too irregular to have sessions
        return Schedule(name, step, "intraday", history)
    wall = wall_clock(recent)
    notes: tuple[str, ...] = ()
    if not whole:
        wall, moved = since_clock_change(wall)
        notes = (MOVED,) if moved else ()
    zone = None if history.tz is None else str(history.tz)
    slots = infer_hours(wall, step.value, zone, common=0.5 if whole else None)
    always = slots.is_open.all() or not slots.is_open.any()
    return Schedule(name, step, "intraday", history, notes=notes, _days=None if always else slots.ticks)


def _daily(name: str, step: pd.Timedelta, history: pd.DatetimeIndex) -> Schedule:
    own = wall_clock(history)
    if name == INFERRED:
        traded = _traded(own[-750:])
        return Schedule(
            name, step, "daily", history, _days=_dates(own, lambda day: day[np.isin(weekdays(day), traded)])
        )
    if name == ALWAYS:
        return Schedule(name, step, "daily", history, _days=_dates(own, lambda day: day))
    # Midnight in Hong Kong is the day before in UTC: count in the zone whose dates are the sessions.
    zone = exchange_timezone(name) if history.tz is not None else None
    market = wall_clock(history, zone)
    lo, hi = int(own[0] // NS_DAY) - 1, int(own[-1] // NS_DAY) + 1
    day = sessions(name, lo, hi).day
    fits = [np.isin(clock[-750:] // NS_DAY, day).mean() for clock in (own, market)]
    # Midnight in New York is 04:00 and 05:00 in UTC: its own clock is the one with fewer times of day.
    clocks = [len(np.unique(clock[-750:] % NS_DAY)) for clock in (own, market)]
    if zone is None or (fits[0], -clocks[0]) >= (fits[1], -clocks[1]):
        zone, market = None, own
    days = _dates(market, lambda day: sessions(name, int(day[0]), int(day[-1])).day)
    return Schedule(name, step, "daily", history, notes=unrecorded(name, market), zone=zone, _days=days)


def _dates(wall: np.ndarray, trading: Callable[[np.ndarray], np.ndarray]) -> Ticks:
    """Bars at the time of day of the last one, on those of the days that `trading` picks."""
    clock = int(wall[-1] % NS_DAY)
    return lambda first, last: trading(np.arange(first, last + 1)) * NS_DAY + clock


def _traded(wall: np.ndarray) -> np.ndarray:
    """Weekdays that daily bars trade on. Below three weeks of history only: with or without weekends."""
    counts = np.bincount(weekdays(wall // NS_DAY), minlength=7)
    if wall[-1] - wall[0] < 21 * NS_DAY:
        weekend = counts[5:].any() or counts[:5].sum() == 0
        return np.arange(7) if weekend else np.arange(5)
    return np.flatnonzero(counts >= np.maximum(1, OPEN_SHARE * counts.max()))


def _periods_after(
    wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta, trading: Ticks | None = None
) -> pd.DatetimeIndex:
    """The `horizon` dates after increasing `wall`, `step` apart (2 days and more).

    A constant spacing of whole days goes on; months go by the calendar. With `trading`, bars that stand on the
    first or the last session of their week or month go on so.
    """
    constant = len(wall) > 2 and len(np.unique(np.diff(wall.asi8))) == 1
    months = step >= 28 * DAY and not (step % (7 * DAY) == pd.Timedelta(0) and constant)
    if trading is not None and (months or step == 7 * DAY):
        by_session = _sessions_after(wall, horizon, step, trading, months)
        if by_session is not None:
            return by_session
    if months:
        return _months_after(wall, horizon, step).as_unit("ns")
    # Of weeks labelled by a session, the last label may be a holiday's neighbour: go on from the usual weekday.
    last = wall[-1]
    if step % (7 * DAY) == pd.Timedelta(0) and len(wall) > 5:
        counts = np.bincount(wall[-52:].day_of_week, minlength=7)
        usual = int(counts.argmax())
        if counts[usual] > 0.6 * counts.sum():
            last = last + DAY * ((usual - last.day_of_week + 3) % 7 - 3)
    return pd.DatetimeIndex(last + step * np.arange(1, horizon + 1)).as_unit("ns")


def _sessions_after(
    wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta, trading: Ticks, months: bool
) -> pd.DatetimeIndex | None:
    """Dates on the first or last session of each period, if most of the last bars stand there; else None."""
    unit = "M" if months else "W"
    count = max(1, round(step / (pd.Timedelta(days=30.44) if months else 7 * DAY)))
    clock = wall[-1] - wall[-1].normalize()
    recent = wall[-52:].normalize()
    days = 40 * count if months else 10
    first, last = int(recent.asi8[0] // NS_DAY) - 40, int(recent.asi8[-1] // NS_DAY) + days * (horizon + 2)
    dates = from_ticks(trading(first, last), None)
    if not len(dates):
        return None
    grouped = dates.to_series().groupby(dates.to_period(unit).asi8)
    best = None
    for edge in (grouped.min(), grouped.max()):
        fit = float(recent[:-1].isin(edge).mean()) if len(recent) > 1 else 0.0
        if fit > (0.8 if best is None else best[0]):
            best = fit, edge
    constant = len(np.unique(recent.day_of_week)) == 1 and not months
    if best is None or constant:  # always a Friday: labelled by the calendar's week, holidays or not
        return None
    here = int(recent[-1:].to_period(unit).asi8[0])
    wanted = here + count * np.arange(1, horizon + 1)
    found = best[1].reindex(wanted).dropna()
    return pd.DatetimeIndex(found).as_unit("ns") + clock if len(found) == horizon else None


def _months_after(wall: pd.DatetimeIndex, horizon: int, step: pd.Timedelta) -> pd.DatetimeIndex:
    """Calendar months, quarters, years: the month's last or first (business) day if all have it, else the same day."""
    months = max(1, round(step / pd.Timedelta(days=30.44)))
    last = wall[-1]
    clock = last - last.normalize()
    recent = wall[-12:].normalize()
    starts = pd.DatetimeIndex(np.datetime64(last, "M") + months * np.arange(1, horizon + 1)).as_unit("ns")
    business = [pd.offsets.BMonthEnd(0), pd.offsets.BMonthBegin(0)] if len(recent) > 2 else []
    for rule in (pd.offsets.MonthEnd(0), pd.offsets.MonthBegin(0), *business):
        if (recent == recent + rule).all():
            return pd.DatetimeIndex(starts + rule + clock)
    ends = starts + pd.offsets.MonthEnd(0)
    same_day = starts + (max(recent.day) - 1) * DAY
    return pd.DatetimeIndex(same_day.where(same_day < ends, ends) + clock)
