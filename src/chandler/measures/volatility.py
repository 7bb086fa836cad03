"""Realised variance of paths and of what came true, and how far a forecast of it was off.

NaN policy as in `point`: a truth that is NaN is left out, a forecast that is not finite is an error. Variances are
sums of squared log returns: without unit, over the whole horizon, not annualised; a forecast of it is the mean of the
paths' variances, not the variance of the mean path, which has next to none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError
from chandler.measures.point import matched, mean_known

Array = NDArray[np.float64]


def realised_variance(log_returns: ArrayLike) -> Array:
    """Sum of squared log returns up to each step, from returns against the last known close; its last step is that of the horizon.

    Kronos (arXiv 2508.02739), volatility task: RV = sum r_t^2, r_t = ln(p_t / p_(t-1)).

    Args:
        log_returns: (..., H), ln(p_h / last), e.g. of one truth (H,) or of paths (P, H); see `point.log_returns`.

    Returns:
        (..., H). NaN from the first NaN on: what is left would be the variance of fewer bars.
    """
    return np.square(np.diff(log_returns, axis=-1, prepend=0.0)).cumsum(axis=-1)


def variance_mae(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error of forecast variances (N,) against the realised ones (N,): a variance, as they are.

    Given square roots it is the error of the volatility. Quiet series hardly count beside wild ones: see `qlike`.

    Raises:
        DataError: as `qlike`.
    """
    made, came = _variances(forecast, truth)
    return mean_known(np.abs(made - came))


def r2(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Share of the variance of the truth that the forecast explains: 1 - sum (y - f)^2 / sum (y - mean y)^2.

    Out of sample, against the mean of these truths, not a regression on the forecast: at most 1, and below 0 for a
    forecast worse than that mean.

    Args:
        forecast, truth: (N,), one pair per forecast.

    Returns:
        Without unit; NaN with fewer than 2 truths, or where all are equal.

    Raises:
        DataError: shapes that differ, or a forecast that is not finite.
    """
    made, came = matched(forecast, truth)
    known = ~np.isnan(came)
    made, came = made[known], came[known]
    if len(came) < 2 or np.ptp(came) == 0:
        return float("nan")
    return float(1 - np.square(came - made).sum() / np.square(came - came.mean()).sum())


def qlike(forecast: ArrayLike, truth: ArrayLike) -> Array:
    """Quasi-likelihood loss of each variance forecast: y / f - ln(y / f) - 1, >= 0.

    It judges ratios, so quiet and wild series count alike, and its ranking of forecasts is not upset by noise in the
    realised variance. Source: Patton (2011), "Volatility forecast comparison using imperfect volatility proxies",
    J. Econometrics 160; the form that is 0 at f = y.

    Args:
        forecast, truth: (N,) variances.

    Returns:
        (N,), without unit. NaN where the truth is NaN, and where it is 0: no logarithm, and bars that did not move
        at all are mostly bars without trade. Infinite where the forecast is 0 and the truth is not.

    Raises:
        DataError: shapes that differ, a forecast that is not finite, a variance below 0.
    """
    made, came = _variances(forecast, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = came / made
        loss = ratio - np.log(ratio) - 1
    return np.where(np.isnan(came) | (came == 0), np.nan, np.where(made == 0, np.inf, loss))


def _variances(forecast: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    made, came = matched(forecast, truth)
    for name, found in (("forecast", made), ("truth", came)):
        if (found < 0).any():
            raise DataError(f"a variance is never below 0; the {name} has {int((found < 0).sum())} that are.")
    return made, came
