"""The preflight report: what a store holds, what looks wrong, how many windows it gives. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from chandler.data.calendars import infer_interval
from chandler.data.cleaning import CleaningReport, CleaningSettings, clean_store, paper_limits
from chandler.data.gaps import NO_GAPS, Gaps, common_days, describe_sessions, find_gaps
from chandler.data.schedule import fit_schedule
from chandler.data.sessions import resolve
from chandler.data.splits import CUTOFF, SplitSettings, before_cutoff, split_ranges
from chandler.data.store import BarStore
from chandler.data.windows import Windows
from chandler.errors import DataError

TRACE = 120
"""Points of the little price charts; a large one, where there is one symbol, has five times as many."""
_REPEATED = re.compile(r"(\d[\d,]*).*repeated a timestamp")


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


@dataclass(frozen=True)
class InspectReport:
    """What `inspect_store` found: `symbols` in store order, totals over all of them, the settings used."""

    symbols: tuple[SymbolReport, ...]
    lookback: int
    horizon: int
    rows: int
    windows: dict[str, int]
    split_rows: dict[str, int]
    split_spans: dict[str, tuple[str, str]]
    """Part -> its first and last day over all symbols; empty parts are not in it."""
    problems: tuple[str, ...]
    """Why training would fail; empty: it would not."""
    warnings: tuple[str, ...]
    """What to know before results are believed."""
    cleaning: dict[str, Any]
    """Totals of what the paper's cleaning would remove, see `CleaningReport.to_dict`."""
    segments: int
    """Stretches that windows do not leave, as the settings cut them."""

    @property
    def ok(self) -> bool:
        """Whether training would begin: every part of the split has a window."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        found = asdict(self)
        for one in found["symbols"]:
            del one["trace"]
            one["notes"] = list(one["notes"])
        return {"ok": self.ok, **found, "symbols": list(found["symbols"])}

    def to_text(self) -> str:
        """The report for a terminal of 100 columns: totals, warnings, then the symbols with most to say."""
        from chandler.data.quality_text import report_text

        return report_text(self)

    def to_html(self, title: str = "") -> str:
        """The report as one page that needs nothing else."""
        from chandler.data.quality_html import report_html

        return report_html(self, title)


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

    `cleaning` and `max_gap` are those of a run: its windows are counted. What the paper's rules would remove is
    told in any case. Raises DataError for an unknown calendar.
    """
    calendar = None if calendar is None else resolve(calendar)
    used = store
    if (cleaning is not None and cleaning.enabled) or max_gap is not None:
        used, _ = clean_store(store, cleaning, max_gap=max_gap, calendar=calendar)
    ranges = split_ranges(used, split)
    windows = {name: Windows(used, part, lookback, horizon) for name, part in ranges.items()}
    paper, would = clean_store(store, CleaningSettings(enabled=True))
    removed = _by_symbol(would)
    kept = np.bincount(paper.owners, paper.segments[:, 1] - paper.segments[:, 0], minlength=len(store))
    days = common_days(store)
    symbols = tuple(
        _symbol(store, number, calendar, days, removed.get(symbol, {}), int(kept[number]),
                {name: int(part.counts[number]) for name, part in windows.items()})
        for number, symbol in enumerate(store.symbols)
    )  # fmt: skip
    return InspectReport(
        symbols=symbols,
        lookback=lookback,
        horizon=horizon,
        rows=store.rows,
        windows={name: len(part) for name, part in windows.items()},
        split_rows={name: int((part[:, 1] - part[:, 0]).sum()) for name, part in ranges.items()},
        split_spans=_spans(store, ranges),
        problems=_problems(windows),
        warnings=_warnings(store, ranges, symbols),
        cleaning=would.to_dict(),
        segments=len(used.segments),
    )


def _symbol(
    store: BarStore,
    number: int,
    calendar: str | None,
    days: np.ndarray | None,
    removed: dict[str, int],
    kept: int,
    windows: dict[str, int],
) -> SymbolReport:
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


def _by_symbol(report: CleaningReport) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in report.summary().to_dict("records"):
        found.setdefault(str(row["symbol"]), {})[str(row["reason"])] = int(row["rows"] or row["times"])
    return found


def _spans(store: BarStore, ranges: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    found = {}
    for name, part in ranges.items():
        filled = part[part[:, 1] > part[:, 0]]
        if len(filled):
            edges = store.timestamps[filled[:, 0]].min(), store.timestamps[filled[:, 1] - 1].max()
            found[name] = (str(pd.Timestamp(int(edges[0])).date()), str(pd.Timestamp(int(edges[1])).date()))
    return found


def _problems(windows: Mapping[str, Windows]) -> tuple[str, ...]:
    from chandler.data.windows import require_windows

    found = []
    for name, part in windows.items():
        try:
            require_windows(part, {"train": "training", "val": "validation"}.get(name, name))
        except DataError as error:
            found.append(str(error))
    return tuple(found)


def _warnings(store: BarStore, ranges: dict[str, np.ndarray], symbols: tuple[SymbolReport, ...]) -> tuple[str, ...]:
    found = []
    for name, (first, last) in before_cutoff(store, ranges).items():
        part = {"val": "validation", "test": "test"}[name]
        whole = "lies" if last <= CUTOFF else "begins"
        found.append(
            f"the {part} period ({first} to {last}) {whole} before the end of {CUTOFF:%B %Y}, up to which the released "
            "Kronos checkpoints were trained: they may have seen it, and scores of a finetuned one may flatter."
        )
    for name in ranges:
        short_ones = [one.symbol for one in symbols if not one.windows[name]]
        if short_ones and len(short_ones) < len(symbols):
            shown = ", ".join(short_ones[:3]) + (f" and {len(short_ones) - 3:,} more" if len(short_ones) > 3 else "")
            found.append(f"symbols without a window in {name}: {len(short_ones):,} ({shown}).")
    intervals = {one.interval for one in symbols if one.interval}
    if len(intervals) > 1:
        found.append(f"the symbols have {len(intervals)} different intervals; one model then learns them mixed.")
    gone = sum(one.rows - one.kept for one in symbols)
    if gone > 0.2 * store.rows:
        found.append(f"the paper's cleaning would leave out {gone / store.rows:.0%} of the rows: see below for why.")
    return tuple(found)


def short(span: pd.Timedelta) -> str:
    """`1d`, `5m`, `2d 3h`: the two largest units."""
    parts = span.components
    units = [(getattr(parts, name), name[0]) for name in ("days", "hours", "minutes", "seconds")]
    return " ".join([f"{count}{unit}" for count, unit in units if count][:2]) or str(span)


__all__ = ["Gaps", "InspectReport", "SymbolReport", "inspect_store"]
