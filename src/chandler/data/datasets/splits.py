"""Cuts every symbol into training, validation and test rows, in time order and without a shared row.

Once (`split_ranges`), or again and again along time (`walk_forward`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice, pairwise
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from chandler.data.bars import moment_of
from chandler.data.calendars import distinct
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.settings import StrictModel

PARTS = ("train", "val", "test")
PRETRAINING_CUTOFF = date(2024, 6, 30)
"""The released Kronos checkpoints were trained on data up to June 2024; a test before may be known to them."""


class WalkForwardSettings(StrictModel):
    """Walk forward: `folds` splits whose tests follow each other and end with the data; one of them is taken.

    Sizes are moments of the common time line, or rows of each symbol with per="symbol".
    """

    folds: int = Field(ge=1)
    """How many."""
    fold: int | None = Field(None, ge=0)
    """Which one, from 0, the oldest; None: the last one, whose test ends with the data."""
    test: int = Field(ge=1)
    """Moments to test on, in each fold."""
    val: int = Field(ge=1)
    """Moments to validate on, before each test."""
    train: int | None = Field(None, ge=1)
    """Moments to train on, before each validation: training rolls along; None: it begins with the data and grows."""

    @model_validator(mode="after")
    def _one_of_them(self) -> WalkForwardSettings:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is not among {self.folds} folds, which count from 0")
        return self

    @property
    def chosen(self) -> int:
        """The number of the fold that is taken."""
        return self.folds - 1 if self.fold is None else self.fold


class SplitSettings(StrictModel):
    """Where training ends and validation and test begin: by fractions, by dates once `train_end` is given, or one
    fold of a walk forward with `walk`.

    Dates are the last day that belongs to a part, whole, in the local wall clock of each symbol: with
    train_end = 2023-12-31 a bar of 2023-12-31 23:59 trains and one of 2024-01-01 00:00 validates.
    """

    train: float = Field(0.9, ge=0, le=1)
    """Fraction of the time line (of the rows, with per="symbol") for training; the oldest."""
    val: float = Field(0.1, ge=0, le=1)
    """Fraction for validation, after training. What the three fractions leave over is not used."""
    test: float = Field(0.0, ge=0, le=1)
    """Fraction for test, after validation."""
    train_end: date | None = None
    """Last day of training. With it the fractions have no say."""
    val_end: date | None = None
    """Last day of validation; None: to the end of the data, and there is no test part."""
    test_end: date | None = None
    """Last day of test; None: to the end of the data."""
    walk: WalkForwardSettings | None = None
    """One fold of a walk forward. With it fractions and dates have no say."""
    purge: int = Field(0, ge=0)
    """Bars left out at the end of a part, per symbol, before the next part begins: so many that no target of the
    part reaches into the next one."""
    embargo: int = Field(0, ge=0)
    """Bars left out at the beginning of a part, per symbol, after the part before it: what they share with it
    (volatility, news) has died away. Between two parts, purge + embargo rows are used by neither."""
    per: Literal["timeline", "symbol"] = "timeline"
    """Fractions of the distinct timestamps of all symbols together, or of each symbol's own rows."""

    @model_validator(mode="after")
    def _consistent(self) -> SplitSettings:
        fields = type(self).model_fields
        ours = [name for name in ("train", "val", "test", "train_end", "val_end", "test_end")
                if getattr(self, name) != fields[name].default]  # fmt: skip
        if self.walk is not None and ours:
            raise ValueError(f"walk has sizes of its own: leave out {', '.join(ours)}")
        if self.train + self.val + self.test > 1 + 1e-9:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}: make it at most 1")
        if self.train_end is None and (self.val_end or self.test_end):
            raise ValueError("val_end and test_end need train_end: give all boundaries as dates")
        if self.test_end and not self.val_end:
            raise ValueError("test_end needs val_end: the test part begins after it")
        days = [day for day in (self.train_end, self.val_end, self.test_end) if day]
        if any(earlier >= later for earlier, later in pairwise(days)):
            raise ValueError("dates must increase: train_end < val_end < test_end")
        return self


def split_ranges(store: BarStore, settings: SplitSettings) -> dict[str, np.ndarray]:
    """Part -> (S, 2) int64, the absolute rows [lo, hi) of each symbol; empty ranges have lo == hi.

    Keys are "train", "val" and, where it is configured, "test". No row is in two parts. By date and with
    per="timeline", every row of a part is earlier than all rows of the next one, over all symbols. DataError where
    the folds of a walk forward do not fit.
    """
    if settings.walk is not None:
        return next(islice(walk_folds(store, settings), settings.walk.chosen, None)).ranges
    if settings.train_end is not None:
        edges = _by_date(store, settings)
    elif settings.per == "timeline":
        moments = distinct(np.asarray(store.timestamps))
        edges = _at_moments(store, moments, _fractions(settings, np.array(len(moments))))
    else:
        edges = store.offsets[:-1, None] + _fractions(settings, np.diff(store.offsets))
    in_time = settings.per == "timeline" or settings.train_end is not None
    parts = _parts(edges, settings.purge, settings.embargo, store if in_time else None)
    if not (settings.val_end if settings.train_end else settings.test > 0):
        del parts["test"]
    return parts


def _parts(edges: np.ndarray, purge: int, embargo: int, in_time: BarStore | None = None) -> dict[str, np.ndarray]:
    """The parts between `edges` (S, 4), a gap of `purge` rows before one and of `embargo` rows behind one where a symbol
    has rows in both. Of the store `in_time`, no part has a row after the next one begins: zones differ by hours."""
    ranges = [np.ascontiguousarray(edges[:, [part, part + 1]]) for part in range(3)]
    for earlier, later in ((ranges[1], ranges[2]), (ranges[0], ranges[1]), (ranges[0], ranges[2])):
        filled = later[:, 1] > later[:, 0]
        limit = np.where(filled, later[:, 0] - purge, earlier[:, 1])
        if in_time is not None and filled.any():
            first = int(in_time.timestamps[later[filled, 0]].min())
            limit = np.minimum(limit, [_row(in_time, number, first) for number in range(len(in_time))])
        earlier[:, 1] = np.maximum(earlier[:, 0], np.minimum(earlier[:, 1], limit))
    used = [part[:, 1] > part[:, 0] for part in ranges]
    for number in (1, 2):
        gap = np.where(np.any(used[:number], axis=0), embargo, 0)
        ranges[number][:, 0] = np.minimum(ranges[number][:, 1], ranges[number][:, 0] + gap)
    return dict(zip(PARTS, ranges, strict=True))


def _fractions(settings: SplitSettings, count: np.ndarray) -> np.ndarray:
    """(..., 4) int64: where the parts begin and end among `count` rows."""
    shares = np.cumsum([0, settings.train, settings.val, settings.test])
    edges: np.ndarray = np.floor(count[..., None] * shares + 1e-6).astype(np.int64)  # 0.1 + 0.2 is 0.3 here
    return edges


def _at_moments(store: BarStore, moments: np.ndarray, marks: Iterable[int]) -> np.ndarray:
    """(S, 4) the row of each symbol at each of the moments that are numbered `marks`."""
    at = [int(moments[mark]) if mark < len(moments) else None for mark in marks]
    return np.array([[_row(store, number, moment) for moment in at] for number in range(len(store))])


def _by_date(store: BarStore, settings: SplitSettings) -> np.ndarray:
    days = (settings.train_end, settings.val_end, settings.test_end)
    ends = [[None if day is None else day_over(day, zone) for day in days] for zone in store.zones]
    rows = np.array([[_row(store, number, end) for end in own] for number, own in enumerate(ends)])
    return np.column_stack([store.offsets[:-1], rows])


def day_over(day: date, zone: str | None) -> int:
    """The first moment (ns, as a store keeps them) after a day in the wall clock of a zone."""
    last = moment_of(day, last=True)
    assert last is not None
    midnight = pd.DatetimeIndex([last + pd.Timedelta(1, "ns")]).as_unit("ns")
    if zone is not None:
        midnight = midnight.tz_localize(zone, ambiguous=np.array([True]), nonexistent="shift_forward")
    return int(midnight.asi8[0])


def cut_short(store: BarStore, part: np.ndarray, day: date, interval: pd.Timedelta) -> np.ndarray:
    """A part (S, 2) whose last day is `day` without the bars that go on after it in the first of the symbols' zones.

    `interval`: from the time of a bar to its end, at most. Such a bar tells of what comes then, whether or not its symbol has
    rows there.
    """
    over = min((day_over(day, zone) for zone in store.zones), default=0) - interval.value
    ends = [_row(store, number, over + 1) for number in range(len(store))]
    return np.stack([part[:, 0], np.maximum(part[:, 0], np.minimum(part[:, 1], ends))], axis=1)


def _row(store: BarStore, number: int, moment: int | None) -> int:
    """The first absolute row of a symbol at or after `moment` (ns UTC); its end for None."""
    lo, hi = store.span(number)
    return hi if moment is None else lo + int(np.searchsorted(store.timestamps[lo:hi], moment))


@dataclass(frozen=True, eq=False)
class Fold:
    """One step of a walk forward: `ranges` as of `split_ranges`, and the moments (ns, as a store keeps them) at
    which validation and test begin and the test ends; `val` is missing without validation."""

    number: int
    ranges: dict[str, np.ndarray]
    begins: dict[str, int]
    end: int


def walk_forward(
    store: BarStore,
    *,
    folds: int,
    test: int,
    val: int = 0,
    train: int | None = None,
    purge: int = 0,
    embargo: int = 0,
    per: Literal["timeline", "symbol"] = "timeline",
) -> Iterator[Fold]:
    """`folds` splits whose tests follow each other without overlap and end with the data, the oldest first.

    `test`, `val`, `train` count distinct moments of the common timeline, or rows of each symbol with
    per="symbol". train=None: training begins with the data and expands; a number: it rolls along. `purge` and
    `embargo` are rows per symbol, as in SplitSettings. A symbol listed late takes part from its first rows on;
    with per="timeline", all rows of a part are earlier than those of the next one, over all symbols.

    Raises DataError for impossible sizes and where nothing would be left to train the first fold on.
    """
    for name, value, least in (("folds", folds, 1), ("test", test, 1), ("val", val, 0), ("purge", purge, 0),
                               ("embargo", embargo, 0), ("train", 1 if train is None else train, 1)):  # fmt: skip
        if value < least:
            raise DataError(f"{name} must be at least {least}, but is {value}.")
    moments = distinct(np.asarray(store.timestamps)) if per == "timeline" else np.empty(0, np.int64)
    longest = len(moments) if per == "timeline" else int(np.diff(store.offsets).max(initial=0))
    need = folds * test + val + (train or 1)
    if longest < need:
        what = "moments" if per == "timeline" else "rows of one symbol"
        raise DataError(
            f"{folds} folds of {test} to test, {val} to validate and {train or 'at least 1'} to train need {need:,} "
            f"{what}; there are {longest:,}. Take fewer or shorter folds."
        )

    def cut(fold: int) -> Fold:
        back = (folds - fold) * test  # from the end of the data to the beginning of this test
        marks = [None if train is None else back + val + train, back + val, back, back - test]
        if per == "timeline":
            edges = _at_moments(store, moments, [0 if mark is None else len(moments) - mark for mark in marks])
        else:
            lo, hi = store.offsets[:-1], store.offsets[1:]
            edges = np.stack([lo if mark is None else np.maximum(lo, hi - mark) for mark in marks], axis=1)
        parts = _parts(edges, purge, embargo)
        spans = {name: span for name, part in parts.items() if (span := part_span(store, part))}
        end = spans["test"][1] if "test" in spans else 0
        if not val:
            del parts["val"]
        return Fold(fold, parts, {name: spans[name][0] for name in parts if name in spans}, end)

    return map(cut, range(folds))


def part_span(store: BarStore, part: np.ndarray) -> tuple[int, int] | None:
    """The first and the last moment (ns, as a store keeps them) of the rows of a part (S, 2); None where it is empty."""
    used = part[part[:, 1] > part[:, 0]]
    if not len(used):
        return None
    return int(store.timestamps[used[:, 0]].min()), int(store.timestamps[used[:, 1] - 1].max())


def walk_folds(store: BarStore, settings: SplitSettings) -> Iterator[Fold]:
    """All folds of `settings.walk`, the oldest first; see `walk_forward`."""
    walk = settings.walk
    assert walk is not None
    return walk_forward(
        store, folds=walk.folds, test=walk.test, val=walk.val, train=walk.train, purge=settings.purge,
        embargo=settings.embargo, per=settings.per,
    )  # fmt: skip


def before_cutoff(store: BarStore, ranges: dict[str, np.ndarray]) -> dict[str, tuple[date, date]]:
    """The evaluated parts (val, test) that have rows before the checkpoints' cutoff: first and last day of each."""
    found = {}
    for name, part in ranges.items():
        span = None if name == "train" else part_span(store, part)
        if span is not None:
            first, last = (pd.Timestamp(moment).date() for moment in span)
            if first <= PRETRAINING_CUTOFF:
                found[name] = (first, last)
    return found
