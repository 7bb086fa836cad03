"""One symbol's validated rows. They are made by `validation.validate_table` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from chandler.data.calendars.time_features import infer_interval
from chandler.data.columns import FEATURES
from chandler.data.reading.frames import as_pandas, frame_table, to_polars
from chandler.data.reading.numbers import Decimal
from chandler.errors import DataError

__all__ = ["FEATURES", "Adjust", "Bars", "Decimal", "Missing", "Unsorted"]

Adjust = Literal["auto", "none"]
Missing = Literal["error", "drop", "split"]
Unsorted = Literal["error", "sort"]


@dataclass(frozen=True, eq=False)
class Bars:
    """One symbol's bars: strictly increasing times, finite positive prices.

    `timestamps` (N,) in ns, naive (wall clock) or in a zone; `values` (N, 6) float64 in the order of
    FEATURES: prices in quote units, volume in units traded, amount in traded value. `notes` says in plain
    words what reading decided or changed. High below low can be: real data has it, `inspect_store` counts it.
    `segments` (G, 2) int64: the row ranges [lo, hi) that windows may use and must not cross, in order and
    disjoint; None: all rows are one.
    """

    symbol: str
    timestamps: pd.DatetimeIndex
    values: np.ndarray
    source: str = ""
    notes: tuple[str, ...] = ()
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
        columns: Mapping[str, str] | None = None,
        adjust: Adjust = "auto",
        missing: Missing = "error",
        timezone: str | None = None,
        date_format: str | None = None,
        decimal: Decimal = "auto",
        unsorted: Unsorted = "error",
    ) -> Bars:
        """Bars of one symbol from a pandas or polars frame; times from `timestamps` (N,), a column, or the index.

        Column names may be spelt in the usual ways; `columns` (canonical name -> the frame's) overrides.
        Raises DataError as `validate_table` does, and where the frame holds several symbols.
        """
        from chandler.data.reading.validation import validate_table  # which makes Bars

        converted = as_pandas(frame)
        if converted is None:
            raise DataError(f"expected a frame, but got a {type(frame).__name__}: see load_bars for other sources.")
        table = frame_table(converted, source=source, timestamps=timestamps, columns=columns)
        if symbol:
            table = table.without("symbol")
        bars = validate_table(
            table, symbol=symbol, adjust=adjust, missing=missing, timezone=timezone, date_format=date_format,
            decimal=decimal, unsorted=unsorted,
        )  # fmt: skip
        if len(bars) > 1:
            raise DataError(
                f"{source + ': ' if source else ''}the frame holds {len(bars)} symbols "
                f"({', '.join(one.symbol for one in bars[:3])}): use load_bars(frame), or pick one."
            )
        return bars[0]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a frame: DatetimeIndex named `timestamp`, the six FEATURES as columns."""
        index = self.timestamps.rename("timestamp")
        return pd.DataFrame(self.values.copy(), index=index, columns=list(FEATURES))

    def to_polars(self) -> Any:
        """The rows as a polars frame: `timestamp` first, then the six FEATURES. DataError without polars.

        polars has named zones only: times with a plain offset from UTC come in UTC.
        """
        return to_polars(self.to_frame().reset_index())

    def float32(self, out: np.ndarray | None = None) -> np.ndarray:
        """`values` as a store keeps them: (N, 6) float32, row after row; written into `out` where it is given."""
        if out is None:
            return self.values.astype(np.float32, order="C")
        out[:] = self.values
        return out

    def slice(self, lo: int, hi: int) -> Bars:
        """Rows [lo, hi), as a Python slice takes them."""
        lo, hi, _ = slice(lo, hi).indices(len(self))
        segments = self.segments
        if segments is not None:
            segments = np.clip(segments - lo, 0, max(0, hi - lo))
            segments = segments[segments[:, 1] > segments[:, 0]]
        return replace(self, timestamps=self.timestamps[lo:hi], values=self.values[lo:hi], segments=segments)

    def tail(self, n: int) -> Bars:
        """The last n rows."""
        return self.slice(max(0, len(self) - n), len(self))

    @property
    def interval(self) -> pd.Timedelta:
        """The most common spacing of the rows."""
        return infer_interval(self.timestamps)


def pieces(cuts: np.ndarray, rows: int) -> np.ndarray:
    """The ranges (G, 2) int64 that `rows` rows fall into when new ones begin at `cuts` (increasing, inside)."""
    edges = np.concatenate([[0], cuts, [rows]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)
