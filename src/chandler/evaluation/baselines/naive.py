"""Naive distributions of the close, carried forward or walking along returns as the history had them, and of the volume.

`random_walk` keeps the history's mean return; all others are driftless: the median path stays at the last close.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError

Array = NDArray[np.float64]
DECAY = 0.94
"""Of the EWMA per bar. RiskMetrics (1996) found it for daily returns; for other bars it is a convention."""


def last_close(history: ArrayLike, horizon: int, paths: int = 1, *, seed: int = 0) -> Array:
    """The last close carried forward: (1, horizon), in price units. The best point forecast of a martingale.

    Args:
        history: closes (T,), T >= 1, the newest last.
        horizon: bars ahead, >= 1.
        paths, seed: as the others; it is one path all the same, and nothing is drawn.

    Raises:
        DataError: no history, or a last close that is not finite.
    """
    closes = _closes(history, least=1)
    return np.full((1, horizon), closes[-1])


def random_walk(history: ArrayLike, horizon: int, paths: int, *, seed: int) -> Array:
    """Paths from the last close along log returns drawn with replacement from the history: (paths, horizon).

    A bootstrap (Efron 1979) of single returns: it has the spread, skew, tails and mean drift of the history and
    knows nothing of its order, so no volatility clustering. Its history is what it is given: hand it the rows
    that the model saw and the two compare like with like.

    Args:
        history: closes (T,), T >= 2, positive, in price units, the newest last.
        horizon, paths: >= 1.
        seed: of this call's own generator.

    Raises:
        DataError: fewer than 2 closes, or one that is not finite and positive.
    """
    return _drawn(history, past_returns(history), horizon, paths, seed)


def bootstrap(history: ArrayLike, horizon: int, paths: int, *, seed: int) -> Array:
    """`random_walk` without drift: the mean of the past returns is taken off them first; arguments and errors alike.

    The mean return of a few hundred bars is nearly all noise, and as a drift it moves the centre with the horizon.
    """
    returns = past_returns(history)
    return _drawn(history, returns - returns.mean(), horizon, paths, seed)


def gaussian_walk(history: ArrayLike, horizon: int, paths: int, *, seed: int) -> Array:
    """Paths of a Gaussian random walk of log prices without drift; arguments and errors as `random_walk`.

    Its volatility per bar is the root of the mean squared log return of the history.
    """
    scale = np.sqrt(np.square(past_returns(history)).mean())
    return along(history, scale * np.random.default_rng(seed).standard_normal((paths, horizon)))


def ewma(history: ArrayLike, horizon: int, paths: int, *, seed: int) -> Array:
    """As `gaussian_walk`, with the volatility of the latest bars: an exponentially weighted mean of squared returns.

    variance = sum 0.94^i r_{t-i}^2 / sum 0.94^i, the same at all steps ahead. Source: RiskMetrics Technical Document
    (J.P. Morgan 1996), section 5.2, with the weights of a finite history made to sum to 1.
    """
    squares = np.square(past_returns(history))[::-1]
    scale = np.sqrt(np.average(squares, weights=DECAY ** np.arange(len(squares))))
    return along(history, scale * np.random.default_rng(seed).standard_normal((paths, horizon)))


def volume_by_time_of_day(
    volumes: ArrayLike, timestamps: pd.DatetimeIndex, future_timestamps: pd.DatetimeIndex
) -> Array:
    """Mean of the past volumes at the same wall-clock time, for each bar to come: (H,), in units of the volumes.

    A time of day that the history does not have gets the mean of all; so daily bars all get that.

    Args:
        volumes: (T,), T >= 1; NaNs are left out.
        timestamps: (T,), of the history.
        future_timestamps: (H,), of the forecast, in the same zone.

    Raises:
        DataError: lengths that differ, zones that differ, no volume, or an infinite one.
    """
    past = np.asarray(volumes, np.float64)
    if past.shape != (len(timestamps),):
        raise DataError(f"{len(timestamps)} bars need as many volumes, found shape {past.shape}.")
    if str(timestamps.tz) != str(future_timestamps.tz):
        raise DataError(
            f"the history's zone is {timestamps.tz} and that of the bars to come {future_timestamps.tz}; "
            "times of the day would not match. Convert one (tz_convert)."
        )
    if np.isinf(past).any() or np.isnan(past).all():
        raise DataError("a mean volume needs at least one volume that is known, and none that is infinite.")
    known = ~np.isnan(past)
    by_time = pd.Series(past[known]).groupby(_time_of_day(timestamps)[known]).mean()
    return np.asarray(by_time.reindex(_time_of_day(future_timestamps)).fillna(past[known].mean()), np.float64)


def past_returns(history: ArrayLike) -> Array:
    """Log returns (T - 1,) of closes (T,). DataError as `random_walk`."""
    closes = _closes(history, least=2)
    if not (closes > 0).all():
        raise DataError("a random walk of log returns needs positive closes. Drop or repair the others.")
    return np.diff(np.log(closes))


def along(history: ArrayLike, returns: Array) -> Array:
    """Closes (P, H) that begin at the last close of the history and follow log returns (P, H)."""
    last = np.asarray(history, np.float64)[-1]
    return np.asarray(last * np.exp(np.cumsum(returns, axis=1)), np.float64)


def _drawn(history: ArrayLike, returns: Array, horizon: int, paths: int, seed: int) -> Array:
    return along(history, np.random.default_rng(seed).choice(returns, size=(paths, horizon), replace=True))


def _closes(history: ArrayLike, least: int) -> Array:
    closes = np.asarray(history, np.float64)
    if closes.ndim != 1 or len(closes) < least:
        raise DataError(f"a baseline needs at least {least} closes, one after another, found shape {closes.shape}.")
    if not np.isfinite(closes).all():
        raise DataError(f"the history has {int((~np.isfinite(closes)).sum())} closes that are not finite.")
    return closes


def _time_of_day(times: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Seconds on the wall clock, also on days when the clock is changed."""
    return np.asarray(times.hour * 3600 + times.minute * 60 + times.second, np.int64)
