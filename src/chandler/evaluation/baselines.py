"""What a forecast has to beat: the last close, and a random walk made of the history's own returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError


def last_close(history: ArrayLike, horizon: int) -> NDArray[np.float64]:
    """The last close carried forward: (horizon,), in price units. The best point forecast of a martingale.

    Args:
        history: closes (T,), T >= 1, the newest last.
        horizon: bars ahead, >= 1.

    Raises:
        DataError: no history, or a last close that is not finite.
    """
    closes = _closes(history, least=1)
    return np.full(horizon, closes[-1])


def random_walk(history: ArrayLike, horizon: int, paths: int, *, seed: int) -> NDArray[np.float64]:
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
    closes = _closes(history, least=2)
    if not (closes > 0).all():
        raise DataError("a random walk of log returns needs positive closes. Drop or repair the others.")
    returns = np.diff(np.log(closes))
    drawn = np.random.default_rng(seed).choice(returns, size=(paths, horizon), replace=True)
    return np.asarray(closes[-1] * np.exp(np.cumsum(drawn, axis=1)), np.float64)


def _closes(history: ArrayLike, least: int) -> NDArray[np.float64]:
    closes = np.asarray(history, np.float64)
    if closes.ndim != 1 or len(closes) < least:
        raise DataError(f"a baseline needs at least {least} closes, one after another, found shape {closes.shape}.")
    if not np.isfinite(closes).all():
        raise DataError(f"the history has {int((~np.isfinite(closes)).sum())} closes that are not finite.")
    return closes
