"""The paper's measures of the tasks price, return and volatility, taken from the scores of an evaluation.

Source: Kronos, arXiv 2508.02739. The paper gives single numbers; here each comes with what says whether it is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward import Results
from chandler.measures import ic, r2, rank_ic, variance_mae
from chandler.text import aligned, signed

TITLES = {
    "price": "Price: correlation of predicted and true path, mean over open, high, low and close, then symbols, then origins",
    "return": "Return: correlation of predicted and true return at the last step, across windows",
    "volatility": "Volatility: sum of squared log returns inside the path against what came",
}
HEADS = {
    "price": ("IC", "RankIC", "t of RankIC", "Windows"),
    "return": ("IC", "RankIC", "RankIC by date", "t by date", "Windows"),
    "volatility": ("MAE", "R2", "against naive", "Windows"),
}


@dataclass(frozen=True)
class TaskTable:
    """The measures of one task as text: a row per contender."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]

    def to_text(self) -> str:
        """For a terminal."""
        cells = [("", *self.head), *((name, *values) for name, values in self.rows)]
        return "\n".join([self.title, *aligned(cells)])


def task_table(results: Results, task: str) -> TaskTable:
    """The measures of a task, models first, then baselines.

    price: per window the (rank) correlation along the mean path, averaged over the prices that a contender predicts
    (baselines: the close), then over the symbols of an origin, then over the origins, whose overlap the t of that mean
    takes into account (Newey-West). return: r = mean close at the last step / last close - 1 against the true one, over all
    windows at once as in the paper, and by date across symbols.
    volatility: MAE and R2 of the variance over the horizon, in squared log returns; the difference in MAE to the
    naive contender with its verdict.

    Raises:
        ConfigError: a task without such measures.
    """
    measures: dict[str, Callable[[Results, str], tuple[str, ...]]] = {
        "price": _price, "return": _return, "volatility": _volatility}  # fmt: skip
    if task not in measures:
        raise ConfigError(f"the task {task} has no measures of this kind; there are {', '.join(measures)}.")
    names = [name for name in [*results.raw_models, *results.baselines] if results.prices(name)]
    rows = tuple((name, (*measures[task](results, name), f"{len(results.rounds):,}")) for name in names)
    return TaskTable(TITLES[task], HEADS[task], rows)


def _price(results: Results, name: str) -> tuple[str, ...]:
    # Mean over the prices whose path has an order: a flat one (the last close) has no correlation.
    linear, ranked = (results.path_correlations(name, kind).mean(axis=1) for kind in ("ic", "rank_ic"))
    found = results.estimate(results.by_round(ranked))
    return signed(results.by_round(linear).mean()), signed(found.mean), _plain(found.t)


def _return(results: Results, name: str) -> tuple[str, ...]:
    last = results.truth("last")[:, 0]
    made = results.column(name, "mean_close")[:, -1] / last - 1
    came = results.truth("truth_close")[:, -1] / last - 1
    by_date = results.rank_ic(name)
    return (
        signed(ic(made, came)), signed(rank_ic(made, came)), signed(by_date.mean), _plain(by_date.t),
    )  # fmt: skip


def _volatility(results: Results, name: str) -> tuple[str, ...]:
    made, came = results.column(name, "variance")[:, -1], results.truth("truth_variance")[:, -1]
    naive = next((one for one in ("garch", "ewma", "bootstrap", "gaussian_walk") if one in results.baselines), None)
    verdict = ""
    if naive is not None and name != naive:
        theirs = results.column(naive, "variance")[:, -1]
        found = results.compare_losses(np.abs(made - came), np.abs(theirs - came))
        verdict = f"{found.difference:+.2e} ({found.verdict}, {naive})"
    try:
        error, explained = variance_mae(made, came), r2(made, came)
    except DataError:
        error = explained = float("nan")
    return f"{error:.2e}", signed(explained), verdict


def _plain(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"
