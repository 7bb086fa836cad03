"""The only place where raw tables are validated: a RawTable in, the bars of its symbols out.

Whatever reads data (a file, a frame, a vendor layout) makes a `RawTable` and calls `validate_table`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from chandler.data.bars import Bars, cut_segments
from chandler.data.columns import FEATURES, PRICES, RawTable
from chandler.data.reading.numbers import Numbers, parse_numbers
from chandler.data.reading.options import ReadingOptions
from chandler.data.reading.timestamps import parse_times
from chandler.errors import DataError
from chandler.text import count

FLOAT32_MAX = float(np.finfo(np.float32).max)
PRICE_LIMIT = 1e12
"""No market quotes a unit this high: such a column is none of prices, or in a broken unit."""
PRICE_FLOOR = 1e-30
"""Below this float32 loses digits, and then the price."""
_LARGER = "Use a larger unit, for example volume in thousands."
_GLUED = 0.2
"""Share of rows that repeat a time with other prices, from which several series must be mixed under one name."""
_MOMENT = re.compile(r"\s*(19|20)\d\d([-/.]?)[01]\d\2[0-3]\d[ T]?\d\d:?\d\d")
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}|\s*\d{1,6}(\.0)?\s*$|\s*\d{1,2}[ -]?[AaPp][Mm]")


def validate_table(table: RawTable, options: ReadingOptions, symbol: str = "") -> list[Bars]:
    """The bars of every symbol of a table, validated, sorted by time; `symbol` names rows that name none.

    No volume column: volume 0, and amount 0 unless given. No amount column: volume x mean(open, high, low,
    close). Missing and negative cells of volume and amount count as 0. Of equal timestamps the last row
    stays. `options`: see `load_bars`.

    Raises DataError, naming source, symbol, row, value and remedy, for a price that is text, not finite, not
    positive or above PRICE_LIMIT, for volumes that are no numbers, for unreadable times and times that step
    back, for several series under one name, and for tables without rows.
    """
    where = f"{table.source}: " if table.source else ""
    if not len(table.frame):
        where = where or (f"{symbol}: " if symbol else "")
        raise DataError(f"{where}there are column names but no rows. Give data with at least one row.")
    try:
        return _Validator(table, options, symbol or "series").read()
    except DataError as error:
        raise DataError(f"{where}{error}") from None


class _Validator:
    """One pass over a table: checks in order, then one sort that groups symbols and orders time."""

    def __init__(self, table: RawTable, options: ReadingOptions, symbol: str):
        self.table, self.options = table, options
        self.notes: list[tuple[str, np.ndarray | None]] = [(note, None) for note in table.notes]
        self.index = pd.DatetimeIndex([])
        self.codes, self.symbols = np.zeros(len(table.frame), np.intp), [symbol]
        self.numbers = Numbers({}, {})
        self.plain: set[str] = set()
        """Columns of which every cell is a number in its range, 0 or more."""

    def read(self) -> list[Bars]:
        table, options = self.table, self.options
        self._name_symbols()
        self.index = self._times()
        found = {role: table.frame[table.roles[role]] for role in (*FEATURES, "adj_close") if role in table.roles}
        self.numbers = parse_numbers(found, decimal=options.decimal, place=table.at)
        self._note(*self.numbers.notes)
        values, unusable = self._values()
        if options.adjust == "auto" and "adj_close" in table.roles:
            self._adjust(values, unusable)
        self._derive(values)
        if unusable.all():
            raise DataError("no row has four prices above 0. Give at least one whole row.")
        return self._group(values, ~unusable)

    def _name_symbols(self) -> None:
        """Number the symbols of a symbol column in alphabetical order: `codes` (N,), -1 for an empty cell."""
        column = self.table.column("symbol")
        if column is None:
            return
        cells, found = pd.factorize(column)
        names = pd.Series(found).astype("string").str.strip()  # what is distinct is little
        inner, distinct = pd.factorize(names.mask(names == ""), sort=True)
        self.codes = np.append(inner, -1)[cells]  # an empty cell, -1, takes the last one
        self.symbols = [str(name) for name in distinct]
        self._refuse(self.codes < 0, f"no symbol in {self.table.named('symbol')!r}", "Fill in the symbol.")

    def _note(self, *notes: str, about: np.ndarray | None = None) -> None:
        """Tell the notes of all symbols; or of those that have rows they are `about` (N,), with how many."""
        if about is None or about.any():
            self.notes += [(note, about) for note in notes]

    def _times(self) -> pd.DatetimeIndex:
        raw, clock = self.table.column("timestamp"), self.table.column("time")
        assert raw is not None
        if clock is not None and not all(_CLOCK.match(str(one)) for one in clock.dropna().head(100)):
            if all(_MOMENT.match(str(one)) for one in clock.dropna().head(100)):
                raw = clock
                self._note(f"times: from {self.table.named('time')!r}, which has the date as well")
            clock = None  # a column named `time` that holds something else
        times = parse_times(
            raw, clock, timezone=self.options.timezone, date_format=self.options.date_format,
            stated=self.table.stated_zone, place=self.table.at,
        )  # fmt: skip
        remedy = "Correct these rows, or give the format, for example date_format='%d/%m/%Y %H:%M'."
        self._refuse(
            np.asarray(times.index.isna()),
            "unreadable timestamp in {}",
            f"{times.hint} {remedy}".strip(),
            "timestamp",
            raw,
        )
        self._note(*times.notes)
        return times.index

    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, 6) float64, NaN for absent volumes and amounts, and which rows (N,) to drop."""
        values = np.empty((len(FEATURES), len(self.table.frame))).T  # columns contiguous: all work is by column
        for position, name in enumerate(FEATURES):
            values[:, position] = self._numbers(name) if name in self.table.roles else np.nan
        prices = values[:, :4]
        if self.plain >= set(PRICES):
            return values, np.zeros(len(values), bool)
        absent, below = np.isnan(prices), prices <= 0
        for position, name in enumerate(PRICES if self.options.missing == "error" else ()):
            remedy = 'Drop or fill these rows, or pass missing="drop".'
            self._refuse(absent[:, position], "missing value in {}", remedy, name)
            remedy = 'Prices must be above 0: correct these rows, or pass missing="drop".'
            self._refuse(below[:, position], "{} is not positive", remedy, name)
        gaps = np.asarray(absent.any(axis=1))
        low = np.asarray(below.any(axis=1)) & ~gaps
        self._note("dropped {} with a missing price", about=gaps)
        self._note("dropped {} with a price that is not above 0", about=low)
        return values, gaps | low

    def _numbers(self, name: str) -> np.ndarray:
        """A column as (N,) float64, NaN where empty; text, infinite and oversized values are errors."""
        numbers = self.numbers.values[name]
        if name in self.numbers.text:
            self._refuse(self.numbers.text[name], "text in {}", "Correct or drop these rows: numbers only.", name)
        least, most = (PRICE_FLOOR, PRICE_LIMIT) if name in PRICES else (0, FLOAT32_MAX)
        if numbers.min() >= least and numbers.max() <= most:  # false for NaN
            self.plain.add(name)
            return numbers
        self._refuse(np.isinf(numbers), "infinite value in {}", "Correct or drop these rows.", name)
        if name in PRICES:
            what = f"{{}} is above {PRICE_LIMIT:.0e}, higher than any price"
            remedy = "Correct these rows, or use a larger unit, for example prices in millions."
            self._refuse(np.abs(numbers) > PRICE_LIMIT, what, remedy, name)
            what = f"{{}} is below {PRICE_FLOOR:.0e}, less than float32 can tell from 0"
            remedy = "Correct these rows, or use a smaller unit."
            self._refuse((numbers > 0) & (numbers < PRICE_FLOOR), what, remedy, name)
        self._refuse(np.abs(numbers) > FLOAT32_MAX, "{} is beyond what float32 holds", _LARGER, name)
        return numbers

    def _adjust(self, values: np.ndarray, unusable: np.ndarray) -> None:
        adjusted = self._numbers("adj_close")
        remedy = 'Correct these rows, or pass adjust="none" to use prices as traded.'
        self._refuse(~(adjusted > 0) & ~unusable, "{} is missing or not positive", remedy, "adj_close")
        factor = np.ones(len(values))
        np.divide(adjusted, values[:, 3], out=factor, where=~unusable)
        values[:, :4] *= factor[:, None]
        values[:, 4] /= factor
        beyond = ~unusable & ((np.abs(values[:, 4]) > FLOAT32_MAX) | (values[:, :4].min(axis=1) < PRICE_FLOOR))
        beyond |= ~unusable & (values[:, :4].max(axis=1) > PRICE_LIMIT)
        self._refuse(beyond, "scaling by {} leaves no usable price or volume", remedy, "adj_close")
        if np.abs(factor - 1).max() > 1e-9:
            self._note('scaled prices by adj_close / close, volume by the inverse; adjust="none" leaves them')

    def _derive(self, values: np.ndarray) -> None:
        """Fill volume and amount in place as the module says."""
        roles = self.table.roles
        for position, name in ((4, "volume"), (5, "amount")):
            if name in self.plain:
                continue
            negative = values[:, position] < 0
            values[negative, position] = 0
            gaps = np.isnan(values[:, position])
            self._note(f"{{}} with negative {name}: taken as 0", about=negative)
            if name in roles:
                self._note(f"{{}} without {name}: taken as 0", about=gaps)
            if name in roles or name == "volume":
                values[gaps, position] = 0
        if "volume" not in roles:
            self._note(f"no volume column: volume is 0{'' if 'amount' in roles else ', amount too'}")
        if "amount" not in roles:
            amount = values[:, 5]
            np.add(values[:, 0], values[:, 1], out=amount)
            amount += values[:, 2]
            amount += values[:, 3]
            amount /= 4
            amount *= values[:, 4]
            if not self.plain >= {*PRICES, "volume"}:
                amount[~(values[:, 4] > 0)] = 0
            if "volume" in roles:
                self._note("no amount column: amount is volume x mean(open, high, low, close)")
            self._refuse(amount > FLOAT32_MAX, "volume x price is beyond what float32 holds", _LARGER)

    def _group(self, values: np.ndarray, keep: np.ndarray) -> list[Bars]:
        """The bars of each symbol: its rows in time order, without those to leave out; of equal times the last stays."""
        ticks, closes = self.index.asi8, values[:, 3]
        back, repeated, mixed = (np.zeros(len(ticks), bool) for _ in range(3))
        parts, found = self._by_symbol(), []
        for rows in parts:
            times, told, cuts = ticks[rows], "", np.empty(0, np.int64)
            if not ((times[1:] > times[:-1]).all() and keep[rows].all()):
                rows = np.arange(len(ticks))[rows]
                falls = np.diff(times) < 0
                if falls.any():
                    newest_first = not (np.diff(times) > 0).any()
                    told = f"rows were {'newest first' if newest_first else 'not in time order'}: sorted"
                    back[rows[1:][falls]] = not newest_first
                rows = rows[np.argsort(times, kind="stable")]
                before = np.cumsum(~keep[rows])[keep[rows]]  # rows left out so far: a step marks a split
                rows = rows[keep[rows]]
                again = np.append(ticks[rows[1:]] == ticks[rows[:-1]], np.zeros(len(rows[:1]), bool))
                repeated[rows[again]] = True
                other = rows[1:][again[:-1] & (closes[rows[1:]] != closes[rows[:-1]])]
                mixed[other] = len(other) > _GLUED * len(rows)
                rows, before = rows[~again], before[~again]
                if self.options.missing == "split":
                    cuts = np.flatnonzero(np.diff(before)) + 1
            found.append((rows, cuts, told))
        if self.options.unsorted == "error":
            self._refuse_back(back)
        if mixed.sum() > 2:  # most times come again with other prices
            remedy = "Several series are mixed: split them, or name the symbol's column, columns={'symbol': ...}."
            self._refuse(mixed, "the same time again with other prices", remedy)
        self._note("{} repeated a timestamp: the last of them stays", about=repeated)
        plain = [note for note, about in self.notes if about is None]
        counted = [(note, about) for note, about in self.notes if about is not None]
        bars = []
        for symbol, own, (rows, cuts, told) in zip(self.symbols, parts, found, strict=True):
            counts = [(note, int(np.count_nonzero(about[own]))) for note, about in counted]
            notes = (*plain, *(note.format(count(n, "row")) for note, n in counts if n), *([told] if told else []))
            index, prices = self.index[rows], values[rows]
            if len(index):
                bars.append(Bars(symbol, index, prices, self.table.source, notes, cut_segments(cuts, len(index))))
        return bars

    def _by_symbol(self) -> list[Any]:
        """Which rows each symbol has, in their order: slices where that can be, for these copy nothing."""
        symbols = len(self.symbols)
        if symbols == 1:
            return [slice(None)]
        new = np.flatnonzero(self.codes[1:] != self.codes[:-1]) + 1
        if len(new) == symbols - 1:  # one symbol after the other
            edges = [0, *new.tolist(), len(self.codes)]
            return [slice(*edges[at : at + 2]) for at in np.argsort(self.codes[edges[:-1]])]
        # Stable, and by few bits: numpy then sorts by counting.
        order = np.argsort(self.codes.astype(np.min_scalar_type(symbols)), kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.codes, minlength=symbols))[:-1])

    def _refuse_back(self, back: np.ndarray) -> None:
        if not back.any():
            return
        row = int(np.argmax(back))
        before = row - 1 - int(np.argmax(self.codes[:row][::-1] == self.codes[row]))
        what = f"time steps back in {count(int(back.sum()), 'place')}, after {self.index[before]}"
        remedy = 'Sort the rows or pass unsorted="sort" (--sort); several series in one file need a symbol column.'
        self._refuse(back, what, remedy, rows=False)

    def _refuse(
        self, bad: np.ndarray, what: str, remedy: str, role: str = "", raw: pd.Series | None = None, rows: bool = True
    ) -> None:
        """Raise, where there are bad rows, what they deserve: where, what, how many, the first, its value, the remedy.

        `what` names the column of `role` at its braces; the value is that of `raw`, by default of this column.
        """
        if not bad.any():
            return
        if role:
            what, raw = what.format(repr(self.table.named(role))), self.table.column(role) if raw is None else raw
        row, how_many = int(np.argmax(bad)), count(int(np.count_nonzero(bad)), "row")
        code = self.codes[row]
        symbol = f"{self.symbols[code]}: " if code >= 0 and self.symbols[code] != "series" else ""
        value = "" if raw is None else f": {_shown(raw.iloc[row])}"
        time = f" at {self.index[row]}" if len(self.index) and not pd.isna(self.index[row]) else ""
        raise DataError(
            f"{symbol}{what}{f' in {how_many}' if rows else ''}, first{time} ({self.table.at(row)}){value}. {remedy}"
        )


def _shown(value: Any) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "empty"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return str(value)
