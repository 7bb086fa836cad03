"""Paths that begin where the market is, and not where the tokens have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chandler.data import CLOSE

PRICES = slice(0, CLOSE + 1)


def anchored(paths: NDArray[np.float64], decoded: float, last: float) -> NDArray[np.float64]:
    """Paths moved, in the logarithm of the price, by what the tokenizer lost of the last close.

    A token stands for a cell of bars, and the predictor continues the cell: what separates the true last bar from its
    decoded one (0.4 to 0.5 of a bar's volatility with a small tokenizer) shifts every path alike, and is known.

    Args:
        paths: (P, H, 6) in price units.
        decoded: the last close of the history as the tokenizer decodes it.
        last: the last close.

    Returns:
        (P, H, 6), all four prices times last close / decoded close. Where one of them is not above 0, the paths.
    """
    if not (decoded > 0 and last > 0):
        return paths
    moved = paths.copy()
    moved[..., PRICES] *= last / decoded
    return moved
