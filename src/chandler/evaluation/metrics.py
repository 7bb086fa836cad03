"""Measures of a forecast against what came true. Pure functions of arrays.

NaN policy, for all of them: a step whose truth is NaN is left out; a NaN or infinity in a forecast is an error,
because a model must not improve its score by declining to answer; with no step left the answer is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError

Array = NDArray[np.float64]


def mae(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error of a point forecast.

    Args:
        forecast, truth: (H,), in the same unit, which is the unit of the result.

    Raises:
        DataError: shapes that differ, or a forecast that is not finite.
    """
    points, came = _matched(forecast, truth, axes=1)
    return _mean(np.abs(points - came))


def rmse(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error of a point forecast; arguments and errors as `mae`."""
    points, came = _matched(forecast, truth, axes=1)
    return float(np.sqrt(_mean((points - came) ** 2)))


def crps(paths: ArrayLike, truth: ArrayLike) -> float:
    """Continuous ranked probability score of an ensemble, the mean over steps; lower is better.

    Per step E|X - y| - E|X - X'| / 2 by the fair estimator, whose mean does not depend on the number of paths P:
    sum_i |x_i - y| / P - sum_ij |x_i - x_j| / (2 P (P - 1)). A forecast that is one point (P = 1) scores |x - y|,
    so CRPS and the absolute error of a point forecast compare.

    Source: Ferro (2014), "Fair scores for ensemble forecasts", Q. J. R. Meteorol. Soc. 140; the pairwise sum over
    sorted paths as in Jordan, Krueger & Lerch (2019), "Evaluating probabilistic forecasts with scoringRules".

    Args:
        paths: (P, H) equally likely paths.
        truth: (H,), in the same unit, which is the unit of the result.

    Raises:
        DataError: shapes that do not fit, no paths, or paths that are not finite.
    """
    sampled, came = _matched(paths, truth, axes=2)
    count = len(sampled)
    score = np.abs(sampled - came).mean(axis=0)
    if count > 1:
        # sum over i < j of (x_(j) - x_(i)) gives each sorted value the weight 2 i - P - 1, i from 1.
        weights = 2.0 * np.arange(1, count + 1) - count - 1
        score = score - weights @ np.sort(sampled, axis=0) / (count * (count - 1))
    return _mean(score)


def band(paths: ArrayLike, level: float = 0.8) -> tuple[Array, Array]:
    """Lower and upper edge (H,) of the central band that holds `level` of the paths (P, H) at each step.

    Quantiles by linear interpolation between paths. DataError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise DataError(f"a band holds a share of the paths above 0 and below 1, found {level!r}. 0.8 is usual.")
    sampled = np.asarray(paths, np.float64)
    low, high = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def inside(paths: ArrayLike, truth: ArrayLike, level: float = 0.8) -> tuple[int, int]:
    """How many steps' truth lies in the central band, edges included, and how many steps have a truth.

    Args:
        paths: (P, H). truth: (H,). level: in (0, 1).

    Raises:
        DataError: as `crps` and `band`.
    """
    sampled, came = _matched(paths, truth, axes=2)
    low, high = band(sampled, level)
    known = ~np.isnan(came)
    return int(((came >= low) & (came <= high))[known].sum()), int(known.sum())


def coverage(paths: ArrayLike, truth: ArrayLike, level: float = 0.8) -> float:
    """Share of the steps whose truth lies in the central band, in [0, 1]; a calibrated forecast has `level`.

    Steps of one path are not independent: with few origins the share scatters far more than its count suggests.
    """
    hits, steps = inside(paths, truth, level)
    return hits / steps if steps else float("nan")


def band_width(paths: ArrayLike, truth: ArrayLike | None = None, level: float = 0.8) -> float:
    """Mean width of the central band over the steps (those with a truth, if given), in the unit of the paths."""
    if truth is None:
        truth = np.zeros(np.shape(paths)[-1])
    sampled, came = _matched(paths, truth, axes=2)
    low, high = band(sampled, level)
    return _mean(np.where(np.isnan(came), np.nan, high - low))


def _matched(forecast: ArrayLike, truth: ArrayLike, axes: int) -> tuple[Array, Array]:
    """Both as float64, of fitting shapes, the forecast finite."""
    made, came = np.asarray(forecast, np.float64), np.asarray(truth, np.float64)
    if came.ndim != 1 or made.ndim != axes or made.shape[-1] != len(came) or not len(made):
        wanted = "(H,)" if axes == 1 else "(P, H) with P >= 1"
        raise DataError(f"a forecast {wanted} needs a truth (H,), found shapes {made.shape} and {came.shape}.")
    if not np.isfinite(made).all():
        raise DataError(f"the forecast has {int((~np.isfinite(made)).sum())} values that are not finite numbers.")
    return made, came


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
