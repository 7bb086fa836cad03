"""Cuts every symbol into training, validation and test rows, in time order and without a shared row."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chandler.data.store import BarStore


class SplitSettings(BaseModel):
    """Where training ends and validation and test begin: by fractions, or by dates once `train_end` is given.

    Dates are the last day that belongs to a part, whole, in the local wall clock of each symbol: with
    train_end = 2023-12-31 a bar of 2023-12-31 23:59 trains and one of 2024-01-01 00:00 validates.
    """

    model_config = ConfigDict(extra="forbid")

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
    purge: int = Field(0, ge=0)
    """Bars left out at the end of a part, per symbol, before the next part begins."""
    per: Literal["timeline", "symbol"] = "timeline"
    """Fractions of the distinct timestamps of all symbols together, or of each symbol's own rows."""

    @model_validator(mode="after")
    def _consistent(self) -> SplitSettings:
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
    per="timeline", every row of a part is earlier than all rows of the next one, over all symbols.
    """
    if settings.train_end is not None:
        edges = _by_date(store, settings)
    elif settings.per == "timeline":
        edges = _by_timeline(store, settings)
    else:
        edges = _by_symbol(store, settings)
    ranges = [np.ascontiguousarray(edges[:, [part, part + 1]]) for part in range(3)]
    for earlier, later in ((1, 2), (0, 1), (0, 2)):
        if settings.per == "timeline" or settings.train_end is not None:
            _end_before(store, ranges[earlier], ranges[later])
        _purge(ranges[earlier], ranges[later], settings.purge)
    parts = dict(zip(("train", "val", "test"), ranges, strict=True))
    if not (settings.val_end if settings.train_end else settings.test > 0):
        del parts["test"]
    return parts


def _fractions(settings: SplitSettings, count: np.ndarray) -> np.ndarray:
    """(..., 4) int64: where the parts begin and end among `count` rows."""
    shares = np.cumsum([0, settings.train, settings.val, settings.test])
    edges: np.ndarray = np.floor(count[..., None] * shares + 1e-6).astype(np.int64)  # 0.1 + 0.2 is 0.3 here
    return edges


def _by_symbol(store: BarStore, settings: SplitSettings) -> np.ndarray:
    edges: np.ndarray = store.offsets[:-1, None] + _fractions(settings, np.diff(store.offsets))
    return edges


def _by_timeline(store: BarStore, settings: SplitSettings) -> np.ndarray:
    moments = np.unique(np.asarray(store.timestamps))
    marks = _fractions(settings, np.array(len(moments)))
    return np.array([
        [_row(store, number, int(moments[mark]) if mark < len(moments) else None) for mark in marks]
        for number in range(len(store))
    ])  # fmt: skip


def _by_date(store: BarStore, settings: SplitSettings) -> np.ndarray:
    edges = np.empty((len(store), 4), np.int64)
    for number, zone in enumerate(store.zones):
        edges[number, 0] = store.offsets[number]
        for part, day in enumerate((settings.train_end, settings.val_end, settings.test_end), 1):
            moment = None
            if day is not None:
                midnight = pd.DatetimeIndex([pd.Timestamp(day) + pd.Timedelta(days=1)]).as_unit("ns")
                if zone is not None:
                    midnight = midnight.tz_localize(zone, ambiguous=np.array([True]), nonexistent="shift_forward")
                moment = int(midnight.asi8[0])
            edges[number, part] = _row(store, number, moment)
    return edges


def _row(store: BarStore, number: int, moment: int | None) -> int:
    """The first absolute row of a symbol at or after `moment` (ns UTC); its end for None."""
    lo, hi = int(store.offsets[number]), int(store.offsets[number + 1])
    return hi if moment is None else lo + int(np.searchsorted(store.timestamps[lo:hi], moment))


def _purge(earlier: np.ndarray, later: np.ndarray, gap: int) -> None:
    """Cut `earlier` in place to rows at least `gap` before `later`, for symbols that have rows there."""
    filled = later[:, 1] > later[:, 0]
    limit = np.where(filled, later[:, 0] - gap, earlier[:, 1])
    earlier[:, 1] = np.maximum(earlier[:, 0], np.minimum(earlier[:, 1], limit))


def _end_before(store: BarStore, earlier: np.ndarray, later: np.ndarray) -> None:
    """Cut `earlier` in place to rows before the first row of `later`: zones differ by hours."""
    filled = later[:, 1] > later[:, 0]
    if not filled.any():
        return
    first = int(np.asarray(store.timestamps)[later[filled, 0]].min())
    for number in range(len(store)):
        earlier[number, 1] = max(int(earlier[number, 0]), min(int(earlier[number, 1]), _row(store, number, first)))
