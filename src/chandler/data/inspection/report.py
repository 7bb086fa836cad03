"""What a preflight found, as facts, as JSON, and in words for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from chandler.data.datasets import REASONS
from chandler.data.notes import Finding, Note, over_symbols
from chandler.text import aligned, count, shortened

SHOWN = 20
"""Symbols that the text report lists; more than that drown what matters."""
_NOTES = 12


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
    """Rows that came twice, equal in every value, and were left out once when reading."""
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
    notes: tuple[Note, ...]
    """What was decided when reading, and about the calendar."""
    trace: tuple[float, ...] = field(default=(), repr=False)
    """At most TRACE closes, evenly spaced in rows."""


@dataclass(frozen=True)
class FoldReport:
    """One fold of a walk forward: by part, its first and last day (empty parts have none), rows and windows."""

    number: int
    spans: dict[str, tuple[str, str]]
    rows: dict[str, int]
    windows: dict[str, int]


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
    cleaned: bool
    """Whether the settings clean: windows are then counted after it, else on the rows as they are."""
    cleaning: dict[str, Any]
    """Totals of what the settings' cleaning removes; of what the paper's would, where they have none. See
    `CleaningReport.to_dict`; `windows`: how many are left in each part."""
    folds: tuple[FoldReport, ...]
    """All folds, where the split is one of a walk forward."""
    fold: int | None
    """The fold that this report is about."""
    segments: int
    """Stretches that windows do not leave, as the settings cut them."""

    @property
    def ok(self) -> bool:
        """Whether training would begin: there are windows to train on, and to validate on."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        found = asdict(self)
        for one in found["symbols"]:
            del one["trace"]
            one["notes"] = [{**note.to_dict(), "said": str(note)} for note in one["notes"]]
        return {"ok": self.ok, **found, "symbols": list(found["symbols"])}

    def to_text(self) -> str:
        """The report for a terminal of 100 columns: totals, warnings, then the symbols with most to say."""
        parts = [_head(self), _verdict(self), _folds(self), _table(self), _cleaning(self), _notes(self)]
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def trouble(one: SymbolReport) -> tuple[bool, float]:
    """Sort key: symbols without a window in some part first, then those with most to look at."""
    found = one.bad_bars + one.gaps + one.jumps + one.duplicates + one.stale
    return all(one.windows.values()), -found / max(one.rows, 1)


def totals(report: InspectReport) -> list[tuple[str, str]]:
    """What was counted over all symbols, in words, without what was not found."""
    symbols = report.symbols
    idle = [one for one in symbols if one.zero_volume > 0]
    bare = [one for one in symbols if one.zero_volume == 1]
    largest = max(symbols, key=lambda one: one.largest_jump)
    counts = (
        ("gaps in time", sum(one.gaps for one in symbols), f"{sum(one.missing for one in symbols):,} bars missing"),
        ("expected closings", sum(one.closings for one in symbols), "nights, weekends, holidays: no gaps"),
        ("repeated timestamps", sum(one.duplicates for one in symbols), "the last row stayed"),
        ("bars with high or low inside the body", sum(one.bad_bars for one in symbols), "kept as they are"),
        ("bars in long runs of the same close", sum(one.stale for one in symbols),
         f"the longest has {max(one.longest_stale for one in symbols):,}"),
        ("jumps from close to open", sum(one.jumps for one in symbols),
         f"the largest {largest.largest_jump:,.0%} at {largest.symbol} {largest.largest_jump_at[:16]}"),
        ("symbols without any volume", len(bare), "volume is 0 everywhere"),
        ("symbols with some bars of volume 0", len(idle) - len(bare),
         f"up to {_share(max([one.zero_volume for one in idle if one.zero_volume < 1], default=0))} of the bars"),
    )  # fmt: skip
    return [(what, f"{times:,} ({detail})") for what, times, detail in counts if times]


def overview(report: InspectReport) -> list[tuple[str, str]]:
    """What the report is about, in words."""
    symbols = report.symbols
    return [
        ("bars", f"{count(len(symbols), 'symbol')}, {report.rows:,} rows, "
                 f"{min(one.first for one in symbols)[:16]} to {max(one.last for one in symbols)[:16]}"),
        ("interval", f"{_tally(one.interval or '?' for one in symbols)}; times in "
                     f"{_tally(one.zone or 'local wall clock' for one in symbols)}"),
        ("calendar", f"{_tally(one.calendar for one in symbols)}; "
                     f"trades {_tally(one.sessions or '?' for one in symbols)}"),
    ]  # fmt: skip


def _head(report: InspectReport) -> list[str]:
    length = report.lookback + report.horizon + 1
    (_, bars), (_, interval), (_, calendar) = overview(report)
    lines = [bars, f"interval {interval}", f"calendar {calendar}"]
    lines.append(
        f"windows of {length} rows ({report.lookback} lookback + {report.horizon} horizon + 1), in "
        f"{report.segments:,} unbroken stretch{'' if report.segments == 1 else 'es'}, {counted(report)}:"
    )
    for name, windows in report.windows.items():
        first, last = report.split_spans.get(name, ("", ""))
        span = f"{first} to {last}, " if first else ""
        lines.append(f"  {name:<6}{windows:>11,}  ({span}{report.split_rows[name]:,} rows)")
    lines += [f"{what}: {text}" for what, text in totals(report)]
    return lines


def counted(report: InspectReport) -> str:
    """On which rows the windows of a report were counted."""
    if report.cleaned:
        return f"counted after cleaning ({report.cleaning['kept']:,} of {report.rows:,} rows)"
    return "counted without cleaning"


def _folds(report: InspectReport) -> list[str]:
    if not report.folds:
        return []
    parts = list(report.folds[0].windows)
    rows = [["fold", *(text for name in parts for text in (name, "windows"))]]
    for fold in report.folds:
        cells = [f"{fold.number}{' *' if fold.number == report.fold else ''}"]
        for name in parts:
            cells += [" to ".join(fold.spans.get(name, ("no rows",))), f"{fold.windows[name]:,}"]
        rows.append(cells)
    return ["folds of the walk forward (* is the one above):", *aligned(rows, left={0, *range(1, len(rows[0]), 2)})]


def _verdict(report: InspectReport) -> list[str]:
    lines = [f"PROBLEM: {problem}" for problem in report.problems]
    lines += [f"WARNING: {warning}" for warning in report.warnings]
    lines.append("Training would begin." if report.ok else "Training would FAIL: see the problems above.")
    return [
        piece for line in lines for piece in textwrap.wrap(line, 100, subsequent_indent="  ", break_long_words=False)
    ]


def _table(report: InspectReport) -> list[str]:
    header = ["symbol", "rows", "first", "last", "interval", "gaps", "largest", "bad", "stale", "zero vol", "jumps",
              *report.windows]  # fmt: skip
    ranked = sorted(report.symbols, key=trouble)
    shown = ranked[:SHOWN] if len(ranked) > SHOWN else report.symbols
    body = [
        [one.symbol[:20], f"{one.rows:,}", one.first[:10], one.last[:10], one.interval, f"{one.gaps:,}",
         one.largest_gap, f"{one.bad_bars:,}", f"{one.stale:,}", f"{one.zero_volume:.0%}", f"{one.jumps:,}",
         *(f"{one.windows[name]:,}" for name in report.windows)]
        for one in shown
    ]  # fmt: skip
    lines = aligned([header, *body])
    if len(shown) < len(report.symbols):
        left = len(report.symbols) - len(shown)
        lines.append(f"... and {left:,} more symbols; shown are those with most to look at.")
    return lines


def _cleaning(report: InspectReport) -> list[str]:
    kept, rows, removed = (report.cleaning[key] for key in ("kept", "rows", "removed"))
    who = "cleaning" if report.cleaned else "the paper's cleaning (data.cleaning.enabled=true)"
    if not removed:
        return [f"{who} {'leaves' if report.cleaned else 'would leave'} all rows as they are"]
    left = ", ".join(f"{windows:,} in {name}" for name, windows in report.cleaning["windows"].items())
    verb = "keeps" if report.cleaned else "would keep"
    lines = [f"{who} {verb} {kept:,} of {rows:,} rows:"]
    for reason, found in removed.items():
        what = count(found["rows"], "row") if found["rows"] else count(found["times"], "time")
        lines.append(f"- {REASONS[reason]}: {what}, {count(found['symbols'], 'symbol')}")
    return [*lines, f"- windows {'that are left' if report.cleaned else 'then'}: {left}"]


def noted(report: InspectReport) -> list[Finding]:
    """What was noted, each once with the symbols that it is about; what matters first, then the most common."""
    return over_symbols({one.symbol: one.notes for one in report.symbols}, len(report.symbols))


def _notes(report: InspectReport) -> list[str]:
    found = noted(report)
    if not found:
        return []
    lines = ["notes from reading:", *(f"- {one}" for one in found[:_NOTES])]
    if len(found) > _NOTES:
        lines.append(f"... and {len(found) - _NOTES:,} more kinds of notes.")
    return lines


def _tally(values: Iterable[Any]) -> str:
    counts = pd.Series(list(values)).value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return shortened([f"{value} ({count(int(times), 'symbol')})" for value, times in counts.items()], 3)


def _share(value: float) -> str:
    """`24%`; what rounds to nothing is still something."""
    return "1%" if 0 < value < 0.01 else f"{value:.0%}"
