"""The preflight: looks at every symbol of a store, and counts the windows that a run would get. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from chandler.data.calendars import (
    NO_GAPS,
    NS_DAY,
    describe_sessions,
    distinct,
    find_gaps,
    fit_schedule,
    infer_interval,
    resolve_calendar,
    short,
)
from chandler.data.datasets import (
    PRETRAINING_CUTOFF,
    CleaningReport,
    CleaningSettings,
    SplitSettings,
    Windows,
    before_cutoff,
    clean_store,
    paper_limits,
    part_span,
    split_ranges,
    untrainable,
    walk_folds,
)
from chandler.data.inspection.findings import findings
from chandler.data.inspection.report import FoldReport, InspectReport, SymbolReport
from chandler.data.notes import Note
from chandler.data.store import BarStore
from chandler.text import shortened

TRACE = 120
"""Points of the little price charts; a large one, where there is one symbol, has five times as many."""
PANEL = 5
"""Symbols from which on a day without any bar counts as a holiday of all."""


def inspect_store(
    store: BarStore,
    *,
    lookback: int,
    horizon: int,
    split: SplitSettings,
    calendar: str | None = None,
    cleaning: CleaningSettings | None = None,
    max_gap: int | None = None,
) -> InspectReport:
    """Look at every symbol of a store, and count the windows of lookback + horizon + 1 rows in each part.

    `cleaning` and `max_gap` are those of a run, and windows are counted after them. Where the settings do not clean,
    what the paper's rules would remove, and how many windows they would leave, is told beside it.
    Raises DataError for an unknown calendar, and for folds that do not fit.
    """
    calendar = None if calendar is None else resolve_calendar(calendar)
    cleans = cleaning is not None and cleaning.enabled
    used, told = store, None
    if cleans or max_gap is not None:
        used, told = clean_store(store, cleaning, max_gap=max_gap, calendar=calendar)
    if told is None or not cleans:
        other, told = clean_store(store, CleaningSettings(enabled=True), max_gap=max_gap, calendar=calendar)
    else:
        other = used
    ranges = split_ranges(used, split)
    windows = {name: Windows(used, part, lookback, horizon) for name, part in ranges.items()}
    left = {name: len(Windows(other, part, lookback, horizon)) for name, part in ranges.items()}
    removed = _by_symbol(told)
    kept = np.bincount(other.owners, other.segments[:, 1] - other.segments[:, 0], minlength=len(store))
    days = _common_days(store)
    symbols = tuple(
        inspect_symbol(store, number, calendar, days, removed.get(symbol, {}), int(kept[number]),
                {name: int(part.counts[number]) for name, part in windows.items()})
        for number, symbol in enumerate(store.symbols)
    )  # fmt: skip
    folds = tuple(
        FoldReport(fold.number, _spans(used, fold.ranges), _rows(fold.ranges),
                   {name: len(Windows(used, part, lookback, horizon)) for name, part in fold.ranges.items()})
        for fold in walk_folds(used, split)
    ) if split.walk else ()  # fmt: skip
    return InspectReport(
        symbols=symbols,
        lookback=lookback,
        horizon=horizon,
        rows=store.rows,
        windows={name: len(part) for name, part in windows.items()},
        split_rows=_rows(ranges),
        split_spans=_spans(store, ranges),
        problems=tuple(untrainable(windows, split)),
        warnings=_warnings(store, ranges, symbols, folds, cleans),
        cleaned=cleans,
        cleaning={**told.to_dict(), "windows": left},
        folds=folds,
        fold=split.walk.chosen if split.walk else None,
        segments=len(used.segments),
    )


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
    lo, hi = store.span(number)
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
        notes += [Note(f"calendar: {note}") for note in schedule.notes]
        limits = paper_limits(step)
        jump_limit, stale_limit = limits.jump or np.inf, limits.stagnant or np.inf
    runs = _run_lengths(closes)
    largest = int(moves.argmax()) if len(moves) else 0
    worst = int(gaps.spacing.argmax()) if len(gaps.at) else 0
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
        duplicates=sum(note.rows for note in notes if note.kind == "repeated"),
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


def _rows(ranges: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: int((part[:, 1] - part[:, 0]).sum()) for name, part in ranges.items()}


def _by_symbol(report: CleaningReport) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in report.summary().to_dict("records"):
        found.setdefault(str(row["symbol"]), {})[str(row["reason"])] = int(row["rows"] or row["times"])
    return found


def _spans(store: BarStore, ranges: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    spans = {name: span for name, part in ranges.items() if (span := part_span(store, part))}
    return {
        name: (str(pd.Timestamp(first).date()), str(pd.Timestamp(last).date())) for name, (first, last) in spans.items()
    }


def _warnings(
    store: BarStore,
    ranges: dict[str, np.ndarray],
    symbols: tuple[SymbolReport, ...],
    folds: tuple[FoldReport, ...],
    cleans: bool,
) -> tuple[str, ...]:
    found = [str(one) for one in findings(store, cleaned=True) if one.note.kind in ("clocks", "cleaning")]
    for name, (first, last) in before_cutoff(store, ranges).items():
        part = {"val": "validation", "test": "test"}[name]
        whole = "lies" if last <= PRETRAINING_CUTOFF else "begins"
        found.append(
            f"the {part} period ({first} to {last}) {whole} before the end of {PRETRAINING_CUTOFF:%B %Y}, up to which the released "
            "Kronos checkpoints were trained: they may have seen it, and scores of a finetuned one may flatter."
        )
    for name in ranges:
        short_ones = [one.symbol for one in symbols if not one.windows[name]]
        if short_ones and len(short_ones) < len(symbols):
            found.append(f"symbols without a window in {name}: {len(short_ones):,} ({shortened(short_ones, 3)}).")
        elif short_ones and name == "test":
            found.append(
                "the test split has no window: training does without, but an evaluation of the run will find no bars left "
                "that it has not seen."
            )
    intervals = {one.interval for one in symbols if one.interval}
    if len(intervals) > 1:
        found.append(f"the symbols have {len(intervals)} different intervals; one model then learns them mixed.")
    gone = sum(one.rows - one.kept for one in symbols)
    if gone > 0.2 * store.rows:
        who = "cleaning leaves" if cleans else "the paper's cleaning would leave"
        found.append(f"{who} out {gone / store.rows:.0%} of the rows: see below for why.")
    for fold in folds:
        empty = [name for name, count in fold.windows.items() if not count]
        if empty:
            found.append(f"fold {fold.number} has no window in {' and '.join(empty)}.")
    return tuple(found)


def _common_days(store: BarStore) -> np.ndarray | None:
    """Local days since 1970 on which any symbol has a bar; None below PANEL symbols, which tell too little."""
    if len(store) < PANEL:
        return None
    found = []
    for number in range(len(store)):
        lo, hi = store.span(number)
        found.append(distinct(store.index(number, lo, hi).tz_localize(None).asi8 // NS_DAY))
    return distinct(np.concatenate(found))
