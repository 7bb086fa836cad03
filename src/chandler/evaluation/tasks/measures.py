"""The paper's measures of the tasks price, return and volatility, taken from the scores of an evaluation.

Source: Kronos, arXiv 2508.02739. The paper gives single numbers; here each comes with what says whether it is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chandler.data.bars import FEATURES
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward.results import Results
from chandler.measures import ic, rank_ic, significance, volatility
from chandler.measures.significance import newey_west_t
from chandler.text import aligned, signed

Array = NDArray[np.float64]
TITLES = {
    "price": "Price: correlation of predicted and true path, per window, mean over open, high, low and close",
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
    (baselines: the close), then over windows; t by Newey-West over origins. return: r = mean close at the last step /
    last close - 1 against the true one, over all windows at once as in the paper, and by date across symbols.
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
    found = {}
    for kind, correlation in (("ic", ic), ("rank_ic", rank_ic)):
        each = []
        for feature in FEATURES[:4]:
            made, came = results.column(name, f"mean_{feature}"), results.truth(f"truth_{feature}")
            if np.isfinite(made).all():
                each.append([correlation(m, c) for m, c in zip(made, came, strict=True)])
        # A flat path (the last close) orders nothing: no correlation.
        known = np.array(each, np.float64)
        usable = np.isfinite(known).any(axis=0)
        found[kind] = np.where(usable, np.nansum(known, axis=0) / np.maximum(np.isfinite(known).sum(axis=0), 1), np.nan)
    by_round = _by_round(found["rank_ic"], results)
    return signed(_mean(found["ic"])), signed(_mean(found["rank_ic"])), _plain(newey_west_t(by_round).t, 1)


def _return(results: Results, name: str) -> tuple[str, ...]:
    last = results.truth("last")[:, 0]
    made = results.column(name, "mean_close")[:, -1] / last - 1
    came = results.truth("truth_close")[:, -1] / last - 1
    by_date = results.rank_ic(name)
    return (
        signed(ic(made, came)), signed(rank_ic(made, came)), signed(by_date.mean), _plain(by_date.t, 1),
    )  # fmt: skip


def _volatility(results: Results, name: str) -> tuple[str, ...]:
    made, came = results.column(name, "variance")[:, -1], results.truth("truth_variance")[:, -1]
    naive = next((one for one in ("garch", "ewma", "bootstrap", "gaussian_walk") if one in results.baselines), None)
    verdict = ""
    if naive is not None and name != naive:
        theirs = np.abs(results.column(naive, "variance")[:, -1] - came)
        found = significance.compare(
            np.abs(made - came), theirs, results.rounds, results.horizon, stride=int(results.state["apart"])
        )
        verdict = f"{found.difference:+.2e} ({found.verdict}, {naive})"
    try:
        error, r2 = volatility.variance_mae(made, came), volatility.r2(made, came)
    except DataError:
        error = r2 = float("nan")
    return f"{error:.2e}", signed(r2), verdict


def _by_round(values: Array, results: Results) -> Array:
    rounds = np.unique(results.rounds, return_inverse=True)[1]
    known = np.isfinite(values)
    total = np.bincount(rounds[known], values[known], minlength=rounds.max() + 1)
    count = np.bincount(rounds[known], minlength=rounds.max() + 1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _plain(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"
