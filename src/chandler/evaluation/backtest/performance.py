"""What a curve amounts to: returns, risk, turnover and costs, each by a stated formula, and how much of it is luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.errors import DataError
from chandler.evaluation.backtest.panel import Array, Mask, Panel
from chandler.text import count

EQUAL = "equal"
GAPS = 0.05
"""Share of the bars that a benchmark may lack before it is said."""

FORMULAS = {
    "annual_return": "V ** (N / T) - 1: V the value at the end over that at the start, T bars, N bars a year",
    "benchmark_annual_return": "the same of the benchmark",
    "annual_excess": "AER: N * mean(e), e = return - benchmark return per bar, after costs, not compounded",
    "annual_excess_before_costs": "N * mean(e + c), c = costs per bar / value one bar ago",
    "annual_volatility": "sqrt(N) * std(return), ddof 1",
    "tracking_error": "sqrt(N) * std(e), ddof 1",
    "sharpe": "N * mean(return) / annual_volatility; the riskless rate is 0",
    "information_ratio": "annual_excess / tracking_error",
    "annual_excess_low, annual_excess_high": "95% interval of AER, stationary bootstrap of e in blocks",
    "max_drawdown": "min over time of value / highest value before - 1, the start included",
    "turnover": "mean per bar of (bought + sold value) / value one bar ago: 2 replaces the whole book",
    "annual_cost": "N * mean per bar of costs / value one bar ago",
}
"""What each number of `summarise` is. T counts the bars after the first signal."""


def universe(scores: Array) -> Mask:
    """(T, S) who can be chosen for a bar: the symbols with a score on the last bar before it that has scores."""
    known = np.isfinite(scores)
    signalled = pd.DataFrame(known.astype(float))[known.any(axis=1)]
    return signalled.reindex(range(len(scores))).shift().ffill().eq(1).to_numpy()


def equal_weight(panel: Panel, chosen: Mask | None = None) -> Array:
    """(T,) mean return of the symbols with a bar, equally weighted anew on every bar, without costs.

    A return goes from the last close before to this one, however long a suspension lay between. The first bar, and
    bars without any symbol, return 0. `chosen` (T, S): only these; None: all.
    """
    returns = np.where(panel.has_bar if chosen is None else panel.has_bar & chosen, panel.returns(), np.nan)
    count = np.isfinite(returns).sum(axis=1)
    total = np.nansum(returns, axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), 0.0)


def benchmark_returns(panel: Panel, name: str, chosen: Mask | None = None) -> Array:
    """(T,) returns per bar of "equal" (of the `chosen`) or of one symbol. DataError for another name."""
    if name == EQUAL:
        return equal_weight(panel, chosen)
    if name not in panel.symbols:
        raise DataError(f"benchmark: {name!r} is neither {EQUAL!r} nor a symbol of the data; there are, for example, "
                        f"{', '.join(panel.symbols[:5])}.")  # fmt: skip
    return np.nan_to_num(panel.returns()[:, panel.symbols.index(name)])


def beside_benchmark(panel: Panel, name: str, scores: Array) -> tuple[Array, list[str]]:
    """Scores (T, S) that can be held against a benchmark, and what is to be said of it.

    A symbol that is the benchmark is not held; before its first bar it has no return to hold anything against.

    Raises:
        DataError: it begins after the last signal.
    """
    if name == EQUAL:
        return scores, []
    column, notes = panel.symbols.index(name), []
    own, there = np.arange(len(panel.symbols)) == column, panel.has_bar[:, column]
    before = np.cumsum(there) == 0
    rows = np.flatnonzero(np.isfinite(scores[:, ~own]).any(axis=1))
    early = int(before[rows].sum())
    if early and early == len(rows):
        raise DataError(
            f"benchmark: {name} has no bar up to the last signal ({panel.times[rows[-1]]}), so there is nothing to hold "
            "returns against. Choose another benchmark."
        )
    if early:
        first = panel.times[int(before.sum())]
        notes.append(
            f"The benchmark {name} begins at {first}: the signals of {count(early, 'bar')} before are left out."
        )
    traded = there[rows[early] + 1 : rows[-1] + 2] if len(rows) else there[:0]
    gaps = int((~traded).sum())
    if gaps > GAPS * len(traded):
        notes.append(
            f"The benchmark {name} has no bar on {gaps:,} of the {len(traded):,} that are traded: it returns 0 there, and what "
            "it made in between when it is back."
        )
    return np.where(own | before[:, None], np.nan, scores), notes


def summarise(daily: pd.DataFrame, bars_per_year: float) -> dict[str, float]:
    """The numbers of FORMULAS of a curve's daily frame, and `bars`, `final_value`, `benchmark_final_value`; NaN where
    2 bars are too few."""
    bars = daily.iloc[1:]
    n, count = bars_per_year, len(bars)
    made, excess = bars["return"].to_numpy(), bars["excess"].to_numpy()
    volatility, tracking = np.sqrt(n) * _std(made), np.sqrt(n) * _std(excess)
    values = daily["value"].to_numpy()
    return {
        "bars": float(count),
        "final_value": float(values[-1]),
        "benchmark_final_value": float(daily["benchmark"].iloc[-1]),
        "annual_return": annualised(values[-1], count, n),
        "benchmark_annual_return": annualised(daily["benchmark"].iloc[-1], count, n),
        "annual_excess": float(n * excess.mean()),
        "annual_excess_before_costs": float(n * (excess + bars["cost"].to_numpy()).mean()),
        "annual_volatility": volatility,
        "tracking_error": tracking,
        "sharpe": _ratio(float(n * made.mean()), volatility),
        "information_ratio": _ratio(float(n * excess.mean()), tracking),
        "max_drawdown": float((values / np.maximum.accumulate(values) - 1).min()),
        "turnover": float(bars["turnover"].mean()),
        "annual_cost": float(n * bars["cost"].mean()),
    }


def annualised(growth: float, bars: int, bars_per_year: float) -> float:
    """growth ** (bars_per_year / bars) - 1; -1 where everything was lost."""
    return float(growth ** (bars_per_year / bars) - 1) if growth > 0 else -1.0


def persistence(scores: Array) -> float:
    """Mean rank correlation across symbols between one bar's scores and those of the bar with scores before; in
    [-1, 1], 0 where it cannot be told."""
    rows = scores[np.isfinite(scores).sum(axis=1) >= 3]
    if len(rows) < 2:
        return 0.0
    frame = pd.DataFrame(rows).T
    found = [frame[i].corr(frame[i + 1], method="spearman", min_periods=3) for i in range(len(rows) - 1)]
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def random_scores(like: Array, rho: float, seed: int) -> NDArray[np.float64]:
    """Noise where `like` has scores: (T, S), from one bar with scores to the next of correlation `rho`.

    z_t = rho z_(t-1) + sqrt(1 - rho^2) e_t, e standard normal. With the persistence of real scores, it trades as
    often as they do, and so pays the same costs.
    """
    generator = np.random.default_rng(seed)
    made = np.full(like.shape, np.nan)
    rows = np.flatnonzero(np.isfinite(like).any(axis=1))
    state = generator.standard_normal(like.shape[1])
    for row in rows:
        made[row] = state
        state = rho * state + np.sqrt(max(0.0, 1 - rho**2)) * generator.standard_normal(like.shape[1])
    return np.where(np.isfinite(like), made, np.nan)


def momentum_scores(panel: Panel, like: Array, bars: int, sign: int = 1) -> NDArray[np.float64]:
    """`sign` times the return of the last `bars` bars of the calendar, where `like` has scores: (T, S). sign -1 is
    reversal. Symbols younger than `bars` have no score."""
    before = np.full(panel.value.shape, np.nan)
    before[bars:] = panel.value[:-bars] if bars < len(panel) else np.nan
    return np.where(np.isfinite(like), sign * (panel.value / before - 1), np.nan)


def permutation_test(actual: float, random: Any) -> dict[str, float]:
    """Where a result lies among those of random signals: their 5%, 50% and 95% quantiles, `share`, (1 + how many are at
    least as good) / (1 + how many), which is the p-value of a permutation test, and `share_below`, the same of how many
    are at most as good. With n of them neither is below 1 / (1 + n)."""
    made = np.asarray(random, np.float64)
    low, mid, high = (float(one) for one in np.quantile(made, [0.05, 0.5, 0.95]))
    above, below = (float((1 + found.sum()) / (1 + len(made))) for found in (made >= actual, made <= actual))
    return {"low": low, "median": mid, "high": high, "share": above, "share_below": below}


def _std(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
