"""Whether what stands in the columns of prices can be prices: above 0, in their own unit, high above low."""

from __future__ import annotations

import numpy as np

from chandler.data.columns import PRICES
from chandler.data.reading.column_roles import ANY_ORDER, price_order
from chandler.data.reading.validation.state import TableState
from chandler.errors import DataError

PRICE_LIMIT = 1e12
"""No market quotes a unit this high: such a column is none of prices, or in a broken unit."""
PRICE_FLOOR = 1e-30
"""Below this float32 loses digits, and then the price."""
_IMPOSSIBLE = 0.01
"""Share of bars with high below low, from which the columns must be others than their names say."""
_WITHIN = 0.2
"""Share of bars whose high or low lies within the body, from which another order of columns is believed where it fits."""
_SUBTRACTED = 20
"""Rows in a row below 0, from which they are no event in the market."""
_FIXED, _SURELY_FIXED = 1e4, 1e6
"""Powers of ten of which all prices are multiples: from the first on it is told, from the second on refused."""


def unusable_rows(state: TableState, prices: np.ndarray) -> np.ndarray:
    """The rows (N,) that lack a price, or have one, (N, 4), that is not above 0.

    Raises:
        DataError: there are some, and the options say that this is an error.
    """
    absent, below = np.isnan(prices), prices <= 0
    gaps = np.asarray(absent.any(axis=1))
    low = np.asarray(below.any(axis=1)) & ~gaps
    if state.options.missing == "error":
        remedy = 'Drop or fill these rows, or pass missing="drop".'
        state.refuse(gaps, "missing value in {}", remedy, _first_of(absent))
        if low.any():
            state.refuse(low, "{} is not positive", _way_up(state, low, prices), _first_of(below))
    state.note("dropped {rows} with a missing price", kind="dropped", about=gaps)
    state.note("dropped {rows} with a price that is not above 0", kind="dropped", about=low)
    return gaps | low


def _first_of(bad: np.ndarray) -> str:
    """The price of the first bad cell (N, 4), by rows."""
    return PRICES[int(np.argmax(bad[int(np.argmax(bad.any(axis=1)))]))]


def _way_up(state: TableState, low: np.ndarray, prices: np.ndarray) -> str:
    """The remedy for rows (N,) with prices (N, 4) at or below 0: single ones, or a past that was subtracted away."""
    own = np.flatnonzero(state.codes == state.codes[int(np.argmax(low))])
    bad, times = low[own], state.index[own]
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


def refuse_scaled(state: TableState, prices: np.ndarray) -> None:
    """Refuse prices (N, 4) that are whole multiples of a million or more: fixed point, as of nanos of a dollar.

    Gold in dong is a multiple of 100,000 and shares in won of 1,000: below a million there is a note at most.
    """
    close = prices[:, 3]
    if state.table.lean:
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
    state.note(f"prices: {told}: if so, {remedy}; if not, price_scale=1", kind="kept")


def refuse_impossible(state: TableState, prices: np.ndarray, usable: np.ndarray) -> None:
    """Refuse prices (N, 4) that are no open, high, low, close but something else under these names."""
    opens, highs, lows, closes = prices.T
    upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
    outside = usable & ~((highs >= upper) & (lows <= lower))
    if not outside.any():
        return
    upside_down, of = outside & (highs < lows), max(1, int(usable.sum()))
    inverted = upside_down.sum() > 2 and upside_down.sum() > _IMPOSSIBLE * of
    if inverted or (outside.sum() >= 20 and outside.sum() > _WITHIN * of):
        order = price_order(prices[usable], ANY_ORDER)
        remedy = "Correct these rows, or name the columns, columns={'high': ...}."
        if order is not None and order != PRICES:
            names = dict(zip(order, (state.table.named(role) for role in PRICES), strict=True))
            fits = ", ".join(f"{role!r}: {names[role]!r}" for role in PRICES)
            remedy = f"In another order they fit: columns={{{fits}}}."
        if inverted:
            state.refuse(upside_down, "high is below low", remedy)
        elif order is not None:
            state.refuse(outside, "high or low lies within the body", remedy)
    state.note("high below low in {rows}: kept", kind="kept", about=upside_down)
