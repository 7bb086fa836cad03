"""Turns one forecast and what came true into rows of `scores.parquet`: a row per step, from which every table can be
rebuilt without the paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from chandler.data import CLOSE, FEATURES, LOW, VOLUME, Bars
from chandler.data.calendars import time_features
from chandler.forecasting import PRICE_FLOOR
from chandler.measures import crps, log_returns, naive_error, pit, realised_variance

Array = NDArray[np.float64]
LEVELS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""Quantiles of the close that are kept."""


def quantile_name(level: float) -> str:
    """0.05 -> "q05", 0.025 -> "q025": the column of a quantile."""
    return "q" + f"{level:.3f}"[2:].rstrip("0").ljust(2, "0")


QUANTILES = tuple(quantile_name(level) for level in LEVELS)
TRUTHS = tuple(f"truth_{name}" for name in FEATURES)
MEANS = tuple(f"mean_{name}" for name in FEATURES)


@dataclass(frozen=True, eq=False)
class ForecastSummary:
    """What a contender says of one window."""

    closes: Array | None
    """(P, H) paths of the close; None for one that says nothing of prices."""
    mean: Array
    """(H, 6) mean of each feature, NaN for what it says nothing of."""
    visible: int
    """Rows of history that it saw."""

    @classmethod
    def of_paths(cls, paths: Array, visible: int) -> ForecastSummary:
        """From whole bars (P, H, 6)."""
        return cls(paths[:, :, CLOSE], paths.mean(axis=0), visible)

    @classmethod
    def of_closes(cls, closes: Array, visible: int) -> ForecastSummary:
        """From closes (P, H) alone."""
        mean = np.full((closes.shape[1], len(FEATURES)), np.nan)
        mean[:, CLOSE] = closes.mean(axis=0)
        return cls(closes, mean, visible)


def score_rows(sample: ForecastSummary, history: Bars, truth: Bars, seed: int) -> dict[str, Any]:
    """The columns of one window, (H,) each or one value for all steps; see docs/evaluation.md for what they mean.

    Paths at or below zero have no logarithm: in return space they count as 1% of the lowest low of the history, and
    `floored` says what share of them did.

    Args:
        history: the rows before, the last one being the origin.
        truth: the H rows that came true.
        seed: of the fair draw among ties of the PIT.
    """
    steps = len(truth)
    last = float(history.values[-1, CLOSE])
    came = truth.values[:, CLOSE]
    found: dict[str, Any] = {
        "symbol": history.symbol,
        "origin": naive_times(history.timestamps[-1:]).to_numpy()[0],
        "step": np.arange(1, steps + 1, dtype=np.int32),
        "timestamp": naive_times(truth.timestamps).to_numpy(),
        "hour": time_features(truth.timestamps)[:, 1].astype(np.int32),
        "last": last,
        "naive_step": naive_error(history.values[:, CLOSE]),
        "naive_volume_step": naive_error(history.values[:, VOLUME]),
        "visible": sample.visible,
    }
    found |= {name: truth.values[:, i] for i, name in enumerate(TRUTHS)}
    found |= {name: sample.mean[:, i] for i, name in enumerate(MEANS)}
    found["truth_variance"] = realised_variance(log_returns(came, last))
    if sample.closes is None:
        missing = ("crps", "crps_return", "pit", "mean_return", "up", "variance", "floored", *QUANTILES)
        return found | {"paths": 0} | dict.fromkeys(missing, np.nan)
    closes = sample.closes
    floor = PRICE_FLOOR * float(history.values[:, LOW].min())
    lifted = np.maximum(closes, floor)
    logs = log_returns(lifted, last)
    found |= {
        "paths": len(closes),
        "crps": crps(closes, came),
        "crps_return": crps(logs, np.log(came / last)),
        "pit": pit(closes, came, seed=seed),
        "mean_return": logs.mean(axis=0),
        "up": (closes > last).mean(axis=0),
        # Of the paths, not of their mean, which hardly moves.
        "variance": realised_variance(logs).mean(axis=0),
        "floored": (closes < floor).mean(axis=0),
    }
    return found | dict(zip(QUANTILES, _quantiles(closes), strict=True))


def score_table(found: list[dict[str, Any]]) -> pa.Table:
    """Rows of many windows, each with the same columns and its own number of steps, as one table."""
    steps = [len(one["step"]) for one in found]
    columns = {}
    for name in found[0]:
        parts = [np.broadcast_to(np.asarray(one[name]), count) for one, count in zip(found, steps, strict=True)]
        columns[name] = pa.array(np.concatenate(parts))
    return pa.table(columns)


def _quantiles(closes: Array) -> Array:
    """(levels, H) by linear interpolation between paths, as np.quantile gives them, in a tenth of its time."""
    ordered = np.sort(closes, axis=0)
    place = np.asarray(LEVELS) * (len(closes) - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, len(closes) - 1)
    found: Array = ordered[below] + (place - below)[:, None] * (ordered[above] - ordered[below])
    return found


def naive_times(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Naive: wall clock where the data have no zone, else UTC, so that one column holds all symbols."""
    naive = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    return naive.as_unit("ns")
