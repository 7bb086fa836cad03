"""Errors of points, and what all measures of a forecast against what came true have in common.

NaN policy, for all measures of this package: a step whose truth is NaN is left out; a NaN or infinity in a forecast
is an error, because a model must not improve its score by declining to answer; with no step left the answer is NaN.
In return space they take log returns: see `log_returns`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError

Array = NDArray[np.float64]


def naive_error(history: ArrayLike, season: int = 1) -> float:
    """Mean absolute error of "as `season` bars ago", one step ahead, in a history: what MASE divides by.

    Source: Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", Int. J. Forecasting 22.

    Args:
        history: (T,), T > season; pairs with a NaN are left out.
        season: bars, >= 1.

    Returns:
        In the unit of the history.

    Raises:
        DataError: a history too short or infinite.
    """
    past = np.asarray(history, np.float64)
    if season < 1 or past.ndim != 1 or len(past) <= season:
        raise DataError(
            f"MASE with season {season} needs a history (T,) of more than {max(season, 1)} rows, found shape {past.shape}."
        )
    if np.isinf(past).any():
        raise DataError(f"the history has {int(np.isinf(past).sum())} infinite values. Drop or repair them.")
    return mean_known(np.abs(past[season:] - past[:-season]))


def scaled(error: ArrayLike, scale: ArrayLike) -> Array:
    """Errors over a scale, element by element; NaN where the scale is 0 or NaN: nothing can be divided by it.

    A mean absolute error over the `naive_error` of its history is the MASE. Below 1 is better than the naive forecast
    was in sample, one step ahead; a longer horizon is harder than that, so compare models by it, not with 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        errors, scales = np.asarray(error, np.float64), np.asarray(scale, np.float64)
        return np.where(scales > 0, errors / scales, np.nan)


def direction(forecast: ArrayLike, truth: ArrayLike) -> Array:
    """Whether a forecast move goes the way that came: 1 or 0, of any shape, from the last close.

    Zeros: a truth that did not move has no direction, NaN; a forecast of no move names none and counts as a thrown
    coin, one half, so the last close as a forecast scores 0.5.

    Args:
        forecast, truth: moves since the last close, in price units or as returns; NaN where the truth is not known.
    """
    said, moved = np.sign(forecast), np.sign(truth)
    return np.where(
        (moved == 0) | np.isnan(moved), np.nan, np.where(said == 0, 0.5, (said == moved).astype(np.float64))
    )


def log_returns(prices: ArrayLike, last: ArrayLike) -> Array:
    """Log returns of prices against the last known one, ln(p_h / last), to take any measure in return space.

    Args:
        prices: (..., H), positive where they are known; NaN stays NaN.
        last: the last known price before them, positive, () or (...).

    Returns:
        (..., H), without unit.

    Raises:
        DataError: a price or a last price that is infinite or not above 0.
    """
    values, before = np.asarray(prices, np.float64), np.asarray(last, np.float64)[..., None]
    for name, found in (("prices", values), ("last known prices", before)):
        bad = ~((found > 0) & (found < np.inf)) & ~(np.isnan(found) & (found is values))
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} of {found.size} {name} are not above 0 and finite, and have no logarithm, "
                f"first {found[bad][0]:.6g}. Forecast.repair() lifts those of a forecast; drop or repair others."
            )
    return np.asarray(np.log(values) - np.log(before), np.float64)


def matched(forecast: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Both (N,) as float64, the forecast finite; else DataError."""
    made, came = np.asarray(forecast, np.float64), np.asarray(truth, np.float64)
    if came.ndim != 1 or made.shape != came.shape or not len(made):
        raise DataError(f"a forecast (N,) needs a truth (N,), found shapes {made.shape} and {came.shape}.")
    if not np.isfinite(made).all():
        raise DataError(f"the forecast has {int((~np.isfinite(made)).sum())} values that are not finite numbers.")
    return made, came


def mean_known(values: Array) -> float:
    """Mean of the values that are not NaN; NaN without one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
