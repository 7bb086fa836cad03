"""Means of an evaluation's scores that its page alone shows: by step and symbol, of tails, of adaptive bands."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.evaluation.walk_forward.results import Results
from chandler.measures import adaptive_bands

Array = NDArray[np.float64]


def crps_by_round(results: Results, model: str) -> Array:
    """(rounds, H) CRPS over the last close, means over the windows of each round, in order of time."""
    each = pd.DataFrame(results.column(model, "crps") / results.truth("last"))
    return each.groupby(results.rounds).mean().to_numpy()


def crps_by_symbol(results: Results, model: str, rival: str | None = None) -> pd.Series:
    """CRPS in % of the last close by symbol; with a rival, by how many % it differs from the rival's."""
    own = pd.Series(results.losses(model)["crps"]).groupby(results.symbols).mean()
    return own if rival is None else (own / crps_by_symbol(results, rival) - 1) * 100


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
