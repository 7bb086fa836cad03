"""The numbers of a table: six values a row, prices adjusted where that is asked for, volume and amount filled in."""

from __future__ import annotations

import numpy as np

from chandler.data.columns import FEATURES, PRICES
from chandler.data.reading.numbers import Numbers, parse_numbers
from chandler.data.reading.validation.prices import (
    PRICE_FLOOR,
    PRICE_LIMIT,
    refuse_impossible,
    refuse_scaled,
    unusable_rows,
)
from chandler.data.reading.validation.state import TableState
from chandler.errors import DataError

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LARGER = "Use a larger unit, for example volume in thousands."


def read_values(state: TableState) -> tuple[np.ndarray, np.ndarray]:
    """The values (N, 6) float64 of the rows, and which of them (N,) can be used.

    Raises:
        DataError: numbers that are none, or none of prices and volumes, and tables without a usable row.
    """
    table, options = state.table, state.options
    found = {role: table.columns[table.roles[role]] for role in (*FEATURES, "adj_close") if role in table.roles}
    numbers = parse_numbers(found, decimal=options.decimal, place=table.at)
    state.note(*numbers.notes)
    values = np.empty((len(FEATURES), len(table))).T  # columns contiguous: all work is by column
    plain: set[str] = set()  # columns of which every cell is a number in its range, 0 or more
    for position, name in enumerate(FEATURES):
        values[:, position] = _column(state, numbers, name, plain) if name in table.roles else np.nan
    prices = values[:, :4]
    if options.price_scale is None:
        refuse_scaled(state, prices)
    elif options.price_scale != 1:
        state.note(f"prices: divided by {options.price_scale:,g}, as asked")
    unusable = np.zeros(len(values), bool) if plain >= set(PRICES) else unusable_rows(state, prices)
    refuse_impossible(state, prices, ~unusable)
    if options.adjust == "auto" and "adj_close" in table.roles:
        _adjust(state, values, _column(state, numbers, "adj_close", plain), unusable)
    _derive(state, values, plain)
    if unusable.all():
        raise DataError("no row has four prices above 0. Give at least one whole row.")
    return values, ~unusable


def _column(state: TableState, numbers: Numbers, name: str, plain: set[str]) -> np.ndarray:
    """A column as (N,) float64, NaN where empty; text, infinite and oversized values are errors. One without anything to
    look at goes into `plain`."""
    column = numbers.values[name]
    if state.options.price_scale is not None and name in (*PRICES, "adj_close"):
        column = column / state.options.price_scale
    if name in numbers.text:
        sign = state.options.decimal
        only = "numbers only" if sign == "auto" else f"numbers only, written with decimal={sign!r}"
        state.refuse(numbers.text[name], "text in {}", f"Correct or drop these rows: {only}.", name)
    least, most = (PRICE_FLOOR, PRICE_LIMIT) if name in PRICES else (0, _FLOAT32_MAX)
    if column.min() >= least and column.max() <= most:  # false for NaN
        plain.add(name)
        return column
    state.refuse(np.isinf(column), "infinite value in {}", "Correct or drop these rows.", name)
    if name in PRICES:
        what = f"{{}} is above {PRICE_LIMIT:.0e}, higher than any price"
        remedy = "Correct these rows, or divide all prices, for example price_scale=1000000000."
        state.refuse(np.abs(column) > PRICE_LIMIT, what, remedy, name)
        what = f"{{}} is below {PRICE_FLOOR:.0e}, less than float32 can tell from 0"
        remedy = "Correct these rows, or use a smaller unit."
        state.refuse((column > 0) & (column < PRICE_FLOOR), what, remedy, name)
    state.refuse(np.abs(column) > _FLOAT32_MAX, "{} is beyond what float32 holds", _LARGER, name)
    return column


def _adjust(state: TableState, values: np.ndarray, adjusted: np.ndarray, unusable: np.ndarray) -> None:
    """Scale prices in place as their adjusted closes (N,) say, and volume by the inverse."""
    remedy = 'Correct these rows, or pass adjust="none" to use prices as traded.'
    state.refuse(~(adjusted > 0) & ~unusable, "{} is missing or not positive", remedy, "adj_close")
    factor = np.ones(len(values))
    np.divide(adjusted, values[:, 3], out=factor, where=~unusable)
    values[:, :4] *= factor[:, None]
    values[:, 4] /= factor
    beyond = ~unusable & ((np.abs(values[:, 4]) > _FLOAT32_MAX) | (values[:, :4].min(axis=1) < PRICE_FLOOR))
    beyond |= ~unusable & (values[:, :4].max(axis=1) > PRICE_LIMIT)
    state.refuse(beyond, "scaling by {} leaves no usable price or volume", remedy, "adj_close")
    if np.abs(factor - 1).max() > 1e-9:
        state.note(
            'scaled prices by adj_close / close, volume by the inverse; adjust="none" leaves them', kind="adjusted"
        )


def _derive(state: TableState, values: np.ndarray, plain: set[str]) -> None:
    """Fill volume and amount in place as `validate_table` says."""
    roles = state.table.roles
    for position, name in ((4, "volume"), (5, "amount")):
        if name in plain:
            continue
        negative = values[:, position] < 0
        values[negative, position] = 0
        gaps = np.isnan(values[:, position])
        state.note(f"{{rows}} with negative {name}: taken as 0", kind="filled", about=negative)
        if name in roles:
            state.note(f"{{rows}} without {name}: taken as 0", kind="filled", about=gaps)
        if name in roles or name == "volume":
            values[gaps, position] = 0
    if "volume" not in roles:
        state.note(f"no volume column: volume is 0{'' if 'amount' in roles else ', amount too'}", kind="absent")
    if "amount" not in roles:
        amount = values[:, 5]
        np.add(values[:, 0], values[:, 1], out=amount)
        amount += values[:, 2]
        amount += values[:, 3]
        amount /= 4
        amount *= values[:, 4]
        if not plain >= {*PRICES, "volume"}:
            amount[~(values[:, 4] > 0)] = 0
        if "volume" in roles:
            state.note("no amount column: amount is volume x mean(open, high, low, close)")
        state.refuse(amount > _FLOAT32_MAX, "volume x price is beyond what float32 holds", _LARGER)
