"""The page of `chandler inspect`: no network, no library, readable for 1 and 500 symbols."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from chandler.data.datasets.cleaning import REASONS
from chandler.data.inspection import SymbolReport
from chandler.data.inspection.report import (
    FoldReport,
    InspectReport,
    counted,
    grouped_notes,
    overview,
    totals,
    trouble,
    whose,
)
from chandler.reports.render import Pairs, render

_NAMES = {"train": "training", "val": "validation", "test": "test"}
_NOTES = 30
_VARIED = {"interval": "interval", "sessions": "trades", "calendar": "calendar", "zone": "zone"}
"""Fields of a symbol that get a column where they differ, else are said once: their headings."""


@dataclass(frozen=True)
class Card:
    """A number to be seen from afar; `empty`: there should be some, and there are none."""

    value: str
    label: str
    empty: bool = False


@dataclass(frozen=True)
class Part:
    """A part of the split as a stretch of a bar; widths in %, `before`: of what no part holds."""

    kind: str
    name: str
    first: date
    last: date
    rows: int
    windows: int
    before: str
    width: str


@dataclass(frozen=True)
class Fold:
    """A fold of a walk forward: days and windows of each part."""

    number: int
    chosen: bool
    parts: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Price:
    """The close of the only symbol, as points of a line of 1000 x 220."""

    points: str
    shown: int
    low: str
    high: str
    first: str
    last: str


@dataclass(frozen=True)
class InspectionPage:
    """What the page says. Symbols with most to look at come first."""

    name: str
    source: str
    ok: bool
    lines: Pairs
    cards: Sequence[Card]
    lookback: int
    horizon: int
    rows: int
    segments: int
    counted: str
    parts: Sequence[Part]
    folds: Sequence[Fold]
    fold_parts: Sequence[str]
    price: Price | None
    found: Pairs
    cleaned: bool
    cleaning: Mapping[str, Any]
    removed: Sequence[Mapping[str, Any]]
    windows: Sequence[str]
    heads: Sequence[str]
    varied: Sequence[str]
    symbols: Sequence[SymbolReport]
    sparks: Sequence[str]
    """Of each symbol, the points of a line of 84 x 24."""
    notes: Pairs
    more_notes: int


def inspection_html(report: InspectReport, source: str = "") -> str:
    """The report as one page that needs nothing else. `source` says where the bars come from."""
    return render("inspection", inspection_page(report, source))


def inspection_page(report: InspectReport, source: str = "") -> InspectionPage:
    """What the page will say."""
    symbols, notes = sorted(report.symbols, key=trouble), grouped_notes(report)
    varied = [field for field in _VARIED if len({getattr(one, field) for one in symbols}) > 1]
    heads = ["symbol", "close", "rows", "first", "last", *(f"{name} windows" for name in report.windows), "gaps", "missing",
             "longest gap", "closings", "bad bars", "repeated", "stale", "volume 0", "jumps", "kept if cleaned",
             *(_VARIED[field] for field in varied)]  # fmt: skip
    return InspectionPage(
        name="Bars before training",
        source=source,
        ok=report.ok,
        lines=[*(("Problem", one) for one in report.problems), *(("Warning", one) for one in report.warnings)],
        cards=_cards(report),
        lookback=report.lookback,
        horizon=report.horizon,
        rows=report.rows,
        segments=report.segments,
        counted=counted(report),
        parts=_parts(report),
        folds=[_fold(fold, fold.number == report.fold) for fold in report.folds],
        fold_parts=[_NAMES[name] for name in report.folds[0].windows] if report.folds else [],
        price=_price(symbols[0]) if len(symbols) == 1 else None,
        found=[*overview(report), *totals(report)],
        cleaned=report.cleaned,
        cleaning=report.cleaning,
        removed=[found | {"reason": REASONS[reason]} for reason, found in report.cleaning["removed"].items()],
        windows=list(report.windows),
        heads=heads,
        varied=varied,
        symbols=symbols,
        sparks=[_points(one.trace[:: max(1, len(one.trace) // 84)], 84, 24) for one in symbols],
        notes=[(note, whose(about, report)) for note, about in notes[:_NOTES]],
        more_notes=max(0, len(notes) - _NOTES),
    )


def _cards(report: InspectReport) -> list[Card]:
    symbols = report.symbols
    intervals = sorted({one.interval for one in symbols if one.interval})
    return [
        Card(f"{len(symbols):,}", "symbols" if len(symbols) > 1 else f"symbol: {symbols[0].symbol}"),
        Card(f"{report.rows:,}", "rows"),
        Card(", ".join(intervals[:2]) + (" ..." if len(intervals) > 2 else ""), "interval"),
        Card(min(one.first for one in symbols)[:10], f"to {max(one.last for one in symbols)[:10]}"),
        *(Card(f"{count:,}", f"{_NAMES[name]} windows", empty=not count) for name, count in report.windows.items()),
    ]


def _parts(report: InspectReport) -> list[Part]:
    spans = {name: tuple(map(date.fromisoformat, span)) for name, span in report.split_spans.items()}
    if not spans:
        return []
    at, end = min(span[0] for span in spans.values()), max(span[1] for span in spans.values())
    days, parts = max((end - at).days, 1), []
    for name, (first, last) in spans.items():
        before = f"{(first - at).days / days:.3%}" if first > at else ""
        width = f"{max((last - max(first, at)).days, 0) / days:.3%}"
        rows, windows = report.split_rows[name], report.windows[name]
        parts.append(Part(name, _NAMES[name], first, last, rows, windows, before, width))
        at = max(at, last)
    return parts


def _fold(fold: FoldReport, chosen: bool) -> Fold:
    parts = [(" to ".join(fold.spans.get(name, ("no rows",))), count) for name, count in fold.windows.items()]
    return Fold(fold.number, chosen, parts)


def _price(one: SymbolReport) -> Price:
    low, high = (f"{value:,.6g}" for value in (min(one.trace), max(one.trace)))
    return Price(_points(one.trace, 1000, 220), len(one.trace), low, high, one.first[:16], one.last[:16])


def _points(trace: Sequence[float], width: float, height: float) -> str:
    logs = [math.log(value) for value in trace]  # equal steps are equal percentages
    low, spread = min(logs), max(logs) - min(logs) or 1.0
    step = width / max(len(logs) - 1, 1)
    return " ".join(
        f"{at * step:.1f},{height - 2 - (value - low) / spread * (height - 4):.1f}" for at, value in enumerate(logs)
    )
