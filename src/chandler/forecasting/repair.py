"""Bars made whole: what a model says of a bar need not be one that could have traded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.data import CLOSE, HIGH, LOW

Floats = NDArray[np.float64]
PRICE_FLOOR = 0.01
"""Repair lifts prices to this share of the lowest low of the history: what lies below has no meaning."""


def repair_bars(bars: Floats, lowest: float) -> tuple[Floats, int]:
    """Bars that could have traded, and how many had to be changed for it.

    Prices below 1% of `lowest` are lifted to that; then high >= max(open, close) and low <= min(open, close), by
    moving high and low only; volume and amount >= 0.

    Args:
        bars: (..., 6), finite.
        lowest: the lowest low of the history; <= 0 lifts nothing.

    Returns:
        A new array (..., 6), and the number of bars in which anything differs.
    """
    whole = bars.copy()
    prices = whole[..., : CLOSE + 1]
    if lowest > 0:
        np.maximum(prices, PRICE_FLOOR * lowest, out=prices)
    whole[..., HIGH] = prices.max(axis=-1, where=_mask(LOW), initial=-np.inf)
    whole[..., LOW] = prices.min(axis=-1, where=_mask(HIGH), initial=np.inf)
    np.maximum(whole[..., CLOSE + 1 :], 0, out=whole[..., CLOSE + 1 :])
    return whole, int((whole != bars).any(axis=-1).sum())


def _mask(without: int) -> Any:
    """Which of the four prices count: all but one."""
    return np.arange(CLOSE + 1) != without
