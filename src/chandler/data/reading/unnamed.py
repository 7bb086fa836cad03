"""Bars whose columns have no names: which is which, as the rows themselves show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chandler.data.columns import PRICES

ORDERS = (PRICES, ("low", "high", "open", "close"), ("open", "close", "high", "low"))
"""How exchanges order four prices; the first that fits is taken."""
_FITS = 0.98


def price_order(prices: np.ndarray) -> tuple[str, ...] | None:
    """The order of four columns of prices (N, 4): the first of ORDERS whose high and low fit 98% of the rows.

    None where none fits, and where flat bars alone prove nothing.
    """
    for order in ORDERS:
        opens, highs, lows, closes = (prices[:, order.index(name)] for name in PRICES)
        upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
        fits = (highs >= upper).mean() > _FITS and (lows <= lower).mean() > _FITS
        if fits and ((highs > upper).any() or (lows < lower).any()):
            return order
    return None


def usual_order(prices: np.ndarray) -> bool:
    """Whether half of the rows (N, 4) could be open, high, low, close."""
    opens, highs, lows, closes = prices.T
    return bool(((highs >= np.maximum(opens, closes)) & (lows <= np.minimum(opens, closes))).mean() >= 0.5)


def behind_prices(prices: np.ndarray, order: Sequence[str], rest: np.ndarray) -> dict[str, int]:
    """Role -> position in `rest` (N, K), the columns behind the prices (N, 4): volume, and amount where there is one.

    The first is volume, or the mean price where it always lies between low and high and more columns follow, as
    Kraken answers. The amount is the column that is volume x price.
    """
    if not rest.shape[1]:
        return {}
    high, low, close = (prices[:, order.index(name)] for name in ("high", "low", "close"))
    traded = rest[:, 0] != 0
    mean = rest.shape[1] > 2 and traded.any() and bool(((rest[:, 0] >= low) & (rest[:, 0] <= high))[traded].all())
    found = {"volume": int(mean)}
    value = rest[:, found["volume"]] * close
    for position in range(found["volume"] + 1, rest.shape[1]):
        both = (value > 0) & (rest[:, position] > 0)
        if both.any() and 0.8 < np.median(rest[both, position] / value[both]) < 1.25:
            return {**found, "amount": position}
    return found


def as_numbers(rows: Sequence[Sequence[Any]], first: int) -> np.ndarray | None:
    """The cells from column `first` on, (N, K) float64, NaN where no number; None where a price is none."""

    def number(cell: Any) -> float:
        try:
            return float(str(cell).replace(",", "."))
        except ValueError:
            return np.nan

    cells = np.array([[number(cell) for cell in row[first:]] for row in rows])
    return cells if cells.shape[1] >= 4 and np.isfinite(cells[:, :4]).all() else None
