"""Which rows of a table are asked for, and of which symbol each is. What nobody asked for is not looked at any further."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from chandler.data.bars import rows_between
from chandler.data.column_names import is_alias
from chandler.data.columns import PRICES, as_series
from chandler.data.reading.numbers import arrow_text
from chandler.data.reading.options import LeftOut
from chandler.data.reading.validation.state import TableState
from chandler.errors import DataError
from chandler.text import count, listed


class NoSuchRowsError(DataError):
    """None of the rows of a table is as `where` asks, which is no fault of one table among several."""


def leave_headers(state: TableState) -> None:
    """Leave out the rows that are column names once more, as where files were put behind one another."""
    table = state.table
    times = table.columns.get(table.roles.get("timestamp", ""))
    if times is None or not pd.api.types.is_string_dtype(times.dtype):
        return
    digits = pc.fill_null(pc.match_substring_regex(arrow_text(as_series(times)), r"\d"), True)
    words = np.flatnonzero(~np.asarray(digits))
    keys = [key for role, key in table.roles.items() if role in ("timestamp", *PRICES)]
    headers = np.zeros(len(table), bool)
    for row in words[:1000].tolist():
        cells = [str(table.series(key).iloc[row]) for key in keys]
        headers[row] = all(
            is_alias(cell) or cell == table.names.get(key) for key, cell in zip(keys, cells, strict=True)
        )
    if headers.any():
        lines = ", ".join(table.at(row) for row in np.flatnonzero(headers)[:3].tolist())
        state.note(f"left out {count(int(headers.sum()), 'line')} of column names between the rows: {lines}")
        state.keep(~headers)


def select_rows(state: TableState) -> None:
    """Keep the rows that `where` asks for.

    Raises:
        DataError: a column that is not there; NoSuchRowsError where no row is as asked.
    """
    table, where = state.table, state.options.where
    if not where:
        return
    kept = np.ones(len(table), bool)
    keys = {name: key for key, name in table.names.items() if key in table.columns}
    for name, text in where.items():
        if name not in keys:
            raise DataError(
                f"where= asks for rows with {text!r} in column {name!r}, but there is no such column. "
                f"The columns are {listed([one for one in table.names.values() if one])}."
            )
        cells, former = table.series(keys[name]), kept
        kept = former & _written(cells, str(text))
        if not kept.any():
            there = _most_common(cells[former])
            raise NoSuchRowsError(f"no row has {text!r} in column {name!r}, as where= asks: {there}.")
    state.note(f"rows: {int(kept.sum()):,} of {len(kept):,} are as asked by where=")
    state.keep(kept)


def number_symbols(state: TableState, left: dict[str, LeftOut], single: bool) -> None:
    """Number the symbols of a symbol column in alphabetical order, and keep those that are asked for; the others go into
    `left`. With `single`, the rows are of one series: its name stays.

    Raises:
        DataError: rows without a symbol, and with `single` several of them.
    """
    _name_symbols(state, single)
    wanted = state.options.symbols
    if wanted is not None:
        left.update(dict.fromkeys(one for one in state.symbols if one not in wanted))
        state.keep(np.isin(state.codes, [code for code, one in enumerate(state.symbols) if one in wanted]))


def _name_symbols(state: TableState, single: bool) -> None:
    column = state.table.column("symbol")
    if column is None:
        return
    cells, found = pd.factorize(column)
    names = pd.Series(found).astype("string").str.strip()  # what is distinct is little
    inner, distinct = pd.factorize(names.mask(names == ""), sort=True)
    if single:
        if len(distinct) > 1:
            raise DataError(
                f"{state.symbols[0]} is to be one series, but {state.table.named('symbol')!r} has {len(distinct):,} symbols "
                f"({listed(list(distinct), 3)}). Pick one of them with where=, or, where it is one series, say that this "
                "column names none, columns={'symbol': ''}."
            )
        return
    state.codes = np.append(inner, -1)[cells]  # an empty cell, -1, takes the last one
    state.symbols = [str(name) for name in distinct]
    state.refuse(state.codes < 0, f"no symbol in {state.table.named('symbol')!r}", "Fill in the symbol.")


def select_period(state: TableState, left: dict[str, LeftOut]) -> None:
    """Keep the rows between start and end; a symbol without any goes into `left`, with the time that it has. Rows whose time
    cannot be read have been refused."""
    options, index = state.options, state.index
    if options.start is None and options.end is None:
        return
    kept = np.zeros(len(index), bool)
    order = np.argsort(index.asi8, kind="stable")
    lo, hi = rows_between(index[order], options.start, options.end)
    kept[order[lo:hi]] = True
    for code in np.setdiff1d(state.codes, state.codes[kept]).tolist():
        own = index[state.codes == code]
        left[state.symbols[code]] = str(own.min()), str(own.max())
    state.keep(kept)


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
