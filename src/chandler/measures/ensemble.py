"""What a set of equally likely paths says: bands, probabilities, returns, volatility.

Pure functions of arrays; finite numbers in, finite numbers out (what has no value raises).
"""

from __future__ import annotations

import operator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chandler.errors import ConfigError, DataError

Floats = NDArray[np.float64]
ReturnKind = Literal["simple", "log"]


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


def path_variance(prices: Floats, last: float) -> Floats:
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


def _require_positive(prices: Floats) -> None:
    below = prices <= 0
    if below.any():
        path, step = np.argwhere(below)[0]
        raise DataError(
            f"{below.any(axis=1).sum()} of {len(prices)} paths hold a price that is not above 0 and has no logarithm, "
            f"first path {path} at step {step + 1} ({prices[path, step]:.6g}). "
            "Call repair() first, which lifts such prices, or take simple returns."
        )
