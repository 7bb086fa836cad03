"""Whether a market has lately moved as its volatility promised: what the width of a blend follows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chandler.forecasting.calibration.naive import NAIVE

Array = NDArray[np.float64]
LEVEL = 0.9
EVIDENCE = 5.0
"""Horizons as which the usual width counts. On 23 sets apart from nano's card less of it brought coverage nearer to its level, and cost
sharpness (docs/log.md)."""
LEAST_ROWS = 16
LARGEST = 6.0
"""Times the mean |return| of a history beyond which a return counts as that: one split or gap, which the pool's quantiles hardly
feel, would otherwise make half a history look calm."""
WIDEST = 1.5


class RecentMoves(NamedTuple):
    """How far the close moved, in units of what was promised, and how much is known of it."""

    size: float
    """The 90% quantile of |moves| over their promised standard deviations: 1.6 were they normal. NaN: not known."""
    horizons: float
    """Horizons without overlap that it was seen over."""

    def width(self, usual: float | None) -> float:
        """What to multiply a band by that is right where moves are of the `usual` size: shrunk to 1, at most by a half more or a
        third less. None: 1."""
        if usual is None or not self.size > 0:
            return 1.0
        width = (self.size / usual) ** (self.horizons / (self.horizons + EVIDENCE))
        return float(min(max(width, 1 / WIDEST), WIDEST))


def recent_moves(closes: Array, horizon: int) -> RecentMoves:
    """Of the later half of a history, moves of 1 to `horizon` bars against the volatility of the half before each.

    What was promised is the variance of the filtered bootstrap (`NAIVE`): that of the next bar is
    (1 - a - b) mean + a r^2 + b variance, and goes back to the mean by a + b with each bar. A width that follows what
    came of that holds its level where tails, trends or a filter too slow made the bands of late too narrow or too wide; the same
    idea as adaptive conformal inference (Gibbs & Candes 2021, NeurIPS), within the rows that a forecast sees anyway. Returns
    beyond `LARGEST` times their mean size are cut to that.

    Args:
        closes: (T,) above 0.
    """
    if len(closes) < LEAST_ROWS:
        return RecentMoves(np.nan, 0.0)
    returns = np.diff(np.log(closes), prepend=np.log(closes[0]))
    most = LARGEST * float(np.abs(returns).mean())
    logs, squares = np.cumsum(returns := returns.clip(-most, most)), np.square(returns)
    reaction, persistence = NAIVE["filtered"]
    half = len(logs) // 2
    sums, at = np.cumsum(squares), np.arange(half, len(logs))
    mean = (sums[at] - sums[at - half]) / half
    # The filter written out over the half before: each square counts by how long ago it was, what is left is the mean.
    ago = reaction * persistence ** np.arange(half)
    rest = (1 - reaction - persistence) * (1 - persistence**half) / (1 - persistence) + persistence**half
    variance = rest * mean + np.convolve(squares, ago)[at]
    steps = np.arange(1, min(horizon, len(at) - 1) + 1)
    kept = (1 - (reaction + persistence) ** steps) / (1 - reaction - persistence)
    promised = steps * mean[:, None] + (variance - mean)[:, None] * kept
    later = at[:, None] + steps
    known = (later < len(logs)) & (promised > 0)
    if not known.any():
        return RecentMoves(np.nan, 0.0)
    moved = np.abs(logs[np.minimum(later, len(logs) - 1)] - logs[at, None])
    return RecentMoves(float(np.quantile(moved[known] / np.sqrt(promised[known]), LEVEL)), len(at) / horizon)
