"""Bands that follow a changing market: a sequence of forecasts is replayed, and no truth looked at before it was known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import ConfigError, DataError
from chandler.measures.conformal import scores
from chandler.measures.ensemble import band_levels
from chandler.measures.point import mean_known

Array = NDArray[np.float64]
GAMMA = 0.02
"""Step of the adaptive miscoverage. The paper's 0.005 suits thousands of origins; an evaluation has hundreds."""


@dataclass(frozen=True, eq=False)
class AdaptiveBands:
    """What `adaptive_bands` would have said at each origin."""

    low: Array
    high: Array
    """As the model's band, (T,) or (T, S), in price units."""
    alpha: Array
    """(T,): the miscoverage aimed at, which moves so that the one found comes to 1 - level."""
    missed: Array
    """(T,): share of the truths outside, NaN without one."""

    def coverage(self, first: int = 0) -> float:
        """Share of the truths inside, the mean over the origins from `first` on that have one."""
        return 1 - mean_known(self.missed[first:])


def adaptive_bands(
    low: ArrayLike, high: ArrayLike, truth: ArrayLike, level: float = 0.9, *, gamma: float = GAMMA, delay: int = 1
) -> AdaptiveBands:
    """Adaptive conformal bands of one step ahead, origin after origin.

    At origin t the model's band moves out on both sides by the (1 - alpha_t) quantile (finite-sample rank) of the known
    scores max(ln q_low - ln y, ln y - ln q_high) / (ln q_high - ln q_low); then alpha_{t+1} = alpha_t + gamma (alpha - miss).
    Source: Gibbs & Candes (2021), "Adaptive conformal inference under distribution shift", NeurIPS. Where they would
    give an infinite band (alpha_t at or below 0, or few scores) it is as wide as the largest known score, so
    their guarantee for long sequences holds only nearly; before any score it is the model's own.

    Args:
        low, high: the model's quantiles (1 - level) / 2 and (1 + level) / 2 at each origin, in order of time: (T,), or (T, S)
            for S symbols that share alpha and scores; positive, in price units.
        truth: as them; NaN where not known, then nothing is learnt.
        level: in (0, 1).
        gamma: 0 never adapts; larger follows faster and trembles more.
        delay: origins until a truth is known: ceil(step / bars between origins), >= 1. Nothing younger is used.

    Raises:
        ConfigError: an impossible level, gamma or delay.
        DataError: no origin, shapes that differ, closes that are not above 0, a band that is upside down.
    """
    band_levels(level)
    if gamma < 0 or delay < 1:
        raise ConfigError(f"gamma is 0 or more, delay 1 or more, found {gamma} and {delay}.")
    edges = [np.asarray(one, np.float64) for one in (low, high, truth)]
    if edges[0].ndim not in (1, 2) or len({one.shape for one in edges}) > 1:
        raise DataError(
            f"bands and truths come as (T,) or (T, S), found shapes {', '.join(str(e.shape) for e in edges)}."
        )
    if not edges[0].size:
        raise DataError("bands need at least one origin, found none.")
    lower, upper, came = (one.reshape(len(one), -1) for one in edges)
    if not ((lower > 0) & (upper >= lower) & (upper < np.inf)).all() or not ((came > 0) | np.isnan(came)).all():
        raise DataError("calibration works on log prices: bands and truths must be above 0, and low not above high.")
    lower, upper, came = np.log(lower), np.log(upper), np.log(came)
    distance = np.fmax(*scores(lower, upper, came))
    known = ~np.isnan(came)
    goal = 1 - level
    alpha, missed = np.full(len(came), goal), np.full(len(came), np.nan)
    for origin in range(len(came)):
        seen = origin - delay  # the latest origin whose truth is known now
        if origin:
            news = missed[seen] if seen >= 0 else np.nan
            alpha[origin] = alpha[origin - 1] + (0.0 if np.isnan(news) else gamma * (goal - news))
        past = slice(max(0, seen + 1))
        stretch = _quantile(distance[past][known[past]], alpha[origin])
        width = upper[origin] - lower[origin]
        lower[origin] -= stretch * width
        upper[origin] += stretch * width
        if known[origin].any():
            outside = (came[origin] < lower[origin]) | (came[origin] > upper[origin])
            missed[origin] = outside[known[origin]].mean()
    shape = edges[0].shape
    return AdaptiveBands(np.exp(lower).reshape(shape), np.exp(upper).reshape(shape), alpha, missed)


def _quantile(found: Array, alpha: float) -> float:
    found = found[np.isfinite(found)]
    n = len(found)
    if not n:
        return 0.0
    rank = int(np.clip(np.ceil((n + 1) * (1 - alpha) - 1e-9), 1, n))
    # Both sides move: beyond half a width inwards they would pass each other.
    return max(float(np.partition(found, rank - 1)[rank - 1]), -0.5)
