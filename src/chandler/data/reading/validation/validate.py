"""One pass over a raw table: every check in its order, and at the end the bars of each symbol."""

from __future__ import annotations

from chandler.data.bars import Bars
from chandler.data.columns import RawTable
from chandler.data.reading.options import LeftOut, ReadingOptions
from chandler.data.reading.validation.grouping import group_bars
from chandler.data.reading.validation.selection import leave_headers, number_symbols, select_period, select_rows
from chandler.data.reading.validation.state import TableState
from chandler.data.reading.validation.time_index import read_index
from chandler.data.reading.validation.values import read_values
from chandler.errors import DataError


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
    positive or above `prices.PRICE_LIMIT`, for more than a few bars with high below low, for volumes that are no numbers,
    for unreadable times and times that step back, for rows of one time that differ, and for tables without rows;
    NoSuchRowsError where there are none that `where` asks for.
    """
    where = f"{table.source}: " if table.source else ""
    if not len(table):
        where = where or (f"{symbol}: " if symbol else "")
        raise DataError(f"{where}there are column names but no rows. Give data with at least one row.")
    try:
        return _validated(TableState(table, options, symbol or "series"), {} if left is None else left, single)
    except DataError as error:
        raise type(error)(f"{where}{error}") from None


def _validated(state: TableState, left: dict[str, LeftOut], single: bool) -> list[Bars]:
    leave_headers(state)
    select_rows(state)
    number_symbols(state, left, single)
    if not len(state.table):
        return []
    state.index = read_index(state)
    select_period(state, left)
    if not len(state.table):
        return []
    values, usable = read_values(state)
    return group_bars(state, values, usable)
