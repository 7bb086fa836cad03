"""Numbers of a curve against hand-computed ones, and signals that know nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandler.data.bars import Bars
from chandler.data.store.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.backtest import performance
from chandler.evaluation.backtest.panel import Panel

NAN = float("nan")
DAYS = pd.date_range("2024-01-02", periods=5, freq="D")


def panel(**closes):
    series = []
    for symbol, values in closes.items():
        known = [i for i, value in enumerate(values) if value == value]
        rows = [[values[i], values[i] + 1, values[i] - 1, values[i], 1, 1] for i in known]
        series.append(Bars(symbol, DAYS[known], np.array(rows, float)))
    return Panel.from_store(BarStore.from_bars(series))


def test_a_curve_in_numbers():
    """Returns +10%, -10%, +20% against +5%, 0, +5%; 100 bars a year. V = 1.1 x 0.9 x 1.2 = 1.188."""
    made, against = np.array([NAN, 0.1, -0.1, 0.2]), np.array([NAN, 0.05, 0.0, 0.05])
    daily = pd.DataFrame({
        "value": [1, 1.1, 0.99, 1.188], "return": made, "benchmark": [1, 1.05, 1.05, 1.1025],
        "benchmark_return": against, "excess": made - against, "turnover": [0, 1, 0.5, 0.3], "cost": [0, 0.01, 0, 0.002],
    })  # fmt: skip
    found = performance.summarise(daily, 100)
    assert (found["final_value"], found["benchmark_final_value"]) == (1.188, 1.1025)
    assert found["annual_return"] == pytest.approx(1.188 ** (100 / 3) - 1)
    assert found["benchmark_annual_return"] == pytest.approx(1.1025 ** (100 / 3) - 1)
    assert found["annual_excess"] == pytest.approx(100 * (0.05 - 0.1 + 0.15) / 3)
    assert found["annual_excess_before_costs"] == pytest.approx(100 * (0.1 + 0.012) / 3)
    assert found["annual_volatility"] == pytest.approx(10 * np.std([0.1, -0.1, 0.2], ddof=1))
    assert found["information_ratio"] == pytest.approx(100 * 0.1 / 3 / (10 * np.std([0.05, -0.1, 0.15], ddof=1)))
    assert found["max_drawdown"] == pytest.approx(0.99 / 1.1 - 1)
    assert found["turnover"] == pytest.approx(0.6)
    assert found["annual_cost"] == pytest.approx(0.4)
    said = {name for names in performance.FORMULAS for name in names.split(", ")}
    assert set(found) - {"bars", "final_value", "benchmark_final_value"} <= said


def test_the_benchmark_is_the_mean_of_who_could_be_chosen():
    """A +10% then 0, B missing on day 1, then 22/20: the return over the hole counts where it ends. C has no score."""
    bars = panel(A=[10, 11, 11, 11, 11], B=[20, NAN, 22, 22, 22], C=[1, 2, 4, 8, 16])
    assert performance.equal_weight(bars).tolist() == pytest.approx([0, (0.1 + 1) / 2, (0 + 0.1 + 1) / 3, 1 / 3, 1 / 3])
    scores = np.full((5, 3), NAN)
    scores[0, :2] = 1
    scores[2, 0] = 1
    chosen = performance.universe(scores)
    assert chosen.tolist() == [
        [False] * 3,
        [True, True, False],
        [True, True, False],
        [True, False, False],
        [True, False, False],
    ]
    assert performance.benchmark_returns(bars, "equal", chosen).tolist() == pytest.approx([0, 0.1, 0.05, 0, 0])
    assert performance.benchmark_returns(bars, "C").tolist() == pytest.approx([0, 1, 1, 1, 1])
    with pytest.raises(DataError, match="'SPX' is neither 'equal' nor a symbol"):
        performance.benchmark_returns(bars, "SPX")


def test_a_symbol_as_the_benchmark_is_not_held_and_its_gaps_are_told():
    bars = panel(A=[1, 2, 3, 4, 5], B=[1, 1, 1, 1, 1], SPX=[NAN, 7, 8, NAN, 9])
    scores = np.ones((5, 3))
    assert performance.beside_benchmark(bars, "equal", scores) == (scores, [])
    assert np.array_equal(performance.beside_benchmark(bars, "B", scores)[0][:, [0, 2]], np.ones((5, 2)))
    assert performance.beside_benchmark(bars, "B", scores)[1] == []
    found, notes = performance.beside_benchmark(bars, "SPX", scores)
    assert np.isnan(found[:, 2]).all()
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1:, :2], np.ones((4, 2)))
    assert notes[0].endswith("begins at 2024-01-03 00:00:00: the signals of 1 bar before are left out.")
    assert notes[1].startswith("The benchmark SPX has no bar on 1 of the 3 that are traded")
    scores[1:] = NAN
    with pytest.raises(DataError, match=r"benchmark: SPX has no bar up to the last signal \(2024-01-02 00:00:00\)"):
        performance.beside_benchmark(bars, "SPX", scores)


def test_momentum_and_reversal_are_past_returns_where_there_are_scores():
    bars = panel(A=[10, 11, 12, 13, 14], B=[5, 5, 5, 4, 4])
    like = np.where(np.arange(5)[:, None] >= 2, 1.0, NAN) * np.ones(2)
    found = performance.momentum_scores(bars, like, 2)
    assert np.isnan(found[:2]).all()
    assert found[3].tolist() == pytest.approx([13 / 11 - 1, 4 / 5 - 1])
    assert performance.momentum_scores(bars, like, 2, sign=-1)[3].tolist() == pytest.approx([1 - 13 / 11, 0.2])
    assert np.isnan(performance.momentum_scores(bars, like, 9)).all()


def test_random_scores_are_as_persistent_as_the_real_ones_and_stand_where_they_do():
    generator = np.random.default_rng(0)
    real = generator.normal(size=(200, 50))
    for row in range(1, 200):
        real[row] = 0.8 * real[row - 1] + 0.6 * real[row]
    real[:, 7] = NAN
    real[50] = NAN
    rho = performance.persistence(real)
    assert rho == pytest.approx(0.78, abs=0.03)
    made = performance.random_scores(real, rho, seed=1)
    assert np.array_equal(np.isnan(made), np.isnan(real))
    assert performance.persistence(made) == pytest.approx(rho, abs=0.05)
    assert np.array_equal(made, performance.random_scores(real, rho, seed=1), equal_nan=True)
    assert not np.array_equal(made, performance.random_scores(real, rho, seed=2), equal_nan=True)


def test_luck_is_the_share_of_random_results_at_least_as_good():
    found = performance.permutation_test(0.5, [0.1 * one for one in range(1, 10)])
    assert found["share"] == pytest.approx((1 + 5) / 10)
    assert found["share_below"] == pytest.approx((1 + 5) / 10)
    assert found["median"] == pytest.approx(0.5)
