"""Errors and distributions: measures of a forecast against what came true. Pure functions of arrays.

NaN policy, for all measures of this package: a step whose truth is NaN is left out; a NaN or infinity in a forecast
is an error, because a model must not improve its score by declining to answer; with no step left the answer is NaN.
In return space they take log returns: see `log_returns`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError
from chandler.measures.ensemble import fair_crps

Array = NDArray[np.float64]


def mae(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error of a point forecast.

    Args:
        forecast, truth: (H,), in the same unit, which is the unit of the result.

    Raises:
        DataError: shapes that differ, or a forecast that is not finite.
    """
    points, came = matched(forecast, truth, axes=1)
    return mean_known(np.abs(points - came))


def rmse(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error of a point forecast; arguments and errors as `mae`."""
    points, came = matched(forecast, truth, axes=1)
    return float(np.sqrt(mean_known((points - came) ** 2)))


def mase(forecast: ArrayLike, truth: ArrayLike, history: ArrayLike, season: int = 1) -> float:
    """Mean absolute scaled error: the MAE over that of "as `season` bars ago", one step ahead, in the history.

    Below 1 is better than the naive forecast was in sample, one step ahead; a longer horizon is harder than that,
    so compare models by it, not with 1. Source: Hyndman & Koehler (2006), "Another look at measures of forecast
    accuracy", Int. J. Forecasting 22.

    Args:
        forecast, truth: (H,), in one unit.
        history: (T,), T > season, the values before the forecast in that unit; pairs with a NaN are left out.
        season: bars, >= 1.

    Returns:
        A ratio without unit; NaN also where the history never changes, because nothing can be divided by 0.

    Raises:
        DataError: as `mae`; a history too short or infinite.
    """
    past = np.asarray(history, np.float64)
    if season < 1 or past.ndim != 1 or len(past) <= season:
        raise DataError(
            f"MASE with season {season} needs a history (T,) of more than {max(season, 1)} rows, found shape {past.shape}."
        )
    if np.isinf(past).any():
        raise DataError(f"the history has {int(np.isinf(past).sum())} infinite values. Drop or repair them.")
    scale = mean_known(np.abs(past[season:] - past[:-season]))
    error = mae(forecast, truth)
    return error / scale if scale > 0 else float("nan")


def pinball(quantile_forecast: ArrayLike, truth: ArrayLike, levels: ArrayLike) -> float:
    """Quantile loss, the mean over levels and steps; lower is better, and least in expectation at the true quantile.

    (y - q) tau where y >= q and (q - y) (1 - tau) where it is below. Twice the mean over evenly spread levels tends
    to the CRPS. Source: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46.

    Args:
        quantile_forecast: (Q, H), one row per level.
        truth: (H,), in the same unit, which is the unit of the result.
        levels: (Q,), in (0, 1).

    Raises:
        DataError: shapes that do not fit, a level outside (0, 1), or a forecast that is not finite.
    """
    rows, came = matched(quantile_forecast, truth, axes=2)
    taus = np.asarray(levels, np.float64)
    if taus.shape != (len(rows),) or not ((taus > 0) & (taus < 1)).all():
        raise DataError(
            f"{len(rows)} rows of quantiles need as many levels above 0 and below 1, found {taus.tolist()}."
        )
    above = came - rows
    return mean_known(np.maximum(taus[:, None] * above, (taus[:, None] - 1) * above))


def direction(forecast: ArrayLike, truth: ArrayLike, last: float) -> float:
    """Share of the steps at which the forecast lies on the side of the last close on which the truth came to lie.

    Zeros: a step whose truth equals `last` has no direction and is left out; a forecast equal to `last` names none
    and counts as a thrown coin, one half, so the last close as a forecast scores 0.5.

    Args:
        forecast, truth: (H,), in price units; or log returns against the last close, with `last` 0.
        last: the last known close.

    Returns:
        A share in [0, 1]; NaN where no step moved.

    Raises:
        DataError: as `mae`; a last close that is not finite.
    """
    points, came = matched(forecast, truth, axes=1)
    if not np.isfinite(last):
        raise DataError(f"a direction needs a finite last close, found {last!r}.")
    said, moved = np.sign(points - last), np.sign(came - last)
    right = np.where(said == 0, 0.5, (said == moved).astype(np.float64))
    return mean_known(np.where(moved == 0, np.nan, np.where(np.isnan(came), np.nan, right)))


def log_returns(prices: ArrayLike, last: ArrayLike, *, per_bar: bool = False) -> Array:
    """Log returns of prices, to take any measure of this module in return space.

    Args:
        prices: (..., H), positive where they are known; NaN stays NaN.
        last: the last known price before them, positive, () or (...).
        per_bar: each against the price before, ln(p_h / p_(h-1)), instead of against the last known one,
            ln(p_h / last), which is what `Forecast.returns("log")` gives.

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
    logs = np.log(values) - np.log(before)
    if not per_bar:
        return np.asarray(logs, np.float64)
    return np.diff(logs, axis=-1, prepend=0.0)


def crps(paths: ArrayLike, truth: ArrayLike) -> float:
    """Continuous ranked probability score of an ensemble, the mean over steps; lower is better. See `crps_steps`."""
    return mean_known(crps_steps(paths, truth))


def crps_steps(paths: ArrayLike, truth: ArrayLike) -> Array:
    """Continuous ranked probability score of an ensemble at each step, (H,); NaN where the truth is NaN.

    The fair estimator, `forecasting.measures.fair_crps`, by which training chooses checkpoints as well. A forecast that
    is one point (P = 1) scores |x - y|, so CRPS and the absolute error of a point forecast compare.

    Args:
        paths: (P, H) equally likely paths.
        truth: (H,), in the same unit, which is the unit of the result.

    Raises:
        DataError: shapes that do not fit, no paths, or paths that are not finite.
    """
    return fair_crps(*matched(paths, truth, axes=2))


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
    sampled, came = matched(paths, truth, axes=2)
    below, equal = (sampled < came).sum(axis=0), (sampled == came).sum(axis=0)
    # One uniform number over the (equal + 1) ranks that a tie allows is the draw of the rank and of u together.
    spread = np.random.default_rng(seed).random(len(came)) * (equal + 1)
    return np.where(np.isnan(came), np.nan, (below + spread) / (len(sampled) + 1))


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
    sampled, came = matched(paths, truth, axes=2)
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
    sampled, came = matched(paths, truth, axes=2)
    low, high = band(sampled, level)
    return mean_known(np.where(np.isnan(came), np.nan, high - low))


def matched(forecast: ArrayLike, truth: ArrayLike, axes: int) -> tuple[Array, Array]:
    """Both as float64, of fitting shapes, (H,) or with 2 `axes` (P, H), the forecast finite; else DataError."""
    made, came = np.asarray(forecast, np.float64), np.asarray(truth, np.float64)
    if came.ndim != 1 or made.ndim != axes or made.shape[-1] != len(came) or not len(made):
        wanted = "(H,)" if axes == 1 else "(P, H) with P >= 1"
        raise DataError(f"a forecast {wanted} needs a truth (H,), found shapes {made.shape} and {came.shape}.")
    if not np.isfinite(made).all():
        raise DataError(f"the forecast has {int((~np.isfinite(made)).sum())} values that are not finite numbers.")
    return made, came


def mean_known(values: Array) -> float:
    """Mean of the values that are not NaN; NaN without one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
