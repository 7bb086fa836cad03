"""Windows of closes out of a store, for baselines that are trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chandler.data.columns import CLOSE
from chandler.data.datasets.windows import Windows
from chandler.data.store.concatenated import gather_windows
from chandler.data.store.store import BarStore

Array = NDArray[np.float64]


def close_windows(
    store: BarStore, ranges: np.ndarray, lookback: int, horizon: int, *, limit: int = 20_000, seed: int = 0
) -> Array:
    """Closes of windows inside `ranges`, in order of the time of their first bar: what `DLinear.fit` takes.

    Args:
        ranges: (S, 2) rows, e.g. the training part of `data.splits`.
        lookback, horizon: bars.
        limit: of all windows, so many are drawn without replacement.
        seed: of the draw.

    Returns:
        (N, lookback + horizon) float64, in price units; N may be 0.
    """
    windows = Windows(store, ranges, lookback, horizon, extra=0)
    chosen = np.arange(len(windows))
    if len(chosen) > limit:
        chosen = np.random.default_rng(seed).choice(len(windows), limit, replace=False)
    starts = np.sort(windows.starts(chosen))
    starts = starts[np.argsort(np.asarray(store.timestamps[starts]), kind="stable")]
    rows = gather_windows(store.values, starts, lookback + horizon)
    store.release()
    return np.asarray(rows[..., CLOSE], np.float64)
