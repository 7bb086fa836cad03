"""The only place where raw tables are validated: a RawTable in, the bars of its symbols out.

Whatever reads data (a file, a frame, a vendor layout) makes a `RawTable` and calls `validate_table`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from chandler.data.bars import Bars, cut_segments, rows_between
from chandler.data.column_names import candidates, is_alias
from chandler.data.columns import FEATURES, PRICES, Column, RawTable, as_series
from chandler.data.notes import Kind, Note
from chandler.data.reading.column_roles import ANY_ORDER, price_order
from chandler.data.reading.merging import strangers
from chandler.data.reading.numbers import Numbers, arrow_text, parse_numbers
from chandler.data.reading.options import LeftOut, ReadingOptions
from chandler.data.reading.times import parse_times
from chandler.errors import DataError
from chandler.text import count, listed

FLOAT32_MAX = float(np.finfo(np.float32).max)
PRICE_LIMIT = 1e12
"""No market quotes a unit this high: such a column is none of prices, or in a broken unit."""
PRICE_FLOOR = 1e-30
"""Below this float32 loses digits, and then the price."""
_LARGER = "Use a larger unit, for example volume in thousands."
_IMPOSSIBLE = 0.01
"""Share of bars with high below low, from which the columns must be others than their names say."""
_GLUED = 0.2
"""Share of rows that repeat a time with other prices, from which several series must be mixed under one name; and share
of bars whose high or low lies within the body, from which another order of columns is believed where it fits."""
_USUAL = 0.05
"""Share of the most common step of time, up to which rows are hardly bars."""
_SUBTRACTED = 20
"""Rows in a row below 0, from which they are no event in the market."""
_FIXED, _SURELY_FIXED = 1e4, 1e6
"""Powers of ten of which all prices are multiples: from the first on it is told, from the second on refused."""
_MOMENT = re.compile(r"\s*(19|20)\d\d([-/.]?)[01]\d\2[0-3]\d[ T]?\d\d:?\d\d")
_WORD = re.compile(r"(?=.*[A-Za-z\u4e00-\u9fff])[^\s,;]{1,40}")
"""A cell that could be the name of a series: no number, no sentence."""
_ALL = slice(None)
_NO_TIMES, _LAST_INSTANT = pd.DatetimeIndex([]), pd.Timedelta("23:59:00")
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}|\s*\d{1,9}(\.0)?\s*$|\s*\d{1,2}[ -]?[AaPp][Mm]")


class NoSuchRowsError(DataError):
    """None of the rows of a table is as `where` asks, which is no fault of one table among several."""


def validate_table(
    table: RawTable,
    options: ReadingOptions,
    symbol: str = "",
    left: dict[str, LeftOut] | None = None,
    *,
    single: bool = False,
) -> list[Bars]:
    """The bars of every symbol of a table, validated, sorted by time; `symbol` names rows that name none, or, with
    `single`, all of them: the rows asked for must then be of one series, whatever a symbol column calls it.

    Rows and symbols that the options do not ask for are not looked at; symbols that have none then go into `left`.

    No volume column: volume 0, and amount 0 unless given. No amount column: volume x mean(open, high, low,
    close). Missing and negative cells of volume and amount count as 0. Of rows that are equal throughout one
    stays. `options`: see `load_bars`.

    Raises DataError, naming source, symbol, row, value and remedy, for a price that is text, not finite, not
    positive or above PRICE_LIMIT, for more than a few bars with high below low, for volumes that are no numbers, for
    unreadable times and times that step back, for rows of one time that differ, and for tables without rows;
    NoSuchRowsError where there are none that `where` asks for.
    """
    where = f"{table.source}: " if table.source else ""
    if not len(table):
        where = where or (f"{symbol}: " if symbol else "")
        raise DataError(f"{where}there are column names but no rows. Give data with at least one row.")
    try:
        return _Validator(table, options, symbol or "series", {} if left is None else left, single).read()
    except DataError as error:
        raise type(error)(f"{where}{error}") from None


class _Validator:
    """One pass over a table: checks in order, then one sort that groups symbols and orders time."""

    def __init__(
        self, table: RawTable, options: ReadingOptions, symbol: str, left: dict[str, LeftOut], single: bool = False
    ):
        self.table, self.options, self.left, self.single = table, options, left, single
        self.notes: list[tuple[Note, np.ndarray | None]] = [(note, None) for note in table.notes]
        self.index = _NO_TIMES
        self.codes, self.symbols = np.zeros(len(table), np.intp), [symbol]
        self.numbers = Numbers({}, {})
        self.plain: set[str] = set()
        """Columns of which every cell is a number in its range, 0 or more."""

    def read(self) -> list[Bars]:
        options = self.options
        self._keep(~self._headers())
        self._keep(self._chosen())
        self._name_symbols()
        if options.symbols is not None:
            wanted = [code for code, one in enumerate(self.symbols) if one in options.symbols]
            self.left |= dict.fromkeys(one for one in self.symbols if one not in options.symbols)
            self._keep(np.isin(self.codes, wanted))
        if not len(self.table):
            return []
        self.index = self._times()
        if options.start is not None or options.end is not None:
            self._keep(self._within())
        table = self.table
        if not len(table):
            return []
        found = {role: table.columns[table.roles[role]] for role in (*FEATURES, "adj_close") if role in table.roles}
        self.numbers = parse_numbers(found, decimal=options.decimal, place=table.at)
        self._note(*self.numbers.notes)
        values, unusable = self._values()
        self._refuse_impossible(values[:, :4], ~unusable)
        if options.adjust == "auto" and "adj_close" in table.roles:
            self._adjust(values, unusable)
        self._derive(values)
        if unusable.all():
            raise DataError("no row has four prices above 0. Give at least one whole row.")
        return self._group(values, ~unusable)

    def _headers(self) -> np.ndarray:
        """The rows (N,) that are column names once more, as where files were put behind one another."""
        table, none = self.table, np.zeros(len(self.table), bool)
        times = table.columns.get(table.roles.get("timestamp", ""))
        if times is None or not pd.api.types.is_string_dtype(times.dtype):
            return none
        digits = pc.fill_null(pc.match_substring_regex(arrow_text(as_series(times)), r"\d"), True)
        words = np.flatnonzero(~np.asarray(digits))
        keys = [key for role, key in table.roles.items() if role in ("timestamp", *PRICES)]
        for row in words[:1000].tolist():
            cells = [str(table.series(key).iloc[row]) for key in keys]
            none[row] = all(
                is_alias(cell) or cell == table.names.get(key) for key, cell in zip(keys, cells, strict=True)
            )
        lines = ", ".join(table.at(row) for row in np.flatnonzero(none)[:3].tolist())
        self._note(
            f"left out {count(int(none.sum()), 'line')} of column names between the rows: {lines}" if none.any() else ""
        )
        return none

    def _chosen(self) -> np.ndarray:
        """The rows (N,) that `where` asks for. What nobody asked for is not looked at any further."""
        kept = np.ones(len(self.table), bool)
        if not self.options.where:
            return kept
        keys = {name: key for key, name in self.table.names.items() if key in self.table.columns}
        for name, text in self.options.where.items():
            if name not in keys:
                raise DataError(
                    f"where= asks for rows with {text!r} in column {name!r}, but there is no such column. "
                    f"The columns are {listed([one for one in self.table.names.values() if one])}."
                )
            cells, former = self.table.series(keys[name]), kept
            kept = former & _written(cells, str(text))
            if not kept.any():
                there = _most_common(cells[former])
                raise NoSuchRowsError(f"no row has {text!r} in column {name!r}, as where= asks: {there}.")
        self._note(f"rows: {int(kept.sum()):,} of {len(kept):,} are as asked by where=")
        return kept

    def _within(self) -> np.ndarray:
        """The rows (N,) between start and end; those whose time cannot be read have been refused."""
        kept = np.zeros(len(self.index), bool)
        order = np.argsort(self.index.asi8, kind="stable")
        lo, hi = rows_between(self.index[order], self.options.start, self.options.end)
        kept[order[lo:hi]] = True
        for code in np.setdiff1d(self.codes, self.codes[kept]).tolist():
            own = self.index[self.codes == code]
            self.left[self.symbols[code]] = str(own.min()), str(own.max())
        return kept

    def _keep(self, kept: np.ndarray) -> None:
        """Go on with some of the rows."""
        if not kept.all():
            self.table, self.codes = self.table.only(kept), self.codes[kept]
            self.index = self.index[kept] if len(self.index) else self.index
            self.notes = [(note, about if about is None else about[kept]) for note, about in self.notes]

    def _name_symbols(self) -> None:
        """Number the symbols of a symbol column in alphabetical order: `codes` (N,), -1 for an empty cell."""
        column = self.table.column("symbol")
        if column is None:
            return
        cells, found = pd.factorize(column)
        names = pd.Series(found).astype("string").str.strip()  # what is distinct is little
        inner, distinct = pd.factorize(names.mask(names == ""), sort=True)
        if self.single:
            if len(distinct) > 1:
                raise DataError(
                    f"{self.symbols[0]} is to be one series, but {self.table.named('symbol')!r} has {len(distinct):,} symbols "
                    f"({listed(list(distinct), 3)}). Pick one of them with where=, or, where it is one series, say that this "
                    "column names none, columns={'symbol': ''}."
                )
            return
        self.codes = np.append(inner, -1)[cells]  # an empty cell, -1, takes the last one
        self.symbols = [str(name) for name in distinct]
        self._refuse(self.codes < 0, f"no symbol in {self.table.named('symbol')!r}", "Fill in the symbol.")

    def _note(self, *texts: str, kind: Kind = "read", about: np.ndarray | None = None) -> None:
        """Tell this of all symbols; or of those that have rows it is `about` (N,), with how many and when."""
        if about is None or about.any():
            self.notes += [(Note(text, kind), about) for text in texts if text]

    def _times(self) -> pd.DatetimeIndex:
        raw, clock = self.table.columns[self.table.roles["timestamp"]], self.table.column("time")
        if clock is not None and not all(_CLOCK.match(str(one)) for one in clock.dropna().head(100)):
            if all(_MOMENT.match(str(one)) for one in clock.dropna().head(100)):
                raw = clock
                self._note(f"times: from {self.table.named('time')!r}, which has the date as well")
            clock = None  # a column named `time` that holds something else
        times = parse_times(
            raw, clock, timezone=self.options.timezone, date_format=self.options.date_format,
            stated=self.table.stated_zone, series=self.codes, place=self.table.at,
        )  # fmt: skip
        self._refuse(
            np.asarray(times.index.isna()),
            "unreadable timestamp in {}",
            f"{times.hint} {times.remedy}".strip(),
            "timestamp",
            raw,
        )
        self._note(*times.notes)
        self._note_steps(times.index)
        return self._by_day(times.index)

    def _note_steps(self, index: pd.DatetimeIndex) -> None:
        """Tell where hardly two of the first rows of a symbol are equally far apart: as of trades, or another column."""
        steps = np.abs(np.diff(index.asi8[self.codes == self.codes[0]][:500]))
        steps = steps[steps > 0]
        usual = int(np.unique(steps, return_counts=True)[1].max(initial=0))
        if len(steps) >= 20 and usual <= max(1, _USUAL * len(steps)):
            name = self.table.named("timestamp")
            others = [one for one in candidates(["timestamp"], list(self.table.names.values()))[0] if one != name]
            told = f"; other columns of times: {listed(others, 6)}, columns={{'timestamp': ...}}" if others else ""
            few = f"at most {usual} of {len(steps)}" if usual > 1 else "no two"
            self._note(f"times: {few} steps in {name!r} are equal, unlike those of bars{told}", kind="kept")

    def _by_day(self, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Daily bars that are dated by the last instant of their day, dated by the day."""
        if not len(index) or index[0].hour < 12 or index[0] - index[0].normalize() < _LAST_INSTANT:
            return index
        clock = index - index.normalize()
        if clock.min() != clock.max():
            return index
        self._note(
            f"times: {clock.min()} on every day, the last instant of a day: dated by the day".replace("0 days ", "")
        )
        return index.normalize()

    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, 6) float64, NaN for absent volumes and amounts, and which rows (N,) to drop."""
        values = np.empty((len(FEATURES), len(self.table))).T  # columns contiguous: all work is by column
        for position, name in enumerate(FEATURES):
            values[:, position] = self._numbers(name) if name in self.table.roles else np.nan
        prices = values[:, :4]
        if self.options.price_scale is None:
            self._refuse_scaled(prices)
        elif self.options.price_scale != 1:
            self._note(f"prices: divided by {self.options.price_scale:,g}, as asked")
        if self.plain >= set(PRICES):
            return values, np.zeros(len(values), bool)
        absent, below = np.isnan(prices), prices <= 0
        gaps = np.asarray(absent.any(axis=1))
        low = np.asarray(below.any(axis=1)) & ~gaps
        if self.options.missing == "error":
            remedy = 'Drop or fill these rows, or pass missing="drop".'
            self._refuse(gaps, "missing value in {}", remedy, _first_of(absent))
            if low.any():
                self._refuse(low, "{} is not positive", self._way_up(low, prices), _first_of(below))
        self._note("dropped {rows} with a missing price", kind="dropped", about=gaps)
        self._note("dropped {rows} with a price that is not above 0", kind="dropped", about=low)
        return values, gaps | low

    def _way_up(self, low: np.ndarray, prices: np.ndarray) -> str:
        """The remedy for rows (N,) with prices (N, 4) at or below 0: single ones, or a past that was subtracted away."""
        own = np.flatnonzero(self.codes == self.codes[int(np.argmax(low))])
        bad, times = low[own], self.index[own]
        last, edges = times[bad].max(), np.flatnonzero(np.diff(bad, prepend=False, append=False))
        negative = (prices[own][bad] < 0).any(axis=1).mean() > 0.5
        if negative and (edges[1::2] - edges[::2]).max() >= _SUBTRACTED:
            later = times[~bad & np.asarray(times > last)]
            since = f", or take only the rows since, start='{later.min()}'" if len(later) else ""
            return (
                f"So many in a row, to {last}, come of prices that were adjusted by subtraction: use prices that were adjusted "
                f"by factors (backward or proportional){since}."
            )
        until = f", from {times[bad].min()} to {last}," if bad.sum() > 1 else ""
        return f'Prices must be above 0: correct these rows{until or ","} or pass missing="drop".'

    def _refuse_scaled(self, prices: np.ndarray) -> None:
        """Refuse prices (N, 4) that are whole multiples of a million or more: fixed point, as of nanos of a dollar.

        Gold in dong is a multiple of 100,000 and shares in won of 1,000: below a million there is a note at most.
        """
        close = prices[:, 3]
        if self.table.lean:
            raise DataError(
                "no column names and whole prices: this looks like a file of LEAN, which has prices times 10,000. Divide "
                "them, price_scale=10000, or say that they are right as they are, price_scale=1."
            )
        if len(close) < 20 or (close[:20] % _FIXED).any() or len(np.unique(close[:1000])) < 10 or not (close > 0).all():
            return
        if (prices % _FIXED).any():
            return
        step = _FIXED
        while not (prices % (10 * step)).any():
            step *= 10
        told = f"all prices are multiples of {step:,.0f}, as where they are written as whole numbers of a small unit"
        scale = f"{step * 100:.0f}"
        remedy = f"price_scale={scale} (the first close is {close[0] / step / 100:g} then)"
        if step >= _SURELY_FIXED:
            raise DataError(
                f"{told}. Divide them, for example {remedy}, or say that they are right as they are, price_scale=1."
            )
        self._note(f"prices: {told}: if so, {remedy}; if not, price_scale=1", kind="kept")

    def _numbers(self, name: str) -> np.ndarray:
        """A column as (N,) float64, NaN where empty; text, infinite and oversized values are errors."""
        numbers = self.numbers.values[name]
        if self.options.price_scale is not None and name in (*PRICES, "adj_close"):
            numbers = numbers / self.options.price_scale
        if name in self.numbers.text:
            sign = self.options.decimal
            only = "numbers only" if sign == "auto" else f"numbers only, written with decimal={sign!r}"
            self._refuse(self.numbers.text[name], "text in {}", f"Correct or drop these rows: {only}.", name)
        least, most = (PRICE_FLOOR, PRICE_LIMIT) if name in PRICES else (0, FLOAT32_MAX)
        if numbers.min() >= least and numbers.max() <= most:  # false for NaN
            self.plain.add(name)
            return numbers
        self._refuse(np.isinf(numbers), "infinite value in {}", "Correct or drop these rows.", name)
        if name in PRICES:
            what = f"{{}} is above {PRICE_LIMIT:.0e}, higher than any price"
            remedy = "Correct these rows, or divide all prices, for example price_scale=1000000000."
            self._refuse(np.abs(numbers) > PRICE_LIMIT, what, remedy, name)
            what = f"{{}} is below {PRICE_FLOOR:.0e}, less than float32 can tell from 0"
            remedy = "Correct these rows, or use a smaller unit."
            self._refuse((numbers > 0) & (numbers < PRICE_FLOOR), what, remedy, name)
        self._refuse(np.abs(numbers) > FLOAT32_MAX, "{} is beyond what float32 holds", _LARGER, name)
        return numbers

    def _refuse_impossible(self, prices: np.ndarray, usable: np.ndarray) -> None:
        """Refuse prices (N, 4) that are no open, high, low, close but something else under these names."""
        opens, highs, lows, closes = prices.T
        upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
        outside = usable & ~((highs >= upper) & (lows <= lower))
        if not outside.any():
            return
        upside_down, of = outside & (highs < lows), max(1, int(usable.sum()))
        inverted = upside_down.sum() > 2 and upside_down.sum() > _IMPOSSIBLE * of
        if inverted or (outside.sum() >= 20 and outside.sum() > _GLUED * of):
            order = price_order(prices[usable], ANY_ORDER)
            remedy = "Correct these rows, or name the columns, columns={'high': ...}."
            if order is not None and order != PRICES:
                names = dict(zip(order, (self.table.named(role) for role in PRICES), strict=True))
                fits = ", ".join(f"{role!r}: {names[role]!r}" for role in PRICES)
                remedy = f"In another order they fit: columns={{{fits}}}."
            if inverted:
                self._refuse(upside_down, "high is below low", remedy)
            elif order is not None:
                self._refuse(outside, "high or low lies within the body", remedy)
        self._note("high below low in {rows}: kept", kind="kept", about=upside_down)

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
            self._note(
                'scaled prices by adj_close / close, volume by the inverse; adjust="none" leaves them', kind="adjusted"
            )

    def _derive(self, values: np.ndarray) -> None:
        """Fill volume and amount in place as the module says."""
        roles = self.table.roles
        for position, name in ((4, "volume"), (5, "amount")):
            if name in self.plain:
                continue
            negative = values[:, position] < 0
            values[negative, position] = 0
            gaps = np.isnan(values[:, position])
            self._note(f"{{rows}} with negative {name}: taken as 0", kind="filled", about=negative)
            if name in roles:
                self._note(f"{{rows}} without {name}: taken as 0", kind="filled", about=gaps)
            if name in roles or name == "volume":
                values[gaps, position] = 0
        if "volume" not in roles:
            self._note(f"no volume column: volume is 0{'' if 'amount' in roles else ', amount too'}", kind="absent")
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
        """The bars of each symbol: its rows in time order, without those to leave out, and equal ones once."""
        ticks, twin, former, piece = self.index.asi8, *np.full((3, len(values)), -1)
        back, repeated, mixed = (np.zeros(len(ticks), bool) for _ in range(3))
        parts, found = self._by_symbol(), []
        for rows in parts:
            times, told, cuts = ticks[rows], "", np.empty(0, np.int64)
            if not ((times[1:] > times[:-1]).all() and keep[rows].all()):
                rows = np.arange(len(ticks))[rows]
                falls, rises = np.diff(times) < 0, np.diff(times) > 0
                if falls.any():
                    newest_first = not rises.any()
                    told = f"rows were {'newest first' if newest_first else 'not in time order'}: sorted"
                    back[rows[1:][falls]] = not newest_first
                    piece[rows] = np.cumsum(np.append(0, falls if falls.sum() <= rises.sum() else rises))
                rows = rows[np.argsort(times, kind="stable")]
                before = np.cumsum(~keep[rows])[keep[rows]]  # rows left out so far: a step marks a split
                rows = rows[keep[rows]]
                again = np.append(ticks[rows[1:]] == ticks[rows[:-1]], np.zeros(len(rows[:1]), bool))
                repeated[rows[again]] = True
                places = np.flatnonzero(again[:-1])
                places = places[(values[rows[places + 1]] != values[rows[places]]).any(axis=1)]
                other = rows[places + 1]
                mixed[other] = len(other) > max(2, _GLUED * len(rows))
                twin[other] = rows[places]
                rows, before = rows[~again], before[~again]
                if falls.any() and len(steps := strangers(ticks[rows], values[rows, 3], piece[rows])):
                    former[rows[steps]] = rows[steps - 1]
                if self.options.missing == "split":
                    cuts = np.flatnonzero(np.diff(before)) + 1
            found.append((rows, cuts, told))
        stepped = self._stepped(back) if self.options.unsorted == "error" and back.any() else ""
        several = "Several series in one file need a symbol column, columns={'symbol': ...}, or a file each."
        if mixed.any():  # most times come again with other prices
            what = (
                f"{stepped}, to the same times with other prices"
                if stepped
                else "the same time again with other prices"
            )
            self._refuse(mixed, what, self._telling(mixed, twin) or several)
        if (twin >= 0).any():
            self._refuse_twins(twin)
        if (strange := former >= 0).any():
            row = int(np.argmax(strange))
            what = f"{stepped or 'rows are not in time order'}, and sorted they are no one series: prices jump, as "
            what += f"from {values[former[row], 3]:g} to {values[row, 3]:g},"
            remedy = self._telling(strange, former) or f"{several} Is it one series nevertheless, sort the file's rows."
            self._refuse(strange, what, remedy)
        if stepped:
            remedy = 'Sort the rows or pass unsorted="sort" (--sort); several series in one file need a symbol column.'
            self._refuse(back, stepped, remedy, rows=False)
        self._note("dropped {rows} that came twice", kind="repeated", about=repeated)
        plain = [note for note, about in self.notes if about is None]
        counted = [(note, about) for note, about in self.notes if about is not None]
        bars = []
        for symbol, own, (rows, cuts, told) in zip(self.symbols, parts, found, strict=True):
            notes = [*plain, *(self._counted(note, about, own) for note, about in counted if about[own].any())]
            notes += [Note(told)] if told else []
            index, prices = (self.index, values) if rows is _ALL else (self.index[rows], values[rows])
            if len(index):
                bars.append(
                    Bars(symbol, index, prices, self.table.source, tuple(notes), cut_segments(cuts, len(index)))
                )
        return bars

    def _counted(self, note: Note, about: np.ndarray, own: Any) -> Note:
        """A note with the number of a symbol's rows that it is about, and their first and last time."""
        times = self.index[own][about[own]]
        return Note(note.text, note.kind, len(times), str(times.min()), str(times.max()))

    def _by_symbol(self) -> list[Any]:
        """Which rows each symbol has, in their order: slices where that can be, for these copy nothing."""
        symbols = len(self.symbols)
        if symbols == 1:
            return [_ALL]
        new = np.flatnonzero(self.codes[1:] != self.codes[:-1]) + 1
        edges = [0, *new.tolist(), len(self.codes)]
        # One symbol after the other. As many runs as symbols do not say so: some symbols may have no rows left.
        if len(new) == symbols - 1 and len(set(firsts := self.codes[edges[:-1]].tolist())) == symbols:
            return [slice(*edges[at : at + 2]) for at in np.argsort(firsts)]
        # Stable, and by few bits: numpy then sorts by counting.
        order = np.argsort(self.codes.astype(np.min_scalar_type(symbols)), kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.codes, minlength=symbols))[:-1])

    def _refuse_twins(self, twin: np.ndarray) -> None:
        """Refuse rows that have the time of the row `twin` (N,), -1 for none, and say something else."""
        row = int(np.argmax(twin >= 0))
        one, two = (self.table.cells(place) for place in (int(twin[row]), row))
        shared = [name for name in one if name in two and one[name] != two[name]]
        first, second = (", ".join(f"{name} {cells[name]}" for name in shared[:6]) for cells in (one, two))
        told = f" ({self.table.at(int(twin[row]))}: {first}; {self.table.at(row)}: {second})" if shared else ""
        remedy = self._telling(twin >= 0, twin) or (
            _clock_change(self.index[row])
            or "Nothing tells which of them is right: remove one of each, or name the symbol's column, "
            "columns={'symbol': ...}."
        )
        self._refuse(twin >= 0, f"the same time again with other values{told}", remedy)

    def _telling(self, rows: np.ndarray, twin: np.ndarray) -> str:
        """The remedy that a column of words gives, which tells rows from their twins; empty without one."""
        pairs = [(self.table.cells(int(twin[row])), self.table.cells(int(row))) for row in np.flatnonzero(rows)[:20]]
        taken = {self.table.named(role) for role in self.table.roles if role != "symbol"}
        for name in pairs[0][0]:
            cells = [(one.get(name, ""), two.get(name, "")) for one, two in pairs]
            words = all(a != b and _WORD.fullmatch(a) and _WORD.fullmatch(b) for a, b in cells)
            if name and name not in taken and words:
                one, two = cells[0]
                return (
                    f"Column {name!r} tells them apart, as {one!r} and {two!r}: pick rows with "
                    f"where={{{name!r}: {one!r}}}, or, where each is a series, columns={{'symbol': {name!r}}}."
                )
        return ""

    def _stepped(self, back: np.ndarray) -> str:
        row = int(np.argmax(back))
        before = row - 1 - int(np.argmax(self.codes[:row][::-1] == self.codes[row]))
        return f"time steps back in {count(int(back.sum()), 'place')}, after {self.index[before]}"

    def _refuse(
        self, bad: np.ndarray, what: str, remedy: str, role: str = "", raw: Column | None = None, rows: bool = True
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
        value = "" if raw is None else f": {_shown(as_series(raw).iloc[row])}"
        time = f" at {self.index[row]}" if len(self.index) and not pd.isna(self.index[row]) else ""
        raise DataError(
            f"{symbol}{what}{f' in {how_many}' if rows else ''}, first{time} ({self.table.at(row)}){value}. {remedy}"
        )


def _written(cells: pd.Series, text: str) -> np.ndarray:
    """The cells (N,) that are this text, or the number or truth value that it says."""
    if pd.api.types.is_bool_dtype(cells.dtype):
        cells, text = cells.astype("string").str.casefold(), text.casefold()
    elif pd.api.types.is_numeric_dtype(cells.dtype):
        return np.asarray((cells == pd.to_numeric(text, errors="coerce")).fillna(False), bool)
    return np.asarray((cells.astype("string").str.strip() == text).fillna(False), bool)


def _most_common(cells: pd.Series) -> str:
    """What a column holds, in words."""
    found = cells.astype("string").value_counts()
    shown = ", ".join(f"{value!r} ({count(int(rows), 'row')})" for value, rows in found.head(5).items())
    return f"it has {shown}" + (f" and {len(found) - 5:,} others" if len(found) > 5 else "") if shown else "it is empty"


def _first_of(bad: np.ndarray) -> str:
    """The price of the first bad cell (N, 4), by rows."""
    return PRICES[int(np.argmax(bad[int(np.argmax(bad.any(axis=1)))]))]


def _clock_change(time: pd.Timestamp) -> str:
    """The remedy where local time came twice as clocks went back; empty on other days and where a zone is known."""
    if time.tz is not None or time.day_of_week != 6 or time.hour > 3:
        return ""
    zone = {11: "America/New_York", 10: "Europe/Berlin"}.get(time.month)
    if zone is None or (time.month == 11 and time.day > 7) or (time.month == 10 and time.day < 25):
        return ""
    return (
        f"On that day clocks go back and an hour comes twice: give the zone, timezone={zone!r} or that of the exchange."
    )


def _shown(value: Any) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "empty"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return str(value)
