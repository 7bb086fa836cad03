"""Information coefficients: does the forecast order things as they came to be?

NaN policy as in `point`: pairs whose truth is NaN are left out, a forecast that is not finite is an error; constant
input, on either side, has no correlation and gives NaN, and so do fewer than 2 pairs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chandler.errors import ConfigError
from chandler.measures.point import matched

Array = NDArray[np.float64]
Kind = Literal["ic", "rank_ic"]


def ic(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Information coefficient: Pearson correlation of forecasts (N,) with what came true (N,), in [-1, 1].

    Across symbols at one date (see `cross_section`), or along one predicted path (H,) and the true one, as Kronos scores
    price forecasts (arXiv 2508.02739). Of levels, as there, two paths that merely drift the same way correlate highly,
    and two that drift apart do so with the other sign, so single values scatter between -1 and 1 and only the mean of many
    says something.

    Raises:
        DataError: shapes that differ, or a forecast that is not finite.
    """
    return _pearson(*_known(forecast, truth))


def rank_ic(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Spearman correlation of forecasts (N,) with what came true (N,), equal values sharing the mean of their ranks.

    Ranks are among the pairs that have a truth. Errors as `ic`.
    """
    made, came = _known(forecast, truth)
    return _pearson(ranks(made), ranks(came))


def rank_correlation(forecast: Array, truth: Array) -> float:
    """`rank_ic` of two lists (N,) without gaps, but 0 where one of them has a single value.

    What orders nothing, orders nothing rightly: a model that says the same of all must not be chosen.
    """
    a, b = ranks(forecast), ranks(truth)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def cross_section(
    frame: pd.DataFrame, date: str, forecast: str, truth: str, *, kind: Kind = "ic", least: int = 3
) -> pd.Series:
    """The coefficient across symbols at each date: one number per date, whose mean `newey_west_t` can test.

    Args:
        frame: one row per symbol and date.
        date, forecast, truth: names of its columns.
        kind: "ic" or "rank_ic".
        least: pairs that a date must have; with fewer its value is NaN. With 2 every coefficient is 1 or -1.

    Returns:
        A float series in order of dates, indexed by date, named as `kind`; dates without a value are kept as NaN.

    Raises:
        ConfigError: a column that is not there, or another kind.
        DataError: a forecast that is not finite at a row with a truth.
    """
    measures = {"ic": ic, "rank_ic": rank_ic}
    if kind not in measures:
        raise ConfigError(f'kind of coefficient is "ic" or "rank_ic", found {kind!r}.')
    absent = [name for name in (date, forecast, truth) if name not in frame.columns]
    if absent:
        raise ConfigError(f"the frame has no column {', '.join(absent)}; it has: {', '.join(map(str, frame.columns))}.")
    values = {}
    for moment, rows in frame.groupby(date, sort=True):
        known = rows[rows[truth].notna()]
        values[moment] = measures[kind](known[forecast], known[truth]) if len(known) >= least else np.nan
    return pd.Series(list(values.values()), pd.Index(list(values), name=date), np.float64, kind)


def ranks(values: ArrayLike) -> Array:
    """Ranks from 1, (N,); equal values share the mean of theirs."""
    found = np.asarray(values, np.float64)
    _, place, counts = np.unique(found, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _known(forecast: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    made, came = matched(forecast, truth)
    known = ~np.isnan(came)
    return made[known], came[known]


def _pearson(a: Array, b: Array) -> float:
    # ptp, not std: the std of equal numbers can be a rounding error above 0.
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    # Scaled first: squares of prices of 1e200 or volumes of 1e-200 leave the range of floats.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
