"""Means of an evaluation's scores that its page alone shows: by step, symbol and hour, of tails, of adaptive bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.evaluation.walk_forward.results import Results
from chandler.measures import adaptive_bands

Array = NDArray[np.float64]


def crps_by_step(results: Results, name: str) -> Array:
    """(rounds, H) of the close, as a share of the last close: means over the symbols of each round."""
    each = pd.DataFrame(results.column(name, "crps") / results.truth("last"))
    return each.groupby(results.rounds).mean().to_numpy()


def crps_by_symbol(results: Results, name: str) -> pd.Series:
    """In % of the last close, by symbol."""
    return pd.Series(results.losses(name)["crps"]).groupby(results.symbols).mean()


def symbol_shares(results: Results, models: Sequence[str], naive: str) -> dict[str, pd.Series]:
    """CRPS of each model against naive by symbol, in %."""
    base = crps_by_symbol(results, naive)
    return {model: (crps_by_symbol(results, model) / base - 1) * 100 for model in models}


def crps_by_hour(results: Results, name: str) -> pd.Series:
    """As a share of the last close, by the hour at which a forecast bar begins."""
    values = results.column(name, "crps") / results.truth("last")
    return pd.Series(values.ravel()).groupby(results.truth("hour").ravel()).mean()


def pinball(results: Results, name: str) -> float:
    """Mean pinball loss of the 5% and 95% quantiles, in % of the last close: what tails cost."""
    if not results.spreads(name):
        return float("nan")
    came, last = results.truth("truth_close"), results.truth("last")
    losses = []
    for level, column in ((0.05, "q05"), (0.95, "q95")):
        above = came - results.column(name, column)
        losses.append(np.maximum(level * above, (level - 1) * above) / last)
    return results.mean(np.mean(losses, axis=(0, 2))) * 100


def adaptive_coverage(results: Results, model: str, level: float) -> tuple[float, float]:
    """Coverage of adaptive bands over all steps, and their width in % of the last close.

    Each step is replayed for itself, all symbols of a round together.
    """
    low, high = results.band(model, level)
    came, last = results.truth("truth_close"), results.truth("last")
    numbers, rounds = pd.factorize(results.symbols)[0], results.rounds
    shape = int(rounds.max()) + 1, int(numbers.max()) + 1
    shares, widths = [], []
    for step in range(results.horizon):
        lower, upper, true = panel = np.ones(shape), np.ones(shape), np.full(shape, np.nan)
        for grid, values in zip(panel, (low, high, came), strict=True):
            # A price at or below 0 has no logarithm: such an edge lies below every close all the same.
            grid[rounds, numbers] = np.maximum(values[:, step], 1e-12)
        found = adaptive_bands(lower, upper, true, level, delay=-(-(step + 1) // int(results.state["apart"])))
        shares.append(found.coverage())
        widths.append(((found.high - found.low)[rounds, numbers] / last[:, step]).mean() * 100)
    return float(np.mean(shares)), float(np.mean(widths))
