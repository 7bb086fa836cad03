"""The page of `chandler inspect`: no network, no library, readable for 1 and 500 symbols."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from chandler.data.datasets import REASONS
from chandler.data.inspection import (
    InspectReport,
    SymbolReport,
    counted,
    noted,
    overview,
    totals,
    trouble,
)
from chandler.reports.render import Pairs, render

NOTES = 30
VARIED = {"interval": "interval", "sessions": "trades", "calendar": "calendar", "zone": "zone"}
"""Fields of a symbol that get a column where they differ, else are said once: their headings."""


@dataclass(frozen=True)
class Part:
    """A part of the split as a stretch of a bar; widths in %, `before`: of what no part holds."""

    kind: str
    first: date
    last: date
    before: str
    width: str


@dataclass(frozen=True)
class InspectionPage:
    """What the page says: the report, and what is drawn of it."""

    name: str
    source: str
    report: InspectReport
    lines: Pairs
    """Problems and warnings."""
    counted: str
    intervals: Sequence[str]
    first: str
    last: str
    parts: Sequence[Part]
    found: Pairs
    reasons: Mapping[str, str]
    """Of the paper's cleaning, in words."""
    varied: Mapping[str, str]
    symbols: Sequence[SymbolReport]
    """Those with most to look at first."""
    price: str
    """Of the only symbol, the points of a line of 1000 x 220; empty: there are more."""
    sparks: Sequence[str]
    """Of each symbol, the points of a line of 84 x 24."""
    notes: Sequence[str]
    more_notes: int


def inspection_html(report: InspectReport, source: str = "") -> str:
    """The report as one page that needs nothing else. `source` says where the bars come from."""
    return render("inspection", inspection_page(report, source))


def inspection_page(report: InspectReport, source: str = "") -> InspectionPage:
    """What the page will say."""
    symbols, notes = sorted(report.symbols, key=trouble), noted(report)
    return InspectionPage(
        name="Bars before training",
        source=source,
        report=report,
        lines=[*(("Problem", one) for one in report.problems), *(("Warning", one) for one in report.warnings)],
        counted=counted(report),
        intervals=sorted({one.interval for one in symbols if one.interval}),
        first=min(one.first for one in symbols)[:10],
        last=max(one.last for one in symbols)[:10],
        parts=_parts(report),
        found=[*overview(report), *totals(report)],
        reasons=REASONS,
        varied={key: head for key, head in VARIED.items() if len({getattr(one, key) for one in symbols}) > 1},
        symbols=symbols,
        price=_points(symbols[0].trace, 1000, 220) if len(symbols) == 1 else "",
        sparks=[_points(one.trace[:: max(1, len(one.trace) // 84)], 84, 24) for one in symbols],
        notes=[str(one) for one in notes[:NOTES]],
        more_notes=max(0, len(notes) - NOTES),
    )


def _parts(report: InspectReport) -> list[Part]:
    spans = {name: tuple(map(date.fromisoformat, span)) for name, span in report.split_spans.items()}
    if not spans:
        return []
    at, end = min(span[0] for span in spans.values()), max(span[1] for span in spans.values())
    days, parts = max((end - at).days, 1), []
    for name, (first, last) in spans.items():
        before = f"{(first - at).days / days:.3%}" if first > at else ""
        parts.append(Part(name, first, last, before, f"{max((last - max(first, at)).days, 0) / days:.3%}"))
        at = max(at, last)
    return parts


def _points(trace: Sequence[float], width: float, height: float) -> str:
    logs = [math.log(value) for value in trace]  # equal steps are equal percentages
    low, spread = min(logs), max(logs) - min(logs) or 1.0
    step = width / max(len(logs) - 1, 1)
    return " ".join(
        f"{at * step:.1f},{height - 2 - (value - low) / spread * (height - 4):.1f}" for at, value in enumerate(logs)
    )
