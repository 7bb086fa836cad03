"""One symbol of a preflight report: what it holds and what looks wrong. Changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from chandler.data.calendars.gaps import NO_GAPS, describe_sessions, find_gaps, short
from chandler.data.calendars.schedule import fit_schedule
from chandler.data.calendars.time_features import infer_interval
from chandler.data.datasets.cleaning import paper_limits
from chandler.data.store.store import BarStore

TRACE = 120
"""Points of the little price charts; a large one, where there is one symbol, has five times as many."""
_REPEATED = re.compile(r"dropped (\d[\d,]*) rows? that came twice")


@dataclass(frozen=True)
class SymbolReport:
    """One symbol. Counts are rows unless said otherwise."""

    symbol: str
    rows: int
    first: str
    last: str
    interval: str
    """The most common spacing; empty below 2 rows."""
    zone: str
    """Empty for wall clock without a zone."""
    calendar: str
    """What said which bars are expected: an exchange, 24/7, 24/5, or `inferred`."""
    sessions: str
    """When it trades, in the local wall clock."""
    closings: int
    """Breaks in time that the calendar expects, or that look like holidays where it is inferred."""
    gaps: int
    """Breaks in time in which bars are missing: real holes."""
    missing: int
    """Bars missing in all of them."""
    largest_gap: str
    """The longest of them; empty without gaps."""
    largest_gap_after: str
    """The last row before it."""
    duplicates: int
    """Rows that repeated a timestamp and were left out when reading."""
    bad_bars: int
    """Bars with high < max(open, close) or low > min(open, close)."""
    zero_volume: float
    """Share of rows with volume 0, from 0 to 1."""
    stale: int
    """Rows in runs of the same close that are longer than the paper allows for this interval."""
    longest_stale: int
    """The longest run of rows with the same close."""
    jumps: int
    """Bars that open further from the close before than the paper allows: splits, bad ticks."""
    largest_jump: float
    """The largest |open / previous close - 1|."""
    largest_jump_at: str
    cleaning: dict[str, int]
    """What the paper's cleaning would cut or split, reason -> rows (splits: times)."""
    kept: int
    """Rows that would be left for windows."""
    windows: dict[str, int]
    """Windows in each part of the split, with the settings of the report."""
    notes: tuple[str, ...]
    """What was decided when reading, and about the calendar."""
    trace: tuple[float, ...] = field(default=(), repr=False)
    """At most TRACE closes, evenly spaced in rows."""


def inspect_symbol(
    store: BarStore,
    number: int,
    calendar: str | None,
    days: np.ndarray | None,
    removed: dict[str, int],
    kept: int,
    windows: dict[str, int],
) -> SymbolReport:
    """What there is to say about symbol `number`; `removed` and `kept` are what cleaning makes of it."""
    symbol = store.symbols[number]
    lo, hi = int(store.offsets[number]), int(store.offsets[number + 1])
    index, values = store.index(number, lo, hi), np.asarray(store.values[lo:hi])
    opens, highs, lows, closes, volume = values[:, :5].T
    notes = list(store.notes.get(symbol, ()))
    gaps, interval, sessions, name = NO_GAPS, "", "", calendar or "inferred"
    moves = np.abs(opens[1:].astype(np.float64) / closes[:-1] - 1)
    jump_limit, stale_limit = np.inf, np.inf
    if hi - lo > 1:
        step = infer_interval(index)
        schedule = fit_schedule(index, calendar, interval=step, whole=True)
        gaps, interval, sessions = find_gaps(schedule, days), short(step), describe_sessions(schedule)
        notes += [f"calendar: {note}" for note in schedule.notes]
        limits = paper_limits(step)
        jump_limit, stale_limit = limits.jump or np.inf, limits.stagnant or np.inf
    runs = _run_lengths(closes)
    largest = int(moves.argmax()) if len(moves) else 0
    worst = int(gaps.spacing.argmax()) if len(gaps.at) else 0
    duplicates = [int(found[1].replace(",", "")) for note in notes if (found := _REPEATED.match(note))]
    wanted = TRACE if len(store) > 1 else 5 * TRACE
    points = np.unique(np.linspace(0, hi - lo - 1, min(wanted, hi - lo)).astype(np.int64))
    return SymbolReport(
        symbol=symbol,
        rows=hi - lo,
        first=str(index[0]),
        last=str(index[-1]),
        interval=interval,
        zone=store.zones[number] or "",
        calendar=name,
        sessions=sessions,
        closings=gaps.closings,
        gaps=len(gaps.at),
        missing=int(gaps.missing.sum()),
        largest_gap=short(pd.Timedelta(int(gaps.spacing[worst]), unit="ns")) if len(gaps.at) else "",
        largest_gap_after=str(index[gaps.at[worst]]) if len(gaps.at) else "",
        duplicates=sum(duplicates),
        bad_bars=int(((highs < np.maximum(opens, closes)) | (lows > np.minimum(opens, closes))).sum()),
        zero_volume=float((volume == 0).mean()),
        stale=int(runs[runs > stale_limit].sum()),
        longest_stale=int(runs.max()),
        jumps=int((moves > jump_limit).sum()),
        largest_jump=float(moves[largest]) if len(moves) else 0.0,
        largest_jump_at=str(index[largest + 1]) if len(moves) else "",
        cleaning=removed,
        kept=kept,
        windows=windows,
        notes=tuple(notes),
        trace=tuple(float(value) for value in closes[points]),
    )


def _run_lengths(values: np.ndarray) -> np.ndarray:
    """Lengths of the runs of equal values."""
    edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    return np.diff(edges)
