"""Naive futures as whole bars: what a blend mixes a model's paths with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chandler.data import CLOSE, HIGH, LOW, OPEN

Array = NDArray[np.float64]


class Filter(NamedTuple):
    """Reaction and persistence of the variance per bar; the rest is the history's mean variance. Both 0: constant."""

    reaction: float
    persistence: float


NAIVE: Mapping[str, Filter] = {"bootstrap": Filter(0.0, 0.0), "filtered": Filter(0.06, 0.90)}
"""By name: past bars in any order, and the same with a volatility that remembers."""


def resampled_bars(history: Array, horizon: int, paths: int, seed: int, kind: Filter) -> Array:
    """Paths of whole bars drawn with replacement from the history, chained at the last close.

    A filtered historical simulation (Barone-Adesi, Giannopoulos & Vosper 1999, Journal of Futures Markets 19): each bar,
    as logarithms against the close before it, is divided by the volatility that it had and multiplied by that of the bar
    that it becomes; the variance of the next bar is (1 - a - b) mean + a r^2 + b variance, that of GARCH(1,1)
    (Bollerslev 1986) with a and b given. Without them it is the plain bootstrap of bars. The mean return of the
    history is taken off: it is nearly all noise. Volume and amount come with their bar.

    Args:
        history: (T, 6), T >= 2, prices above 0.
        horizon, paths: >= 1.
        seed: equal seeds draw the same places of the history, for every kind.

    Returns:
        (paths, horizon, 6). Paths never leave the last close where the history stands still.
    """
    prices = np.log(history[:, : CLOSE + 1])
    before = prices[:-1, CLOSE]
    shapes = prices[1:] - before[:, None]
    returns = shapes[:, CLOSE].copy()
    shapes -= returns.mean()  # all four prices of a bar move together, so candles keep their form
    returns -= returns.mean()
    mean = float(np.square(returns).mean())
    fixed = (1 - kind.reaction - kind.persistence) * mean
    variances = np.empty(len(returns) + 1)
    variances[0] = mean
    for row, value in enumerate(np.square(returns)):
        variances[row + 1] = fixed + kind.reaction * value + kind.persistence * variances[row]
    deviations = np.sqrt(variances[:-1])
    units = np.divide(shapes, deviations[:, None], out=np.zeros_like(shapes), where=deviations[:, None] > 0)
    spread = units[:, CLOSE].std()  # the units' own spread is not quite 1; the paths' is to be the variance's
    units /= spread if spread > 0 else 1.0

    drawn = np.random.default_rng(seed).integers(0, len(returns), (paths, horizon))
    made = np.empty((paths, horizon, history.shape[1]))
    made[..., CLOSE + 1 :] = history[1:, CLOSE + 1 :][drawn]
    level, variance = np.full(paths, prices[-1, CLOSE]), np.full(paths, variances[-1])
    for step in range(horizon):
        moves = units[drawn[:, step]] * np.sqrt(variance)[:, None]
        made[:, step, : CLOSE + 1] = level[:, None] + moves
        level = level + moves[:, CLOSE]
        variance = fixed + kind.reaction * np.square(moves[:, CLOSE]) + kind.persistence * variance
    prices_made = made[..., : CLOSE + 1]
    np.exp(prices_made, out=prices_made)
    # Where the mean was taken off a candle whose close is its high, rounding may leave them apart by a bit.
    made[..., HIGH] = np.maximum(made[..., HIGH], np.maximum(made[..., OPEN], made[..., CLOSE]))
    made[..., LOW] = np.minimum(made[..., LOW], np.minimum(made[..., OPEN], made[..., CLOSE]))
    return made
