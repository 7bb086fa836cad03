"""When each row of a table is: its column of times, or of dates and clocks, as timestamps."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from chandler.data.column_names import candidates
from chandler.data.reading.times import parse_times
from chandler.data.reading.validation.state import TableState
from chandler.text import listed

_USUAL = 0.05
"""Share of the most common step of time, up to which rows are hardly bars."""
_MOMENT = re.compile(r"\s*(19|20)\d\d([-/.]?)[01]\d\2[0-3]\d[ T]?\d\d:?\d\d")
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}|\s*\d{1,9}(\.0)?\s*$|\s*\d{1,2}[ -]?[AaPp][Mm]")
_LAST_INSTANT = pd.Timedelta("23:59:00")


def read_index(state: TableState) -> pd.DatetimeIndex:
    """The time of each row (N,), none of them empty.

    Raises:
        DataError: times that cannot be read, or that read in two ways.
    """
    table, options = state.table, state.options
    raw, clock = table.columns[table.roles["timestamp"]], table.column("time")
    if clock is not None:
        shown = [str(one) for one in clock.dropna().head(100)]
        if not all(map(_CLOCK.match, shown)):
            if all(map(_MOMENT.match, shown)):
                raw = clock
                state.note(f"times: from {table.named('time')!r}, which has the date as well")
            clock = None  # a column named `time` that holds something else
    times = parse_times(
        raw, clock, timezone=options.timezone, date_format=options.date_format,
        stated=table.stated_zone, series=state.codes, place=table.at,
    )  # fmt: skip
    remedy = f"{times.hint} {times.remedy}".strip()
    state.refuse(np.asarray(times.index.isna()), "unreadable timestamp in {}", remedy, "timestamp", raw)
    state.note(*times.notes)
    _note_steps(state, times.index)
    return _by_day(state, times.index)


def _note_steps(state: TableState, index: pd.DatetimeIndex) -> None:
    """Tell where hardly two of the first rows of a symbol are equally far apart: as of trades, or another column."""
    steps = np.abs(np.diff(index.asi8[state.codes == state.codes[0]][:500]))
    steps = steps[steps > 0]
    usual = int(np.unique(steps, return_counts=True)[1].max(initial=0))
    if len(steps) >= 20 and usual <= max(1, _USUAL * len(steps)):
        name = state.table.named("timestamp")
        others = [one for one in candidates(["timestamp"], list(state.table.names.values()))[0] if one != name]
        told = f"; other columns of times: {listed(others, 6)}, columns={{'timestamp': ...}}" if others else ""
        few = f"at most {usual} of {len(steps)}" if usual > 1 else "no two"
        state.note(f"times: {few} steps in {name!r} are equal, unlike those of bars{told}", kind="kept")


def _by_day(state: TableState, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Daily bars that are dated by the last instant of their day, dated by the day."""
    if not len(index) or index[0].hour < 12 or index[0] - index[0].normalize() < _LAST_INSTANT:
        return index
    clock = index - index.normalize()
    if clock.min() != clock.max():
        return index
    told = str(clock.min()).removeprefix("0 days ")
    state.note(f"times: {told} on every day, the last instant of a day: dated by the day")
    return index.normalize()
