"""What reading a column of times gives, and the steps that all ways of reading share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chandler.errors import DataError


@dataclass(frozen=True)
class Times:
    """Parsed timestamps: `index` (N,) in ns, NaT where unreadable; `hint` says why, if that is known, `remedy` what to do."""

    index: pd.DatetimeIndex
    notes: tuple[str, ...] = ()
    hint: str = ""
    remedy: str = ""


def by_pandas(values: pd.Series, **options: Any) -> pd.DatetimeIndex:
    """What pandas reads of each value, NaT where nothing or beyond ns; in UTC where offsets differ."""
    try:
        index = pd.DatetimeIndex(pd.to_datetime(values, errors="coerce", **options))
    except ValueError:
        index = pd.DatetimeIndex(pd.to_datetime(values, errors="coerce", utc=True, **options))
    return nanoseconds(masked(index, (index.year >= 1678) & (index.year < 2262)))


def fits(values: pd.Series, form: str) -> bool:
    """Whether every value (N,) is a time in this format; most formats fail at the first ones."""
    return all(by_pandas(some, format=form).notna().all() for some in (values.head(20), values))


def nanoseconds(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The times in ns, always as a copy: those of a frame may lie on an array that its owner goes on to change."""
    try:
        return index.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(f"timestamps must lie between 1678 and 2262: {error}.") from None


def masked(index: pd.DatetimeIndex, good: np.ndarray) -> pd.DatetimeIndex:
    """The times, NaT where they are not good (N,)."""
    return pd.DatetimeIndex(index.where(good))


def taken(index: pd.DatetimeIndex, places: np.ndarray) -> pd.DatetimeIndex:
    """The times at these places (M,), NaT for -1."""
    return pd.DatetimeIndex(index.take(places, allow_fill=True, fill_value=np.nan))
