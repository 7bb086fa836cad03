"""Which rows windows may use: the rules of the Kronos paper by bar interval, as segments of a store.

No row is changed or glued: rules only cut and split. What they removed is listed, symbol by symbol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from chandler.data.bars import segment_numbers
from chandler.data.calendars import fit_schedule, infer_interval
from chandler.data.store import BarStore
from chandler.text import count

COLUMNS = ("symbol", "reason", "rows", "first", "last")
REASONS = {
    "read": "split where reading left rows out (missing prices)",
    "hole": "split at a hole in time",
    "jump": "split at a jump of the price",
    "illiquid": "cut: without volume for too long",
    "stagnant": "cut: the same close for too long",
    "short": "cut: the stretch that is left is too short",
}


@dataclass(frozen=True)
class Limits:
    """What a bar interval allows. None switches a rule off."""

    min_rows: int | None = None
    """Rows that a stretch must have to be kept."""
    jump: float | None = None
    """Largest |open / previous close - 1| that is no split."""
    illiquid: int | None = None
    """Longest run of rows with volume 0 that stays."""
    stagnant: int | None = None
    """Longest run of rows with the same close that stays."""


_MINUTES = {"1m": 1, "5m": 5, "10m": 10, "15m": 15, "20m": 20, "30m": 30, "40m": 40, "60m": 60,
            "2h": 120, "4h": 240, "day": 1440, "week": 10080}  # fmt: skip
PAPER: dict[str, Limits] = {
    "1m": Limits(2048, 0.10, 15, 45),
    "5m": Limits(1024, 0.15, 3, 10),
    "10m": Limits(512, 0.15, 3, 6),
    "15m": Limits(512, 0.15, 2, 5),
    "20m": Limits(512, 0.15, 2, 5),
    "30m": Limits(512, 0.20, 2, 3),
    "40m": Limits(256, 0.20, 1, 3),
    "60m": Limits(256, 0.20, 1, 3),
    "2h": Limits(128, 0.25, 1, 3),
    "4h": Limits(128, 0.25, 1, 3),
    "day": Limits(128, 0.30, 1, 3),
    "week": Limits(16, 0.50, 0, 2),
}
"""The table of the paper (arXiv 2508.02739, appendix on pretraining data)."""


class CleaningSettings(BaseModel):
    """The paper's cleaning, off by default. Each rule: true (the limit of the bar interval), false (off), a limit."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)

    enabled: bool = False
    """Apply the rules below."""
    jump: bool | float = Field(True)
    """Split where a bar opens further from the close before than this share of it."""
    illiquid: bool | int = Field(True)
    """Cut runs of bars with volume 0 longer than this."""
    stagnant: bool | int = Field(True)
    """Cut runs of bars with the same close longer than this."""
    min_rows: bool | int = Field(True)
    """Leave out stretches of fewer bars than this."""

    def limits(self, interval: pd.Timedelta) -> Limits:
        """The limits for bars of this interval; all off where cleaning is."""
        if not self.enabled:
            return Limits()
        paper = paper_limits(interval)
        values = {}
        for name in ("min_rows", "jump", "illiquid", "stagnant"):
            own = getattr(self, name)
            values[name] = getattr(paper, name) if own is True else None if own is False else own
        return Limits(**values)


def paper_limits(interval: pd.Timedelta) -> Limits:
    """The row of the paper's table for an interval; the nearest one, by ratio, where it has none."""
    minutes = interval / pd.Timedelta(minutes=1)
    nearest = min(_MINUTES, key=lambda name: abs(math.log(_MINUTES[name] / minutes)))
    return PAPER[nearest]


def clean_rows(
    values: np.ndarray, limits: Limits, segments: np.ndarray | None = None, holes: np.ndarray | None = None
) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
    """The stretches of one symbol's rows (N, 6) that pass, and what was done: pure, vectorised.

    `segments` (G, 2): where to begin, by default all rows. `holes` (N - 1,) bool: split between row i and i + 1.
    Returns segments (H, 2) and events (reason, lo, hi): rows [lo, hi) were cut, or, with lo == hi, the rows
    were split before row lo. Splits come first, then runs inside the stretches, then the lengths that are left.
    Where no row has a volume, amount stands in for it; where no row has either, nothing is illiquid.
    """
    size = len(values)
    segments = np.array([[0, size]][:size]).reshape(-1, 2) if segments is None else segments
    events: list[tuple[str, int, int]] = []
    events += [("read", int(lo), int(lo)) for lo in segments[1:, 0]]
    if not len(segments):
        return segments, events
    number = segment_numbers(segments, size)
    keep = number >= 0
    follows = keep & _after(number[1:] == number[:-1])
    opens, closes, traded = values[:, 0], values[:, 3], values[:, 4]

    def split(reason: str, where: np.ndarray) -> None:
        at = np.flatnonzero(where & follows)
        events.extend((reason, int(row), int(row)) for row in at)
        follows[at] = False

    def cut(reason: str, member: np.ndarray, joined: np.ndarray, limit: int) -> None:
        runs = _runs(member, joined)
        gone = keep & (segment_numbers(runs[runs[:, 1] - runs[:, 0] > limit], size) >= 0)
        keep[gone] = False
        events.extend((reason, int(lo), int(hi)) for lo, hi in _runs(gone, joined))

    if holes is not None:
        split("hole", _after(holes))
    if limits.jump is not None:
        split("jump", _after(np.abs(opens[1:].astype(np.float64) / closes[:-1] - 1) > limits.jump))
    inside = keep.copy()
    if not traded.any():
        traded = values[:, 5]
    if limits.illiquid is not None and traded.any():
        cut("illiquid", inside & (traded == 0), follows, limits.illiquid)
    if limits.stagnant is not None:  # rows that are illiquid too are listed once, as illiquid
        cut("stagnant", inside, follows & _after(closes[1:] == closes[:-1]), limits.stagnant)
    found = _runs(keep, follows)
    if limits.min_rows is not None:
        short = found[:, 1] - found[:, 0] < limits.min_rows
        events += [("short", int(lo), int(hi)) for lo, hi in found[short]]
        found = found[~short]
    return found, events


def _after(pairs: np.ndarray) -> np.ndarray:
    """What holds between each row and the one before, as (N,): False for the first row."""
    return np.concatenate([[False], pairs])


def _runs(member: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """Maximal runs (R, 2) of `member` rows; two of them beside each other are in one where the second `follows`."""
    joined = follows & member & _after(member[:-1])
    first = np.flatnonzero(member & ~joined)
    last = np.flatnonzero(member & ~np.append(joined[1:], False))
    return np.stack([first, last + 1], axis=1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class CleaningReport:
    """What cleaning did to a store. `events`, a frame with COLUMNS: symbol, reason (a key of REASONS), rows
    (0 for a split), first and last: times of the rows that were cut, or of the rows on both sides of a split.
    """

    events: pd.DataFrame
    rows: int
    """Rows of the store."""
    kept: int
    """Rows that windows may use."""

    @property
    def removed(self) -> int:
        """Rows that no window uses."""
        return self.rows - self.kept

    def summary(self) -> pd.DataFrame:
        """Per symbol and reason: how often (`times`), `rows`, `first`, `last`."""
        grouped = self.events.groupby(["symbol", "reason"], sort=False)
        return grouped.agg(
            times=("rows", "size"), rows=("rows", "sum"), first=("first", "min"), last=("last", "max")
        ).reset_index()

    def to_dict(self) -> dict[str, Any]:
        """Totals in plain JSON types: rows, kept, and reason -> how often (`times`), `rows` and `symbols`."""
        removed = {
            str(reason): {"times": len(part), "rows": int(part["rows"].sum()), "symbols": part["symbol"].nunique()}
            for reason, part in self.events.groupby("reason", sort=False)
        }
        return {"rows": self.rows, "kept": self.kept, "removed": removed}

    def to_text(self, limit: int = 20) -> str:
        """A few lines: totals by reason, then the symbols that lost most."""
        lines = [f"cleaning keeps {self.kept:,} of {self.rows:,} rows"]
        for reason, part in self.events.groupby("reason", sort=False):
            what = count(int(part["rows"].sum()), "row") if part["rows"].any() else count(len(part), "split")
            lines.append(f"- {REASONS[str(reason)]}: {what}, {count(part['symbol'].nunique(), 'symbol')}")
        table = self.summary().sort_values("rows", ascending=False, kind="stable")
        for row in table.head(limit).to_dict("records"):
            symbol, reason, times, rows = row["symbol"], row["reason"], row["times"], row["rows"]
            what = f"{rows:,} rows in {count(times, 'run')}" if rows else count(times, "split")
            lines.append(f"  {symbol}: {reason}, {what}, {row['first']} to {row['last']}")
        if len(table) > limit:
            lines.append(f"  ... and {len(table) - limit:,} more")
        return "\n".join(lines)


def clean_store(
    store: BarStore,
    settings: CleaningSettings | None = None,
    *,
    max_gap: int | None = None,
    calendar: str | None = None,
) -> tuple[BarStore, CleaningReport]:
    """The same rows with the segments that pass the rules, and what was removed.

    `max_gap`: split where more than this many bars in a row are missing; which bars were to be expected says
    `calendar` (None: sessions learned from each symbol, so nights and weekends are no holes). Segments that the
    store has already are kept apart. Raises DataError for an unknown calendar.
    """
    settings = settings or CleaningSettings()
    segments, events = [], []
    for number, symbol in enumerate(store.symbols):
        lo, hi = store.span(number)
        own = store.segments_of(number)
        holes = None
        limits = Limits()
        index = store.index(number, lo, hi)
        if hi - lo > 1:
            limits = settings.limits(infer_interval(index))
            if max_gap is not None:
                holes = fit_schedule(index, calendar, whole=True).missing() > max_gap
        found, done = clean_rows(np.asarray(store.values[lo:hi]), limits, own, holes)
        segments.append(found + lo)
        if done:
            events += _listed(symbol, index, done)
    whole = np.concatenate(segments) if segments else np.empty((0, 2), np.int64)
    kept = int((whole[:, 1] - whole[:, 0]).sum())
    report = CleaningReport(pd.DataFrame(events, columns=list(COLUMNS)), store.rows, kept)
    return store.with_segments(whole), report


def _listed(symbol: str, index: pd.DatetimeIndex, events: list[tuple[str, int, int]]) -> list[Sequence[object]]:
    """The events with times; a split is told by the rows on both of its sides."""
    spans = [(lo - 1, lo) if lo == hi else (lo, hi - 1) for _, lo, hi in events]
    first, last = ([str(time) for time in index[[span[side] for span in spans]]] for side in (0, 1))
    return [
        (symbol, reason, hi - lo, begin, end) for (reason, lo, hi), begin, end in zip(events, first, last, strict=True)
    ]
