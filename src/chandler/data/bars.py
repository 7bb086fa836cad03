"""One symbol's validated rows. They are made by `reading` alone, of files and frames, and by `qlib`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timezone
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import pandas as pd

from chandler.data.calendars import infer_interval
from chandler.data.columns import FEATURES
from chandler.data.notes import Note
from chandler.errors import DataError

Adjust = Literal["auto", "none"]
Decimal = Literal["auto", ".", ","]
Missing = Literal["error", "drop", "split"]
Unsorted = Literal["error", "sort"]


class TableKeywords(TypedDict, total=False):
    """How one table is read: see `load_bars`."""

    columns: Mapping[str, str] | None
    where: Mapping[str, str] | None
    timezone: str | None
    date_format: str | None
    decimal: Decimal
    price_scale: float | None
    adjust: Adjust
    missing: Missing
    unsorted: Unsorted


FrameReader = Callable[[Any, str, str, Any, TableKeywords], "Bars"]
"""Bars of a frame, `symbol`, `source`, `timestamps` and options: what `Bars.from_frame` hands on to."""
_frame_readers: list[FrameReader] = []


def register_frame_reader(reader: FrameReader) -> None:
    """Set what `Bars.from_frame` hands on to: `reading`, which knows Bars, as it is imported with `chandler.data`."""
    _frame_readers[:] = [reader]


@dataclass(frozen=True, eq=False)
class Bars:
    """One symbol's bars: strictly increasing times, finite positive prices.

    `timestamps` (N,) in ns, naive (wall clock) or in a zone; `values` (N, 6) float64 in the order of
    FEATURES: prices in quote units, volume in units traded, amount in traded value. `notes` says what
    reading decided or changed. High below low can be: real data has it, `inspect_store` counts it.
    `segments` (G, 2) int64: the row ranges [lo, hi) that windows may use and must not cross, in order and
    disjoint; None: all rows are one.
    """

    symbol: str
    timestamps: pd.DatetimeIndex
    values: np.ndarray
    source: str = ""
    notes: tuple[Note, ...] = ()
    segments: np.ndarray | None = None

    def __post_init__(self) -> None:
        assert self.values.shape == (len(self.timestamps), len(FEATURES)), self.values.shape
        assert self.segments is None or self.segments.shape[1:] == (2,), self.segments.shape

    def __len__(self) -> int:
        return len(self.timestamps)

    def __repr__(self) -> str:
        span = f", {self.timestamps[0]} to {self.timestamps[-1]}" if len(self) else ""
        return f"Bars({self.symbol}: {len(self)} rows{span})"

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        symbol: str = "",
        source: str = "",
        timestamps: Any = None,
        **options: Unpack[TableKeywords],
    ) -> Bars:
        """Bars of one symbol from a pandas or polars frame; times from `timestamps` (N,), a column, or the index.

        Column names may be spelt in the usual ways; `columns` (canonical name -> the frame's) overrides. It, `adjust`,
        `missing`, `timezone`, `date_format`, `decimal`, `price_scale` and `unsorted` are those of `load_bars`.
        Raises DataError as `load_bars` does, and where the frame holds several symbols.
        """
        return _frame_readers[0](frame, symbol, source, timestamps, options)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a frame: DatetimeIndex named `timestamp`, the six FEATURES as columns."""
        index = self.timestamps.rename("timestamp")
        return pd.DataFrame(self.values.copy(), index=index, columns=list(FEATURES))

    def to_polars(self) -> Any:
        """The rows as a polars frame: `timestamp` first, then the six FEATURES. DataError without polars.

        polars has named zones only: times with a plain offset from UTC come in UTC.
        """
        return to_polars(self.to_frame().reset_index())

    def float32(self) -> np.ndarray:
        """`values` as a store keeps them: (N, 6) float32, row after row."""
        return self.values.astype(np.float32, order="C")

    def slice(self, lo: int, hi: int) -> Bars:
        """Rows [lo, hi), as a Python slice takes them."""
        lo, hi, _ = slice(lo, hi).indices(len(self))
        segments = slice_segments(self.segments, lo, hi)
        return replace(self, timestamps=self.timestamps[lo:hi], values=self.values[lo:hi], segments=segments)

    def tail(self, n: int) -> Bars:
        """The last n rows."""
        return self if n >= len(self) else self.slice(max(0, len(self) - n), len(self))

    @property
    def interval(self) -> pd.Timedelta:
        """The most common spacing of the rows."""
        return infer_interval(self.timestamps)


def cut_segments(cuts: np.ndarray, rows: int) -> np.ndarray | None:
    """The segments (G, 2) int64 that `rows` rows fall into when new ones begin at `cuts` (increasing, inside); None
    without a cut."""
    if not len(cuts):
        return None
    edges = np.concatenate([[0], cuts, [rows]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def slice_segments(segments: np.ndarray | None, lo: int, hi: int) -> np.ndarray | None:
    """What is left of segments (G, 2) in the rows [lo, hi), counted from `lo`; None for None."""
    if segments is None:
        return None
    inside = np.clip(segments - lo, 0, max(0, hi - lo))
    return inside[inside[:, 1] > inside[:, 0]]


def join_segments(parts: Iterable[tuple[Any, int]], apart: Collection[int] = ()) -> np.ndarray:
    """The segments (G, 2) int64 of rows that follow one another: of each part its own (None: one of all its rows) and how
    many rows it has. The joint of two parts splits nothing, but for the parts (by number) that stand `apart` from the one
    before."""
    joined: list[list[int]] = []
    offset = 0
    for number, (segments, rows) in enumerate(parts):
        for lo, hi in [(0, rows)] if segments is None else segments:
            if joined and lo == 0 and joined[-1][1] == offset and number not in apart:
                joined[-1][1] = offset + hi
            else:
                joined.append([offset + lo, offset + hi])
        offset += rows
    return np.array(joined, np.int64).reshape(-1, 2)


def segment_numbers(segments: np.ndarray, rows: int) -> np.ndarray:
    """(rows,) int64: which of the segments (G, 2) each row is in; -1 for none."""
    numbers = np.full(rows, -1)
    for number, (lo, hi) in enumerate(segments):
        numbers[lo:hi] = number
    return numbers


def rows_between(index: pd.DatetimeIndex, start: Any, end: Any) -> tuple[int, int]:
    """The rows [lo, hi) of increasing times from `start` to `end` of the local wall clock; a plain date, month or year as
    `end` takes all of it, None is no limit.

    Raises:
        DataError: no dates.
    """
    first, last = moment_of(start), moment_of(end, last=True)
    lo = 0 if first is None else _position(index, first, "left")
    hi = len(index) if last is None else _position(index, last, "right")
    return lo, max(lo, hi)


def moment_of(value: Any, *, last: bool = False) -> pd.Timestamp | None:
    """`start` or `end` as a moment in ns; a plain date, month or year as the `last` one means its end. DataError where it is
    no date, or text that is not year first.

    What lies beyond the years that nanoseconds reach, as 9999-12-31 does, is before or behind all bars all the same.
    """
    if value is None:
        return None
    if isinstance(value, (int, float, np.number)):  # nanoseconds to pandas, a date to whoever writes 20240630
        raise DataError(
            f"start and end must be dates such as '2024-06-30', but {value} is a number. Write a date as text."
        )
    if isinstance(value, str) and value.strip() and not _ISO.fullmatch(value.strip()):  # pandas would guess
        raise DataError(
            f"start and end must be dates such as '2024-06-30', but {value!r} is not written so: year first, as in "
            "'2024-06-30 09:30', '2024-06' or '2024'."
        )
    try:
        moment = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"start and end must be dates such as '2024-06-30': {error}.") from None
    if pd.isna(moment):
        raise DataError(f"start and end must be dates such as '2024-06-30', but {value!r} is none.")
    try:
        moment = moment.as_unit("ns")
        if last and isinstance(value, str) and (whole := _WHOLE.get(len(value.strip()))):
            moment += whole
        if last and moment == moment.normalize() and moment.tz is None:
            moment += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    except (ValueError, OverflowError):
        edge = _EDGES[moment.year > 1970]
        return edge if moment.tz is None else edge.tz_localize("UTC")
    return moment


def tick_of(text: str | None, zone: str | None, *, end: bool = False) -> int | None:
    """A day or time in a symbol's own clock as ns, as a store keeps them; the end of a whole day with `end`.

    Raises:
        DataError: no date.
    """
    found = moment_of(text, last=end and ":" not in (text or ""))
    if found is None:
        return None
    if found.tz is None and zone is not None:
        found = found.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    return int(found.tz_convert("UTC").value if found.tz is not None else found.value)


_ISO = re.compile(
    r"\d{4}([-/]\d\d)?|\d{4}([-/]\d{1,2}){2}|\d{8}"
    r"|(\d{4}([-/]\d{1,2}){2}|\d{8})[ T]\d{1,2}(:?\d\d){0,2}(\.\d+)?\s?(Z|UTC|[-+]\d\d(:?\d\d)?)?"
)
_WHOLE = {4: pd.offsets.YearEnd(), 7: pd.offsets.MonthEnd()}
"""From the first day of a year or month, by the letters of `2024` or `2024-06`, to its last."""
_EDGES = pd.Timestamp.min.ceil("D") + pd.Timedelta(days=1), pd.Timestamp.max.floor("D") - pd.Timedelta(days=1)
"""Before and behind all bars, with room for any zone."""


def _position(index: pd.DatetimeIndex, moment: pd.Timestamp, side: Any) -> int:
    if moment.tz is None:
        index = index.tz_localize(None)
    elif index.tz is None:
        moment = moment.tz_localize(None)
    return int(index.searchsorted(moment, side=side))


def to_polars(frame: pd.DataFrame) -> Any:
    """A frame with a `timestamp` column as a polars frame, times of a plain offset in UTC. DataError without polars."""
    try:
        import polars
    except ImportError:
        raise DataError("polars is not installed: pip install polars, or use to_frame().") from None
    if isinstance(frame["timestamp"].dt.tz, timezone):
        frame = frame.assign(timestamp=frame["timestamp"].dt.tz_convert("UTC"))
    return polars.from_pandas(frame)
