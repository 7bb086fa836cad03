"""The preflight report: what a store holds, what looks wrong, how many windows it gives. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from chandler.data.calendars import infer_interval
from chandler.data.splits import SplitSettings, split_ranges
from chandler.data.store import BarStore
from chandler.data.windows import Windows

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
    gaps: int
    """Spacings longer than the interval that are no usual break of the week, see `_gaps`."""
    largest_gap: str
    """The longest of them; empty without gaps."""
    bad_bars: int
    """Bars with high < max(open, close) or low > min(open, close)."""
    zero_volume: float
    """Share of rows with volume 0, from 0 to 1."""
    jumps: int
    """Bars that open more than 30% away from the close before: splits, bad ticks."""
    windows: dict[str, int]
    """Windows in each part of the split."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class InspectReport:
    """What `inspect_store` found: `symbols` in store order, totals over all of them, the settings used."""

    symbols: tuple[SymbolReport, ...]
    lookback: int
    horizon: int
    rows: int
    windows: dict[str, int]
    split_rows: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return {
            **asdict(self),
            "symbols": [{**asdict(one), "notes": list(one.notes)} for one in self.symbols],
        }

    def to_text(self) -> str:
        """The report for a terminal of 100 columns: totals, warnings, then the symbols with most to say."""
        return "\n".join([*self._head(), "", *self._table(), *self._note_lines()]) + "\n"

    def _head(self) -> list[str]:
        single = len(self.symbols) == 1
        length = self.lookback + self.horizon + 1
        intervals = _tally(report.interval or "?" for report in self.symbols)
        zones = _tally(report.zone or "local wall clock" for report in self.symbols)
        lines = [
            f"{len(self.symbols):,} symbol{'' if single else 's'}, {self.rows:,} rows, "
            f"{min(one.first for one in self.symbols)} to {max(one.last for one in self.symbols)}",
            f"interval {intervals}; times in {zones}",
            f"windows of {length} rows ({self.lookback} lookback + {self.horizon} horizon + 1): "
            + ", ".join(f"{name} {count:,}" for name, count in self.windows.items()),
        ]
        for name, count in self.windows.items():
            if count == 0:
                rows = self.split_rows[name]
                lines.append(f"WARNING: no window in {name}: no symbol has enough of its {rows:,} rows.")
        for name in self.windows if not single else ():
            short = sum(report.windows[name] == 0 for report in self.symbols)
            if short and self.windows[name]:
                lines.append(f"symbols without a window in {name}: {short:,}")
        for what, value in (
            ("gaps in time", sum(report.gaps for report in self.symbols)),
            ("bars with high or low inside the body", sum(report.bad_bars for report in self.symbols)),
            ("jumps over 30% from close to open", sum(report.jumps for report in self.symbols)),
        ):
            if value:
                lines.append(f"{what}: {value:,}")
        return lines

    def _table(self) -> list[str]:
        names = list(self.windows)
        header = [
            "symbol",
            "rows",
            "first",
            "last",
            "interval",
            "gaps",
            "largest",
            "bad",
            "zero vol",
            "jumps",
            *names,
        ]
        # Most interesting first: no window in some part, then most trouble; among equals the store's order.
        ranked = sorted(
            self.symbols,
            key=lambda one: (
                all(one.windows.values()),
                -(one.bad_bars + one.gaps + one.jumps) / max(one.rows, 1),
            ),
        )
        shown = ranked[:SHOWN] if len(ranked) > SHOWN else self.symbols
        body = [
            [one.symbol[:24], f"{one.rows:,}", one.first[:10], one.last[:10], one.interval, f"{one.gaps:,}",
             one.largest_gap, f"{one.bad_bars:,}", f"{one.zero_volume:.0%}", f"{one.jumps:,}",
             *(f"{one.windows[name]:,}" for name in names)]
            for one in shown
        ]  # fmt: skip
        lines = _aligned([header, *body], left={0})
        if len(shown) < len(self.symbols):
            left = len(self.symbols) - len(shown)
            lines.append(f"... and {left:,} more symbols; shown are those with most to look at.")
        return lines

    def _note_lines(self) -> list[str]:
        told: dict[str, list[str]] = {}
        for one in self.symbols:
            for note in one.notes:
                told.setdefault(note, []).append(one.symbol)
        if not told:
            return []
        ordered = sorted(told.items(), key=lambda item: -len(item[1]))
        lines = ["", "notes from reading:"]
        for note, symbols in ordered[:_NOTES]:
            whose = "" if len(symbols) == len(self.symbols) else f"{', '.join(symbols[:3])}"
            more = f" and {len(symbols) - 3:,} more" if whose and len(symbols) > 3 else ""
            lines.append(f"- {note}" + (f" ({whose}{more})" if whose else ""))
        if len(ordered) > _NOTES:
            lines.append(f"... and {len(ordered) - _NOTES:,} more kinds of notes.")
        return lines


def inspect_store(store: BarStore, *, lookback: int, horizon: int, split: SplitSettings) -> InspectReport:
    """Look at every symbol of a store, and count the windows of lookback + horizon + 1 rows in each part."""
    ranges = split_ranges(store, split)
    windows = {name: Windows(store, part, lookback, horizon) for name, part in ranges.items()}
    reports = []
    for number, symbol in enumerate(store.symbols):
        lo, hi = int(store.offsets[number]), int(store.offsets[number + 1])
        index, values = store.index(number, lo, hi), np.asarray(store.values[lo:hi])
        gaps, largest = _gaps(index)
        opens, highs, lows, closes, volume = values[:, :5].T
        bad = (highs < np.maximum(opens, closes)) | (lows > np.minimum(opens, closes))
        reports.append(
            SymbolReport(
                symbol=symbol,
                rows=hi - lo,
                first=str(index[0]),
                last=str(index[-1]),
                interval=_short(infer_interval(index)) if hi - lo > 1 else "",
                zone=store.zones[number] or "",
                gaps=gaps,
                largest_gap=_short(largest) if gaps else "",
                bad_bars=int(bad.sum()),
                zero_volume=float((volume == 0).mean()),
                jumps=int((np.abs(opens[1:] / closes[:-1] - 1) > 0.3).sum()),
                windows={name: int(part.counts[number]) for name, part in windows.items()},
                notes=tuple(store.notes.get(symbol, ())),
            )
        )
    return InspectReport(
        symbols=tuple(reports),
        lookback=lookback,
        horizon=horizon,
        rows=store.rows,
        windows={name: len(part) for name, part in windows.items()},
        split_rows={name: int((part[:, 1] - part[:, 0]).sum()) for name, part in ranges.items()},
    )


def _gaps(index: pd.DatetimeIndex) -> tuple[int, pd.Timedelta]:
    """How many spacings are gaps, and the longest one.

    A spacing longer than 1.5 intervals is usual, and no gap, if one of the same hours begins on the same
    weekday in at least a fifth of the weeks: nights, weekends, lunch. Daily bars without weekends may jump up
    to 5 days: holidays.
    """
    none = (0, pd.Timedelta(0))
    if len(index) < 3:
        return none
    wall = index.tz_localize(None)
    step = infer_interval(index)
    spacing = np.diff(wall.asi8)
    long = np.flatnonzero(spacing > 1.5 * step.value)
    if not len(long):
        return none
    daily = step >= pd.Timedelta(hours=23)
    if daily:
        has_weekend = np.isin(wall.day_of_week, (5, 6)).mean() > 0.1
        allowed = 1.5 * step.value if has_weekend else max(5.5 * pd.Timedelta(days=1).value, 1.5 * step.value)
        found = spacing[long][spacing[long] > allowed]
    else:
        days = len(np.unique(wall.asi8 // 86_400_000_000_000))
        length = spacing[long] // 3_600_000_000_000
        kind = pd.MultiIndex.from_arrays([np.asarray(wall.day_of_week)[long], length])
        codes, _ = pd.factorize(kind)
        usual = np.bincount(codes)[codes] >= max(2, 0.2 * days / 7)
        found = spacing[long][~usual]
    return (len(found), pd.Timedelta(int(found.max()), unit="ns")) if len(found) else none


def _short(span: pd.Timedelta) -> str:
    """`1d`, `5m`, `2d 3h`: the two largest units."""
    parts = span.components
    units = [(getattr(parts, name), name[0]) for name in ("days", "hours", "minutes", "seconds")]
    return " ".join(f"{count}{unit}" for count, unit in units if count)[:12] or str(span)


def _tally(values: Any) -> str:
    counts = pd.Series(list(values)).value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    shown = ", ".join(f"{value} ({count:,} symbols)" for value, count in counts.head(4).items())
    return shown + (f" and {len(counts) - 4} more" if len(counts) > 4 else "")


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
