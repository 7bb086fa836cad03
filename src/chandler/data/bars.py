"""One symbol's validated rows, and the only place where raw tables are validated.

Whatever reads data (a file, a frame, a vendor layout) makes a `Table` and calls `read_table`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from chandler.data.calendars import infer_interval
from chandler.data.columns import FEATURES, PRICES, Table, frame_table
from chandler.data.timestamps import parse_times
from chandler.errors import DataError

__all__ = ["FEATURES", "Adjust", "Bars", "Missing", "read_table"]

Adjust = Literal["auto", "none"]
Missing = Literal["error", "drop", "split"]

FLOAT32_MAX = float(np.finfo(np.float32).max)
_EMPTY = {"", "na", "n/a", "nan", "null", "none", "nat", "-", "<na>"}
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}|\s*\d{1,6}(\.0)?\s*$|\s*\d{1,2}[ -]?[AaPp][Mm]")


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
    ) -> Bars:
        """Bars of one symbol from a frame; times from `timestamps` (N,), a column, or the index.

        Column names may be spelt in the usual ways; `columns` (canonical name -> the frame's) overrides.
        Raises DataError as `read_table` does, and where the frame holds several symbols.
        """
        table = frame_table(frame, source=source, timestamps=timestamps, columns=columns)
        if symbol:
            table = table.without("symbol")
        bars = read_table(table, symbol=symbol, adjust=adjust, missing=missing)
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


def read_table(
    table: Table,
    *,
    symbol: str = "",
    timezone: str | None = None,
    date_format: str | None = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
) -> list[Bars]:
    """The bars of every symbol of a table, validated, sorted by time; `symbol` names rows that name none.

    No volume column: volume 0, and amount 0 unless given. No amount column: volume x mean(open, high, low,
    close). Missing and negative cells of volume and amount count as 0. Of equal timestamps the last row
    stays. Rows with a price that is missing, 0 or negative are errors, or left out with missing="drop":
    vendors write 0 where nothing traded; missing="split" leaves them out too, and no window crosses the place
    (`Bars.segments`). adjust="auto" scales prices by adj_close / close, volume by the
    inverse.

    Raises DataError, naming source, symbol, row, value and remedy, for a price that is text, not finite, not
    positive or too big for float32, for unreadable times, and for tables without rows.
    """
    if adjust not in ("auto", "none"):
        raise DataError(f"adjust={adjust!r} is not known: say 'auto' or 'none'.")
    if missing not in ("error", "drop", "split"):
        raise DataError(f"missing={missing!r} is not known: say 'error', 'drop' or 'split'.")
    where = f"{table.source}: " if table.source else ""
    if not len(table.frame):
        raise DataError(f"{where}there are column names but no rows. Give data with at least one row.")
    return _Reading(table, symbol or "series", where).read(timezone, date_format, adjust, missing)


class _Reading:
    """One pass over a table: checks in order, then one sort that groups symbols and orders time."""

    def __init__(self, table: Table, symbol: str, where: str):
        self.table, self.where = table, where
        self.notes: list[tuple[str, np.ndarray | None]] = [(note, None) for note in table.notes]
        self.index: pd.DatetimeIndex | None = None
        self.codes, self.symbols = self._symbols(symbol)

    def read(self, timezone: str | None, date_format: str | None, adjust: Adjust, missing: Missing) -> list[Bars]:
        table = self.table
        self.index = self._times(timezone, date_format)
        values, unusable = self._values(missing)
        if adjust == "auto" and "adj_close" in table.roles:
            self._adjust(values, unusable)
        self._derive(values)
        if unusable.all():
            raise DataError(f"{self.where}no row has four prices above 0. Give at least one whole row.")
        return self._group(values, ~unusable, split=missing == "split")

    def _symbols(self, symbol: str) -> tuple[np.ndarray, list[str]]:
        column = self.table.column("symbol")
        if column is None:
            return np.zeros(len(self.table.frame), np.intp), [symbol]
        names = column.astype("string").str.strip()
        codes, distinct = pd.factorize(names.mask(names == ""), sort=True)
        self.codes, self.symbols = codes, [str(name) for name in distinct]
        if (codes < 0).any():
            self._fail(codes < 0, f"no symbol in {self.table.named('symbol')!r}", None, "Fill in the symbol.")
        return codes, self.symbols

    def _times(self, timezone: str | None, date_format: str | None) -> pd.DatetimeIndex:
        raw, clock = self.table.column("timestamp"), self.table.column("time")
        assert raw is not None
        if clock is not None and not all(_CLOCK.match(str(one)) for one in clock.dropna().head(100)):
            clock = None  # a column named `time` that holds something else
        times = parse_times(
            raw, clock, timezone=timezone, date_format=date_format, where=self.where, place=self.table.at
        )
        bad = np.asarray(times.index.isna())
        if bad.any():
            remedy = "Correct these rows, or give the format, for example date_format='%d/%m/%Y %H:%M'."
            self._fail(bad, f"unreadable timestamp in {self.table.named('timestamp')!r}", raw,
                       f"{times.hint} {remedy}".strip())  # fmt: skip
        self.notes += [(note, None) for note in times.notes]
        return times.index

    def _values(self, missing: Missing) -> tuple[np.ndarray, np.ndarray]:
        """(N, 6) float64, NaN for absent volumes and amounts, and which rows (N,) to drop."""
        values = np.full((len(self.table.frame), len(FEATURES)), np.nan)
        for position, name in enumerate(FEATURES):
            if name in self.table.roles:
                values[:, position] = self._numbers(name)
        prices = values[:, :4]
        absent, below = np.isnan(prices), prices <= 0
        for position, name in enumerate(PRICES if missing == "error" else ()):
            raw, label = self.table.column(name), repr(self.table.named(name))
            self._refuse(absent[:, position], f"missing value in {label}", raw,
                         'Drop or fill these rows, or pass missing="drop".')  # fmt: skip
            self._refuse(below[:, position], f"{label} is not positive", raw,
                         'Prices must be above 0: correct these rows, or pass missing="drop".')  # fmt: skip
        gaps, low = absent.any(axis=1), below.any(axis=1) & ~absent.any(axis=1)
        self.notes += [(note, rows) for note, rows in (("dropped {} with a missing price", gaps),
                       ("dropped {} with a price that is not above 0", low)) if rows.any()]  # fmt: skip
        return values, gaps | low

    def _numbers(self, name: str) -> np.ndarray:
        """A column as (N,) float64, NaN where empty; text, infinite and oversized values are errors."""
        raw = self.table.column(name)
        assert raw is not None
        label = repr(self.table.named(name))
        if pd.api.types.is_numeric_dtype(raw.dtype) and not pd.api.types.is_bool_dtype(raw.dtype):
            numbers = raw.to_numpy(np.float64, na_value=np.nan)
        else:
            text = raw.astype("string").str.strip()
            empty = text.isna() | text.str.lower().isin(_EMPTY)
            parsed = pd.to_numeric(text.where(~empty), errors="coerce")
            numbers = np.asarray(parsed.to_numpy(np.float64, na_value=np.nan))
            self._refuse(np.isnan(numbers) & ~empty.to_numpy(bool), f"text in {label}", raw,
                         "Correct or drop these rows: plain numbers only, with a decimal point.")  # fmt: skip
        self._refuse(np.isinf(numbers), f"infinite value in {label}", raw, "Correct or drop these rows.")
        self._refuse(np.abs(numbers) > FLOAT32_MAX, f"{label} is beyond what float32 holds", raw,
                     "Use a larger unit, for example prices in thousands.")  # fmt: skip
        return numbers

    def _adjust(self, values: np.ndarray, unusable: np.ndarray) -> None:
        adjusted = self._numbers("adj_close")
        raw = self.table.column("adj_close")
        label = repr(self.table.named("adj_close"))
        self._refuse(~(adjusted > 0) & ~unusable, f"{label} is missing or not positive", raw,
                     'Correct these rows, or pass adjust="none" to use prices as traded.')  # fmt: skip
        factor = np.ones(len(values))
        np.divide(adjusted, values[:, 3], out=factor, where=~unusable)
        values[:, :4] *= factor[:, None]
        values[:, 4] /= factor
        if np.abs(factor - 1).max() > 1e-9:
            note = 'scaled prices by adj_close / close, volume by the inverse; adjust="none" leaves them'
            self.notes.append((note, None))

    def _derive(self, values: np.ndarray) -> None:
        """Fill volume and amount in place as the module says."""
        roles = self.table.roles
        for position, name in ((4, "volume"), (5, "amount")):
            negative = values[:, position] < 0
            if negative.any():
                self.notes.append((f"{{}} with negative {name}: taken as 0", negative))
                values[negative, position] = 0
            gaps = np.isnan(values[:, position])
            if name in roles and gaps.any():
                self.notes.append((f"{{}} without {name}: taken as 0", gaps))
            if name in roles or name == "volume":
                values[gaps, position] = 0
        if "volume" not in roles:
            also = "" if "amount" in roles else ", amount too"
            self.notes.append((f"no volume column: volume is 0{also}", None))
        if "amount" not in roles:
            values[:, 5] = np.where(values[:, 4] > 0, values[:, 4] * values[:, :4].mean(axis=1), 0)
            if "volume" in roles:
                self.notes.append(("no amount column: amount is volume x mean(open, high, low, close)", None))
            self._refuse(values[:, 5] > FLOAT32_MAX, "volume x price is beyond what float32 holds", None,
                         "Use a larger unit, for example volume in thousands.")  # fmt: skip

    def _group(self, values: np.ndarray, keep: np.ndarray, split: bool) -> list[Bars]:
        assert self.index is not None
        ticks = self.index.asi8
        order = np.lexsort((ticks, self.codes))  # stable: of equal times the last row stays last
        before = np.cumsum(~keep[order])[keep[order]]  # rows left out so far: a step marks a split
        order = order[keep[order]]
        codes, times = self.codes[order], ticks[order]
        again = np.zeros(len(order), bool)
        again[:-1] = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
        repeated = np.zeros(len(values), bool)
        repeated[order[again]] = True
        if again.any():
            self.notes.append(("{} repeated a timestamp: the last of them stays", repeated))
        # In the order of the source, where does a symbol's time step back?
        source_order = np.argsort(self.codes, kind="stable")
        same = self.codes[source_order][1:] == self.codes[source_order][:-1]
        back = same & (np.diff(ticks[source_order]) < 0)
        steps = np.bincount(self.codes[source_order][1:][back], minlength=len(self.symbols))
        pairs = np.bincount(self.codes[source_order][1:][same], minlength=len(self.symbols))
        counts = [
            (note, None if mask is None else np.bincount(self.codes[mask], minlength=len(self.symbols)))
            for note, mask in self.notes
        ]
        order, before = order[~again], before[~again]
        values, index = values[order], self.index[order]
        edges = np.searchsorted(self.codes[order], np.arange(len(self.symbols) + 1))
        bars = []
        for code, symbol in enumerate(self.symbols):
            lo, hi = edges[code], edges[code + 1]
            notes = [note for note, count in counts if count is None]
            notes += [note.format(_rows(int(n[code]))) for note, n in counts if n is not None and n[code]]
            if steps[code]:
                order_was = "newest first" if steps[code] > 0.9 * pairs[code] else "not in time order"
                notes.append(f"rows were {order_was}: sorted")
            if hi > lo:
                cuts = np.flatnonzero(np.diff(before[lo:hi])) + 1 if split else np.empty(0, np.int64)
                segments = pieces(cuts, int(hi - lo)) if len(cuts) else None
                bars.append(Bars(symbol, index[lo:hi], values[lo:hi], self.table.source, tuple(notes), segments))
        return bars

    def _refuse(self, bad: np.ndarray, what: str, raw: pd.Series | None, remedy: str) -> None:
        if bad.any():
            self._fail(bad, what, raw, remedy)

    def _fail(self, bad: np.ndarray, what: str, raw: pd.Series | None, remedy: str) -> None:
        """Raise the message that every bad row deserves: where, what, how many, the first, the remedy."""
        row = int(np.flatnonzero(bad)[0])
        count = int(np.count_nonzero(bad))
        code = self.codes[row]
        symbol = f"{self.symbols[code]}: " if code >= 0 and self.symbols[code] != "series" else ""
        value = "" if raw is None else f": {_shown(raw.iloc[row])}"
        time = "" if self.index is None or pd.isna(self.index[row]) else f" at {self.index[row]}"
        raise DataError(
            f"{self.where}{symbol}{what} in {_rows(count)}, first{time} ({self.table.at(row)}){value}. {remedy}"
        )


def _rows(count: int) -> str:
    return f"{count:,} row" + ("s" if count != 1 else "")


def _shown(value: Any) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "empty"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return str(value)
