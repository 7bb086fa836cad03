"""Distributions against what came true: measures of equally likely paths and of quantiles. NaN policy as in `point`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError
from chandler.measures.pool import spread

Array = NDArray[np.float64]
PIT_BINS = 10
"""Of a PIT histogram."""


def crps(paths: ArrayLike, truth: ArrayLike) -> Array:
    """Continuous ranked probability score of an ensemble at each step; lower is better.

    E|X - y| - E|X - X'| / 2 by the fair estimator, whose mean does not depend on the number of paths P:
    sum_i |x_i - y| / P - sum_ij |x_i - x_j| / (2 P (P - 1)). A forecast that is one point (P = 1) scores |x - y|.
    Source: Ferro (2014), "Fair scores for ensemble forecasts", Q. J. R. Meteorol. Soc. 140; the pairwise sum over
    sorted paths as in Jordan, Krueger & Lerch (2019), "Evaluating probabilistic forecasts with scoringRules".

    Args:
        paths: (..., P, H) equally likely paths.
        truth: (..., H), in the same unit, which is the unit of the result.

    Returns:
        (..., H); NaN where the truth is NaN.

    Raises:
        DataError: shapes that do not fit, no paths, or paths that are not finite.
    """
    sampled, came = _ensemble(paths, truth)
    count = sampled.shape[-2]
    miss = np.abs(sampled - came[..., None, :]).mean(axis=-2)
    if count == 1:
        return np.asarray(miss, np.float64)
    return np.asarray(miss - spread(sampled) / 2, np.float64)


def pinball(quantile: ArrayLike, truth: ArrayLike, level: float) -> Array:
    """Quantile loss, element by element; lower is better, and least in expectation at the true quantile.

    (y - q) tau where y >= q and (q - y) (1 - tau) where it is below. Twice the mean over evenly spread levels tends
    to the CRPS. Source: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46.

    Args:
        quantile: forecasts of the quantile `level`, of any shape. truth: as it, in the same unit, which is the unit of the result.
        level: in (0, 1).

    Raises:
        DataError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise DataError(f"a quantile has a level above 0 and below 1, found {level!r}.")
    above = np.asarray(truth, np.float64) - np.asarray(quantile, np.float64)
    return np.maximum(level * above, (level - 1) * above)


def pit(paths: ArrayLike, truth: ArrayLike, *, seed: int = 0) -> Array:
    """Randomised probability integral transform at each step: where in the forecast distribution the truth lies.

    (r + u) / (P + 1) with r the number of paths below the truth, plus a fair draw among those equal to it, and u
    uniform in [0, 1). If the truth is one more draw from the forecast, it is uniform for every P, ties included:
    heaps at both ends say too narrow, a heap in the middle too wide, a slope biased. Source: Czado, Gneiting & Held
    (2009), "Predictive model assessment for count data", Biometrics 65; ranks as in Hamill (2001), Mon. Wea. Rev. 129.

    Args:
        paths: (P, H). truth: (H,), in the same unit.
        seed: of this call's own generator; another one for each forecast, or all are placed alike inside their ranks.

    Returns:
        (H,) in [0, 1], NaN where the truth is NaN.

    Raises:
        DataError: as `crps`.
    """
    sampled, came = _ensemble(paths, truth)
    below, equal = (sampled < came).sum(axis=0), (sampled == came).sum(axis=0)
    # One uniform number over the (equal + 1) ranks that a tie allows is the draw of the rank and of u together.
    drawn = np.random.default_rng(seed).random(len(came)) * (equal + 1)
    return np.where(np.isnan(came), np.nan, (below + drawn) / (len(sampled) + 1))


def pit_bins(values: ArrayLike) -> NDArray[np.int64]:
    """Which of `PIT_BINS` equal parts of [0, 1] each value of `pit` lies in, from 0; -1 where it is NaN."""
    placed = np.asarray(values, np.float64)
    bins = np.minimum(np.nan_to_num(placed) * PIT_BINS, PIT_BINS - 1).astype(np.int64)
    return np.where(np.isnan(placed), -1, bins)


def band(paths: ArrayLike, level: float = 0.8) -> tuple[Array, Array]:
    """Lower and upper edge (H,) of the central band that holds `level` of the paths (P, H) at each step.

    Quantiles by linear interpolation between paths. DataError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise DataError(f"a band holds a share of the paths above 0 and below 1, found {level!r}. 0.8 is usual.")
    sampled = np.asarray(paths, np.float64)
    low, high = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def inside(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> NDArray[np.bool_]:
    """Whether each truth lies in a band, edges included; of one shape all three. A truth that is NaN lies outside.

    The mean over known truths is the coverage. Steps of one path are not independent: with few origins it scatters far
    more than their count suggests.
    """
    lower, upper, came = (np.asarray(values, np.float64) for values in (low, high, truth))
    found: NDArray[np.bool_] = (came >= lower) & (came <= upper)
    return found


def _ensemble(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Both as float64, (..., P, H) and (..., H), the paths finite; else DataError."""
    made, came = np.asarray(paths, np.float64), np.asarray(truth, np.float64)
    if made.ndim < 2 or made.shape[:-2] + made.shape[-1:] != came.shape or not made.shape[-2]:
        raise DataError(
            f"a forecast (P, H) with P >= 1 needs a truth (H,), found shapes {made.shape} and {came.shape}."
        )
    if not np.isfinite(made).all():
        raise DataError(f"the forecast has {int((~np.isfinite(made)).sum())} values that are not finite numbers.")
    return made, came
