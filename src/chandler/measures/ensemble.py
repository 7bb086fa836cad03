"""What a set of equally likely paths says: bands, probabilities, returns, volatility; and bars made whole.

Pure functions of arrays; finite numbers in, finite numbers out (what has no value raises).
"""

from __future__ import annotations

import operator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chandler.data.bars import FEATURES
from chandler.errors import ConfigError, DataError

Floats = NDArray[np.float64]
ReturnKind = Literal["simple", "log"]
OPEN, HIGH, LOW, CLOSE = (FEATURES.index(name) for name in ("open", "high", "low", "close"))
PRICE_FLOOR = 0.01
"""Repair lifts prices to this share of the lowest low of the history: what lies below has no meaning."""


def band_levels(level: float) -> tuple[float, float]:
    """The two quantiles between which the central `level` of a distribution lies: 0.8 -> (0.1, 0.9).

    Raises:
        ConfigError: a level outside (0, 1).
    """
    if isinstance(level, bool) or not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise ConfigError(f"level is a share of the paths, above 0 and below 1, found {level!r}. 0.8 is usual.")
    # Rounded: (1 - 0.8) / 2 is 0.09999999999999998, and column names should read well.
    return round((1 - float(level)) / 2, 12), round((1 + float(level)) / 2, 12)


def share_above(values: Floats, level: float, step: int | Literal["any"]) -> float:
    """Share of paths with values (P, H) above `level`, strictly.

    Args:
        values: one feature of each path.
        level: in its units, finite.
        step: 1 .. H as in `Forecast.to_frame`, or from the end (-1 is the last); "any": at least once.

    Raises:
        ConfigError: another step, or a level that is no finite number.
    """
    try:
        threshold = float(level)
    except (TypeError, ValueError):
        threshold = np.nan
    if not np.isfinite(threshold):
        raise ConfigError(f"level must be a finite number in price units, found {level!r}.")
    above = values > threshold
    if isinstance(step, str):
        if step != "any":
            raise ConfigError(f'step is a whole number or "any", found {step!r}.')
        return float(above.any(axis=1).mean())
    horizon = values.shape[1]
    try:
        number = operator.index(step)
    except TypeError:
        number = 0
    if isinstance(step, bool) or not 1 <= abs(number) <= horizon:
        raise ConfigError(f'step must be 1 to {horizon}, -{horizon} to -1, or "any", found {step!r}.')
    return float(above[:, number - 1 if number > 0 else number].mean())


def returns(prices: Floats, last: float, kind: ReturnKind = "simple") -> Floats:
    """Return of each path at each step against the last known price.

    Args:
        prices: (P, H).
        last: > 0, in the same units.
        kind: "simple" is p / last - 1, "log" is ln(p / last).

    Returns:
        (P, H).

    Raises:
        ConfigError: another kind.
        DataError: a last price that is not above 0; "log" where a path's price is not above 0.
    """
    if kind not in get_args(ReturnKind):
        raise ConfigError(f'kind of return is "simple" or "log", found {kind!r}.')
    if not last > 0:
        raise DataError(f"a return needs a last price above 0, found {last!r}.")
    if kind == "simple":
        return prices / last - 1
    _require_positive(prices)
    return np.log(prices / last)


def realised_variance(prices: Floats, last: float) -> Floats:
    """Realised variance of each path: the sum of its squared log returns, the first one from the last known price.

    Kronos (arXiv 2508.02739), where it is called realised volatility: RV = sum over the horizon of r_t^2, r_t = ln(p_t / p_(t-1)).

    Args:
        prices: (P, H) closes.
        last: the last known close, > 0.

    Returns:
        (P,), without a unit, over the whole horizon and not annualised.

    Raises:
        DataError: a price that is not above 0.
    """
    if not last > 0:
        raise DataError(f"a return needs a last price above 0, found {last!r}.")
    _require_positive(prices)
    known = np.full((len(prices), 1), last)
    steps: Floats = np.diff(np.log(np.concatenate((known, prices), axis=1)), axis=1)
    return np.square(steps).sum(axis=1)


def fair_crps(paths: Floats, truth: Floats) -> Floats:
    """Continuous ranked probability score of paths (..., P, H) against the truth (..., H), step by step; lower is better.

    E|X - y| - E|X - X'| / 2 by the fair estimator, whose mean does not depend on the number of paths P:
    sum_i |x_i - y| / P - sum_ij |x_i - x_j| / (2 P (P - 1)). A forecast that is one point (P = 1) scores |x - y|.
    Source: Ferro (2014), "Fair scores for ensemble forecasts", Q. J. R. Meteorol. Soc. 140; the pairwise sum over
    sorted paths as in Jordan, Krueger & Lerch (2019), "Evaluating probabilistic forecasts with scoringRules".

    Returns:
        (..., H), in the unit of the paths.
    """
    count = paths.shape[-2]
    miss = np.abs(paths - truth[..., None, :]).mean(axis=-2)
    if count == 1:
        return np.asarray(miss, np.float64)
    # sum over i < j of (x_(j) - x_(i)) gives each sorted value the weight 2 i - P - 1, i from 1.
    weights = 2.0 * np.arange(1, count + 1) - count - 1
    spread = (weights[:, None] * np.sort(paths, axis=-2)).sum(axis=-2) / (count * (count - 1))
    return np.asarray(miss - spread, np.float64)


def rank_correlation(forecast: Floats, truth: Floats) -> float:
    """Spearman correlation of two lists (N,), equal values sharing the mean of their ranks.

    0 where one of them has a single value: what orders nothing, orders nothing rightly.
    """

    def ranks(values: Floats) -> Floats:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
        return found - found.mean()

    a, b = ranks(forecast), ranks(truth)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _require_positive(prices: Floats) -> None:
    below = prices <= 0
    if below.any():
        path, step = np.argwhere(below)[0]
        raise DataError(
            f"{below.any(axis=1).sum()} of {len(prices)} paths hold a price that is not above 0 and has no logarithm, "
            f"first path {path} at step {step + 1} ({prices[path, step]:.6g}). "
            "Call repair() first, which lifts such prices, or take simple returns."
        )


def repair_bars(bars: Floats, lowest: float) -> tuple[Floats, int]:
    """Bars that could have traded, and how many had to be changed for it.

    Prices below 1% of `lowest` are lifted to that; then high >= max(open, close) and low <= min(open, close), by
    moving high and low only; volume and amount >= 0.

    Args:
        bars: (..., 6), finite.
        lowest: the lowest low of the history; <= 0 lifts nothing.

    Returns:
        A new array (..., 6), and the number of bars in which anything differs.
    """
    whole = bars.copy()
    prices = whole[..., : CLOSE + 1]
    if lowest > 0:
        np.maximum(prices, PRICE_FLOOR * lowest, out=prices)
    whole[..., HIGH] = prices.max(axis=-1, where=_mask(LOW), initial=-np.inf)
    whole[..., LOW] = prices.min(axis=-1, where=_mask(HIGH), initial=np.inf)
    np.maximum(whole[..., CLOSE + 1 :], 0, out=whole[..., CLOSE + 1 :])
    return whole, int((whole != bars).any(axis=-1).sum())


def _mask(without: int) -> Any:
    """Which of the four prices count: all but one."""
    return np.arange(CLOSE + 1) != without
