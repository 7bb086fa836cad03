"""Which bars of a source are wanted: symbols, dates, and the part of a Qlib folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from chandler.data.bars import Bars
from chandler.errors import DataError


@dataclass(frozen=True)
class Selection:
    """What of a source is wanted; see `load_bars`. Plain values, so that other processes can be told."""

    symbols: tuple[str, ...] | None = None
    start: Any = None
    end: Any = None
    market: str = "all"
    freq: str = "day"

    def of(self, found: Iterable[Bars]) -> list[Bars]:
        """The chosen symbols, cut to the dates; what has no row then is left out. DataError for no date."""
        wanted = [bars for bars in found if self.symbols is None or bars.symbol in self.symbols]
        return [cut for bars in wanted if len(cut := between(bars, self.start, self.end))]


def between(bars: Bars, start: Any, end: Any) -> Bars:
    """Rows from `start` to `end` of the local wall clock; a plain date as `end` takes the whole day.

    Raises:
        DataError: no dates.
    """
    first, last = _moment(start, last=False), _moment(end, last=True)
    lo = 0 if first is None else _position(bars.timestamps, first, "left")
    hi = len(bars) if last is None else _position(bars.timestamps, last, "right")
    return bars.slice(lo, max(lo, hi))


def _moment(value: Any, *, last: bool) -> pd.Timestamp | None:
    """`start` or `end` as a moment; a plain date as the `last` one means its end."""
    try:
        moment = None if value is None else pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"start and end must be dates such as '2024-06-30': {error}.") from None
    if last and moment is not None and moment == moment.normalize() and moment.tz is None:
        moment += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    return moment


def _position(index: pd.DatetimeIndex, moment: pd.Timestamp, side: Any) -> int:
    if moment.tz is None:
        index = index.tz_localize(None)
    elif index.tz is None:
        moment = moment.tz_localize(None)
    return int(index.searchsorted(moment, side=side))
