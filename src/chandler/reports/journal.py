"""The page of a journal: what forecasts that were made before their bars came to, what waits, and what was told in scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.journal import LEVELS, PAGE, Course, Journal, Record, RecordRow, Waiting
from chandler.measures import Comparison, Interval
from chandler.reports.charts import Figure, Line, curve, figure, title
from chandler.reports.render import Chart, Pairs, change, percent, render, sentence, sentences, terminal_text
from chandler.reports.score_charts import style
from chandler.text import aligned, count

LISTED = 30
"""Rows of a list of forecasts that wait, at most."""
DOTTED = 60
"""Origins up to which a line shows each."""
HEAD = (
    "model",
    "bars came",
    "forecasts",
    "origins",
    "80% band",
    "90% band",
    "CRPS vs walk",
    "verdict",
    "error vs last",
)


@dataclass(frozen=True)
class Group:
    """Forecasts of one symbol by one model that wait."""

    symbol: str
    model: str
    forecasts: int
    bars: int
    next: pd.Timestamp
    until: pd.Timestamp


@dataclass(frozen=True)
class JournalPage:
    """What the page says."""

    name: str
    record: Record
    headline: str
    lines: Pairs
    told: Pairs
    """What the last scoring said; empty where nothing was scored now."""
    difference: Chart | None
    coverage: Chart | None
    """None without a scored forecast."""
    levels: Sequence[float]
    waiting: Sequence[Group]
    more_waiting: int
    due: Sequence[Group]
    more_due: int
    """The first ones of each, and how many more there are."""


def write_journal_page(journal: Journal, record: Record | None = None, told: Pairs = ()) -> Path:
    """Write journal.html into the folder of a journal, whole or not at all; returns its path.

    Args:
        record: of this journal; None: as of now.
        told: (about, sentence) pairs of a scoring (`Told.lines`), for the page to show.

    Raises:
        ConfigError: nothing was kept there, or the page cannot be written.
        DataError: files of the journal that cannot be read.
    """
    path = journal.folder / PAGE
    page = journal_page(record or journal.record(), journal.folder, told)
    try:
        write_text(path, render("journal", page))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def journal_page(record: Record, folder: Path, told: Pairs = ()) -> JournalPage:
    """What the page will say."""
    drawn = bool(record.courses)
    waiting, due = _grouped(record.waiting), _grouped(record.due)
    return JournalPage(
        name=folder.resolve().name,
        record=record,
        headline=headline(record),
        lines=sentences("journal", "lines", record, str(folder)),
        told=told,
        difference=Chart(difference(record), "Cumulative CRPS against the bootstrapped walk over time")
        if drawn
        else None,
        coverage=Chart(coverage(record), "Share of the closes inside the bands over time") if drawn else None,
        levels=LEVELS,
        waiting=waiting[:LISTED],
        more_waiting=max(0, len(waiting) - LISTED),
        due=due[:LISTED],
        more_due=max(0, len(due) - LISTED),
    )


def _grouped(waiting: Sequence[Waiting]) -> list[Group]:
    """By symbol and model, in the order of the next bars."""
    pairs: dict[tuple[str, str], list[Waiting]] = {}
    for one in waiting:
        pairs.setdefault((one.symbol, one.model), []).append(one)
    return [
        Group(*pair, len(own), sum(one.left for one in own), own[0].next, max(own, key=lambda one: one.end).until)
        for pair, own in pairs.items()
    ]


def journal_text(record: Record, folder: Path) -> str:
    """The record for a terminal: the headline, a table, and what there is to know of it."""
    parts = [headline(record)]
    for about, rows in (("", record.rows), ("Made after the fact:", record.late)):
        if rows:
            parts += ["", *([about] if about else []), *aligned([HEAD, *map(_cells, rows)], left=(0, 1, 7))]
            parts += sorted({f"{row.maker.name}: {row.maker.details}" for row in rows})
    return "\n".join([*parts, "", terminal_text("", sentences("journal", "lines", record, str(folder))).strip()])


def headline(record: Record) -> str:
    """What the journal shows so far, and no more."""
    return sentence("journal", "headline", record, [row for row in record.rows if row.age == "all"])


def _cells(row: RecordRow) -> tuple[str, ...]:
    return (
        row.maker.name, row.age, f"{row.forecasts:,}", f"{row.origins:,} ({row.independent:,})",
        *(_covered(row.coverage[level]) for level in LEVELS),
        _against(row.crps), row.crps.verdict, _against(row.mae),
    )  # fmt: skip


def _covered(found: Interval) -> str:
    span = f" ({percent(found.low)} to {percent(found.high)})" if np.isfinite(found.low) else ""
    return f"{percent(found.mean, 1)}{span}"


def _against(c: Comparison) -> str:
    if not c.mean_b:
        return "-"
    scale = c.mean_b / 100
    span = f" ({change(c.low / scale)} to {change(c.high / scale)})" if np.isfinite(c.low) else ""
    return f"{change(c.difference / scale)}{span}"


def difference(record: Record) -> Figure:
    """Cumulative CRPS of each maker minus that of the bootstrapped walk, in % of the last close; falling is better."""
    traces = []
    for number, course in enumerate(record.courses):
        days = [str(moment) for moment in course.origins]
        name = _named(course)
        dots = 5 if len(days) <= DOTTED else 0
        traces.append(curve(days, course.crps, style(number), name, hover=f"{name}: %{{y:+.3g}}%<br>%{{x}}", dots=dots))
    zero = {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1.4}
    return figure(
        traces,
        x={"type": "date"} | title("origin"),
        y={"ticksuffix": "%", "rangemode": "tozero"} | zero,
        showlegend=len(traces) > 1,
    )


def coverage(record: Record) -> Figure:
    """Share of the closes inside the bands of each maker up to each origin, beside what the bands say."""
    days = [str(moment) for course in record.courses for moment in course.origins]
    traces = [
        curve([min(days), max(days)], [level * 100] * 2, Line("--ink-soft", 1.2, "dash"), showlegend=False)
        for level in LEVELS
    ]
    for number, course in enumerate(record.courses):
        for level, dash in zip(LEVELS, ("dot", "solid"), strict=True):
            line = Line(style(number).color, 2.0, dash)
            name = f"{level:.0%} band" + (f", {_named(course)}" if len(record.courses) > 1 else "")
            own = [str(moment) for moment in course.origins]
            dots = 5 if len(own) <= DOTTED else 0
            shares = course.coverage[level] * 100
            traces.append(curve(own, shares, line, name, hover=f"{name}: %{{y:.1f}}%<br>%{{x}}", dots=dots))
    return figure(traces, x={"type": "date"} | title("origin"), y={"ticksuffix": "%"})


def _named(course: Course) -> str:
    """As plotly takes it, which reads tags in names."""
    return escape(f"{course.maker.name}, {count(course.maker.horizon, 'bar')}", quote=False)
