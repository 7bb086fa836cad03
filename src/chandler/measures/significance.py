"""Whether a difference could be chance: tests and intervals for means of series whose neighbours are not independent.

NaN policy: rows with NaN are left out and their neighbours taken as consecutive; an infinite value is an error; what
cannot be computed (too few values, no variation) is NaN and never counts as shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chandler.errors import ConfigError, DataError
from chandler.measures.bootstrap import block_bootstrap, optimal_block, without_gaps

Array = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown", "too few origins"]
LEAST_ORIGINS = 10
"""Fewer origins than this decide nothing, whatever a test says."""
LEAST_WINDOWS = 4
"""Nor do fewer stretches without a bar in common: below, both tests see differences where there are none."""


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, t = mean / se, the two-sided p-value, and of how many values."""

    mean: float
    se: float
    t: float
    p: float
    n: int


@dataclass(frozen=True)
class DM:
    """Mean of loss a - loss b (below 0: a is better), the corrected statistic, its two-sided p-value, and n."""

    mean_difference: float
    statistic: float
    p_value: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Loss a against loss b over origins; lower is better, and the verdict speaks of a."""

    mean_a: float
    mean_b: float
    difference: float
    """mean_a - mean_b, in the unit of the loss."""
    low: float
    high: float
    """Block bootstrap interval of the difference."""
    p_value: float
    """Diebold-Mariano, small-sample corrected."""
    origins: int
    """Distinct origins with a loss of both; `losses` counts (symbol, origin) pairs."""
    losses: int
    verdict: Verdict


def newey_west_t(series: ArrayLike, lags: int | None = None) -> Estimate:
    """t-test of the mean of an autocorrelated series, e.g. ICs by date, against 0.

    Variance of the mean: (g_0 + 2 sum_{j <= L} (1 - j / (L + 1)) g_j) / n with autocovariances g_j = (1/n) sum
    (x_t - m)(x_{t-j} - m), Bartlett weights; no degrees-of-freedom correction; p from Student's t with n - 1 degrees.
    Source: Newey & West (1987), Econometrica 55.

    Args:
        series: (T,).
        lags: L >= 0, below n; None takes floor(4 (n / 100)^(2/9)), the usual rule after Newey & West (1994). Values
            whose windows overlap by k steps need at least L = k.

    Returns:
        se, t and p are NaN with fewer than 2 values or when all are equal.

    Raises:
        DataError: not (T,), or an infinite value.
        ConfigError: impossible lags.
    """
    values = without_gaps(series, "a series")
    n = len(values)
    if lags is None:
        lags = min(int(4 * (n / 100) ** (2 / 9)), max(n - 1, 0))
    if lags < 0 or (lags and lags >= n):
        raise ConfigError(f"Newey-West takes 0 lags or more, below the {n} values of the series, found {lags}.")
    mean = float(values.mean()) if n else float("nan")
    nothing = Estimate(mean, float("nan"), float("nan"), float("nan"), n)
    if n < 2 or np.ptp(values) == 0:
        return nothing
    se = float(np.sqrt(_long_run(values, lags, bartlett=True) / n))
    if not se > 0:
        return nothing
    return Estimate(mean, se, mean / se, _two_sided(mean / se, n - 1), n)


def diebold_mariano(loss_a: ArrayLike, loss_b: ArrayLike, horizon: int) -> DM:
    """Test of equal expected loss of two forecasts, corrected for small samples.

    d = a - b, its long-run variance from h - 1 autocovariances with equal weights (if that is not above 0, with
    Bartlett weights); the statistic times sqrt((n + 1 - 2h + h (h - 1) / n) / n), against Student's t with n - 1
    degrees. Sources: Diebold & Mariano (1995), J. Bus. Econ. Stat. 13; Harvey, Leybourne & Newbold (1997), "Testing
    the equality of prediction mean squared errors", Int. J. Forecasting 13.

    Args:
        loss_a, loss_b: (T,), in order of time, one value per origin: average over symbols first (`compare` does).
        horizon: h, in steps of this series: over how many consecutive values the forecast windows overlap; 1 when
            they do not. It is the forecast horizon itself only if there is an origin at every bar.

    Returns:
        p_value 1 and statistic 0 where the losses are the same throughout; NaN with fewer than 2 values, n <= h, or a
        difference without variation.

    Raises:
        DataError: shapes that differ, or an infinite loss.
        ConfigError: horizon below 1.
    """
    if horizon < 1:
        raise ConfigError(f"a horizon is 1 or more, found {horizon}.")
    a, b = np.asarray(loss_a, np.float64), np.asarray(loss_b, np.float64)
    if a.shape != b.shape:
        raise DataError(f"losses to compare come in pairs, found shapes {a.shape} and {b.shape}.")
    values = without_gaps(np.where(np.isinf(a) | np.isinf(b), np.inf, a - np.where(np.isinf(b), 0.0, b)), "the losses")
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n and not values.any():
        return DM(0.0, 0.0, 1.0, n)
    nothing = DM(mean, float("nan"), float("nan"), n)
    if n <= horizon or np.ptp(values) == 0:
        return nothing
    variance = _long_run(values, horizon - 1, bartlett=False)
    if not variance > 0:
        variance = _long_run(values, horizon - 1, bartlett=True)
    if not variance > 0:
        return nothing
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = mean / np.sqrt(variance / n) * np.sqrt(correction)
    return DM(mean, float(statistic), _two_sided(float(statistic), n - 1), n)


def compare(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    origins: ArrayLike,
    horizon: int,
    *,
    stride: int = 1,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Whether forecasts a are better than b, judged by origins: the same days move all symbols.

    Losses are averaged over the symbols of an origin first; Diebold-Mariano test and stationary bootstrap (blocks of
    `optimal_block`, at least two horizons long where origins overlap) then run over the origins in order of time.
    "better" or "worse" takes both: an interval without 0 and a p-value below 1 - level. Each call is one question: of
    20 comparisons without any difference one is "shown" at 0.95.

    Args:
        loss_a, loss_b: (N,), one value per symbol and origin, lower is better; a pair with a NaN is left out.
        origins: (N,), what orders and groups them: timestamps or numbers.
        horizon: bars ahead that a loss covers.
        stride: bars between origins; ceil(horizon / stride) neighbouring origins then share bars, which test and blocks
            allow for.
        draws, level, seed: of the bootstrap.

    Returns:
        Means over origins. The verdict is "too few origins" below `LEAST_ORIGINS`, and where they span fewer than
        `LEAST_WINDOWS` horizons.

    Raises:
        DataError: lengths that differ, or a loss that is infinite.
        ConfigError: impossible horizon, stride, draws or level.
    """
    if horizon < 1 or stride < 1:
        raise ConfigError(f"horizon and stride are 1 or more, found {horizon} and {stride}.")
    frame = pd.DataFrame({"a": _column(loss_a), "b": _column(loss_b)})
    keys = pd.Series(np.asarray(origins) if not isinstance(origins, pd.Series | pd.Index) else origins.array)
    if len(keys) != len(frame):
        raise DataError(f"{len(frame)} pairs of losses need as many origins, found {len(keys)}.")
    known = frame.notna().all(axis=1)
    by_origin = frame[known].groupby(keys[known], sort=True).mean()
    a, b = by_origin["a"].to_numpy(), by_origin["b"].to_numpy()
    n, overlap = len(a), -(-horizon // stride)
    test = diebold_mariano(a, b, overlap)
    block = max(2.0 * overlap if overlap > 1 else 1.0, optimal_block(a - b))
    interval = block_bootstrap(a - b, block, draws, level, seed)
    verdict: Verdict = "no difference shown"
    if n < max(LEAST_ORIGINS, LEAST_WINDOWS * overlap):
        verdict = "too few origins"
    elif test.p_value < 1 - level and interval.high < 0:
        verdict = "better"
    elif test.p_value < 1 - level and interval.low > 0:
        verdict = "worse"
    return Comparison(
        mean_a=float(a.mean()) if n else float("nan"),
        mean_b=float(b.mean()) if n else float("nan"),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        p_value=test.p_value,
        origins=n,
        losses=int(known.sum()),
        verdict=verdict,
    )


def group_difference(groups: Sequence[ArrayLike], one: int, two: int) -> Estimate:
    """Whether the means of two of several small groups of independent values differ, whichever two are looked at.

    Difference of the means over its standard error, against the studentized range of as many groups: p < 0.05 comes about once in
    20 sets of groups without any difference. The error is that of the variance pooled over all groups, or that of
    the two with a variance each where this is larger; degrees of freedom are those of the one that is taken. With the pooled
    variance alone (Tukey-Kramer) a scattered group finds differences in noise, with each pair's own (Games-Howell) two or three
    values that happen to lie close do; docs/measures.md has the rates. Sources: Kramer (1956), Biometrics 12; Games & Howell
    (1976), J. Educ. Stat. 1; Welch (1947), Biometrika 34.

    Args:
        groups: (n,) each, of any length; those with fewer than 2 values take no part.
        one, two: which are compared.

    Returns:
        mean of `one` minus that of `two`; se, t and p are NaN where one of the two has fewer than 2 values, or all are without
        variation. n counts both.

    Raises:
        DataError: not one-dimensional, or an infinite value.
    """
    every = [without_gaps(group, "a group") for group in groups]
    a, b = every[one], every[two]
    mean = float(a.mean() - b.mean()) if len(a) and len(b) else float("nan")
    nothing = Estimate(mean, float("nan"), float("nan"), float("nan"), len(a) + len(b))
    known = [values for values in every if len(values) > 1]
    degrees = float(sum(len(values) - 1 for values in known))
    if min(len(a), len(b)) < 2 or not any(np.ptp(values) for values in known):
        return nothing
    from scipy.stats import studentized_range  # a second, needed only here

    pooled = (
        sum(float(values.var(ddof=1)) * (len(values) - 1) for values in known) / degrees * (1 / len(a) + 1 / len(b))
    )
    parts = [float(values.var(ddof=1)) / len(values) for values in (a, b)]
    own = sum(parts)
    if own >= pooled * (1 - 1e-9):  # of two groups of one size they are the same, and Welch's test is meant
        degrees = own**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    se = float(np.sqrt(max(own, pooled)))
    p = float(studentized_range.sf(abs(mean) / se * np.sqrt(2), len(known), degrees))
    return Estimate(mean, se, mean / se, min(p, 1.0), len(a) + len(b))


def _long_run(values: Array, lags: int, bartlett: bool) -> float:
    """g_0 + 2 sum_j w_j g_j up to `lags`, autocovariances over n."""
    centred, n = values - values.mean(), len(values)
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1) if bartlett else 1.0
        total += 2 * weight * float(centred[lag:] @ centred[:-lag])
    return total / n


def _two_sided(statistic: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(statistic)))


def _column(loss: ArrayLike) -> Array:
    found = np.asarray(loss, np.float64)
    if found.ndim != 1:
        raise DataError(f"losses are one value per symbol and origin, (N,), found shape {found.shape}.")
    if np.isinf(found).any():
        raise DataError(f"{int(np.isinf(found).sum())} losses are infinite. A mean of them says nothing.")
    return found
