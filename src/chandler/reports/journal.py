"""The page of a journal: what forecasts that were made before their bars came to, what waits, and what was told in scoring."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.journal import ENOUGH, LEVELS, PAGE, Course, Journal, Record, RecordRow, Waiting
from chandler.measures import PIT_BINS, Comparison
from chandler.reports.charts import Figure, Line, curve, figure, plain, title
from chandler.reports.render import Chart, Pairs, change, percent, render, sentence, sentences, shares, terminal_text
from chandler.reports.score_charts import against, pit_histogram, style
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
    *(f"{level:.0%} band" for level in LEVELS),
    "CRPS vs walk",
    "verdict",
    "error vs last",
)
PIT_HEAD = ("model", "bars came", "origins", "lowest", *map(str, range(2, PIT_BINS)), "highest")


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
    """None without a scored forecast."""
    coverage: Sequence[tuple[float, Chart]]
    """A chart for each level."""
    levels: Sequence[float]
    pit: Sequence[tuple[RecordRow, Chart | None]]
    """Of every maker, None where there are too few origins; of those made after the fact where there are no others."""
    enough: int
    """Origins that it takes."""
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
        lines=sentences("journal", "lines", record, shlex.quote(str(folder))),
        told=told,
        difference=Chart(difference(record), "Cumulative CRPS against the bootstrapped walk over time")
        if drawn
        else None,
        coverage=[
            (level, Chart(coverage(record, level), f"Share of the closes inside the {level:.0%} band over time"))
            for level in LEVELS
            if drawn
        ],
        levels=LEVELS,
        pit=_pits(record),
        enough=ENOUGH,
        waiting=waiting[:LISTED],
        more_waiting=max(0, len(waiting) - LISTED),
        due=due[:LISTED],
        more_due=max(0, len(due) - LISTED),
    )


def _pits(record: Record) -> list[tuple[RecordRow, Chart | None]]:
    """In the colours of the makers' lines."""
    whole = [row for row in record.rows or record.late if row.age == "all"]
    return [
        (row, Chart(pit_histogram(row.pit.shares, style(number).color), f"PIT histogram of {row.maker.name}"))
        if row.pit.enough
        else (row, None)
        for number, row in enumerate(whole)
    ]


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
            parts += ["", *([about] if about else []), *aligned([HEAD, *map(_cells, rows)], left=(0, 1, 8))]
            parts += sorted({f"{row.maker.name}: {row.maker.details}" for row in rows})
            parts += ["", *_pit_lines(rows)]
    return "\n".join(
        [*parts, "", terminal_text("", sentences("journal", "lines", record, shlex.quote(str(folder)))).strip()]
    )


def headline(record: Record) -> str:
    """What the journal shows so far, and no more."""
    return sentence("journal", "headline", record, [row for row in record.rows if row.age == "all"])


def _cells(row: RecordRow) -> tuple[str, ...]:
    return (
        row.maker.name, row.age, f"{row.forecasts:,}", f"{row.origins:,} ({row.independent:,})",
        *(_covered(row, level) for level in LEVELS),
        _against(row.crps), row.crps.verdict, _against(row.mae),
    )  # fmt: skip


def _covered(row: RecordRow, level: float) -> str:
    found = row.coverage[level]
    if not np.isfinite(found.mean):
        return "-"
    notes = [f"{percent(found.low)} to {percent(found.high)}"] * bool(np.isfinite(found.low))
    notes += [count(row.covered(level), "origin")] * (row.covered(level) < row.origins)
    return percent(found.mean, 1) + (f" ({', '.join(notes)})" if notes else "")


def _pit_lines(rows: Sequence[RecordRow]) -> list[str]:
    """A table, "-" where there are too few origins; a sentence where that is everywhere."""
    if not any(row.pit.enough for row in rows):
        return [f"PIT: too few origins; it takes {ENOUGH} that share no time."]
    about = "PIT, in % of the closes: how many lay in each tenth of the forecast distribution; 10 in each is right."
    table = [(*_cells(row)[:2], f"{row.pit.origins:,} ({row.pit.independent:,})",
              *(f"{share * 100:.1f}" if row.pit.enough else "-" for share in row.pit.shares)) for row in rows]  # fmt: skip
    return [about, *aligned([PIT_HEAD, *table], left=(0, 1))]


def _against(c: Comparison) -> str:
    middle, low, high = shares(c)
    span = f" ({change(low)} to {change(high)})" if np.isfinite(low) else ""
    return f"{change(middle)}{span}"


def difference(record: Record) -> Figure:
    """Cumulative CRPS of each maker minus that of the bootstrapped walk, in % of the last close; falling is better."""
    traces = []
    for number, course in enumerate(record.courses):
        days = [str(moment) for moment in course.origins]
        name = _named(course)
        dots = 5 if len(days) <= DOTTED else 0
        traces.append(curve(days, course.crps, style(number), name, hover=f"{name}: %{{y:+.3g}}%<br>%{{x}}", dots=dots))
    return against(traces, {"type": "date"} | title("origin"), showlegend=len(traces) > 1)


def coverage(record: Record, level: float) -> Figure:
    """Share of the closes inside the band of a level of each maker up to each origin, beside what the band says."""
    days = [str(moment) for course in record.courses for moment in course.origins]
    traces = [curve([min(days), max(days)], [level * 100] * 2, Line("--ink-soft", 1.2, "dash"), showlegend=False)]
    for number, course in enumerate(record.courses):
        own, shares = [str(moment) for moment in course.origins], course.coverage[level] * 100
        name, dots = _named(course), 5 if len(own) <= DOTTED else 0
        if np.isfinite(shares).any():
            traces.append(curve(own, shares, style(number), name, hover=f"{name}: %{{y:.1f}}%<br>%{{x}}", dots=dots))
    several = len(record.courses) > 1
    return figure(traces, x={"type": "date"} | title("origin"), y={"ticksuffix": "%"}, showlegend=several)


def _named(course: Course) -> str:
    """As plotly takes it."""
    return plain(f"{course.maker.name}, {count(course.maker.horizon, 'bar')}")
