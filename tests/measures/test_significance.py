"""Tests of differences against numbers worked out by hand, against statsmodels, and against chance itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chandler.errors import ConfigError, DataError
from chandler.measures.significance import compare, diebold_mariano, newey_west_t

NAN = float("nan")


def test_newey_west_by_hand() -> None:
    # 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3. Autocovariances 14/4 and (2 + 0 + 0)/4; with one lag the second
    # counts 2 x 1/2: (14 + 2) / 4 = 4, so the standard error is sqrt(4 / 4) = 1.
    found = newey_west_t([1.0, 2.0, 3.0, 6.0], lags=1)
    assert (found.mean, found.se, found.t, found.n) == (3.0, 1.0, 3.0, 4)
    assert found.p == pytest.approx(2 * stats.t.sf(3, 3))


def test_newey_west_agrees_with_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    values = np.convolve(np.random.default_rng(0).normal(0.2, 1, 124), np.ones(5), "valid")
    for lags in (0, 4, 9, None):
        used = int(4 * (120 / 100) ** (2 / 9)) if lags is None else lags
        fit = api.OLS(values, np.ones(120)).fit(cov_type="HAC", cov_kwds={"maxlags": used}, use_t=True)
        found = newey_west_t(values, lags)
        assert (found.se, found.t, found.p) == pytest.approx((fit.bse[0], fit.tvalues[0], fit.pvalues[0]))


def test_newey_west_leaves_gaps_out_and_shows_nothing_without_variation() -> None:
    assert newey_west_t([1.0, NAN, 2.0, 3.0, 6.0], lags=1).se == 1.0
    for nothing in ([], [1.0], [0.1, 0.1, 0.1]):
        assert np.isnan(newey_west_t(nothing).p)
    with pytest.raises(ConfigError, match="below the 2 values"):
        newey_west_t([1.0, 2.0], lags=2)
    with pytest.raises(DataError, match="infinite"):
        newey_west_t([1.0, np.inf])


def test_diebold_mariano_one_step_ahead_is_the_t_test_of_the_differences() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.chisquare(3, 20), rng.chisquare(3, 20)
    found, plain = diebold_mariano(a, b, 1), stats.ttest_rel(a, b)
    assert found.mean_difference == pytest.approx((a - b).mean())
    assert (found.statistic, found.p_value) == pytest.approx((plain.statistic, plain.pvalue))


def test_diebold_mariano_two_steps_ahead_by_hand() -> None:
    # Differences 1, 2, 3, 6 as above: variance (14 + 2 x 2) / 4 = 4.5 of the sum's terms, / 4 of the mean.
    # Correction for n = 4, h = 2: (4 + 1 - 4 + 2 / 4) / 4 = 0.375.
    found = diebold_mariano([1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0], 2)
    assert found.statistic == pytest.approx(3 / np.sqrt(4.5 / 4) * np.sqrt(0.375))
    assert found.p_value == pytest.approx(2 * stats.t.sf(found.statistic, 3))
    assert found.n == 4


def test_diebold_mariano_with_a_negative_variance_takes_bartlett_weights() -> None:
    # Alternating differences: g_0 + 2 g_1 is 1 - 2 x 11 / 12, below 0; with Bartlett weights 1 - 11 / 12.
    a = np.tile([1.0, -1.0], 6) + 0.1
    found = diebold_mariano(a, np.zeros(12), 2)
    bartlett = newey_west_t(a, lags=1)
    assert found.statistic == pytest.approx(bartlett.t * np.sqrt((12 + 1 - 4 + 2 / 12) / 12))


def test_diebold_mariano_where_nothing_can_be_said() -> None:
    assert diebold_mariano([1.0, 2.0], [1.0, 2.0], 1).p_value == 1.0
    assert np.isnan(diebold_mariano([2.0, 3.0], [1.0, 2.0], 1).p_value)
    assert np.isnan(diebold_mariano([1.0, 2.0, 4.0], [0.0, 0.0, 0.0], 3).p_value)
    with pytest.raises(DataError, match="infinite"):
        diebold_mariano([np.inf, 2.0], [np.inf, 2.0], 1)
    with pytest.raises(ConfigError, match="horizon"):
        diebold_mariano([1.0], [1.0], 0)


def test_compare_averages_the_symbols_of_an_origin_first() -> None:
    # Origin 1 has losses 1 and 3 against 0, origin 2 has 5 and one without a truth.
    found = compare([1.0, 3.0, 5.0, NAN], [0.0, 0.0, 1.0, 9.0], [1, 1, 2, 2], 1)
    assert (found.mean_a, found.mean_b, found.difference) == (3.5, 0.5, 3.0)
    assert (found.origins, found.losses, found.verdict) == (2, 3, "too few origins")


def test_a_hundred_symbols_on_one_day_are_one_observation() -> None:
    rng = np.random.default_rng(2)
    origins = np.repeat(np.arange(12), 100)
    # On each day all symbols err alike: 12 coins were thrown, not 1,200.
    shared = np.repeat(rng.normal(0.3, 1, 12), 100) + rng.normal(0, 0.01, 1200)
    assert stats.ttest_1samp(shared, 0).pvalue < 1e-6
    assert compare(shared, np.zeros(1200), origins, 1).verdict == "no difference shown"


def test_compare_sees_a_real_difference_on_either_side() -> None:
    rng = np.random.default_rng(3)
    days = pd.date_range("2024-01-01", periods=40, tz="UTC")
    a, b = rng.normal(1.0, 0.3, 40), rng.normal(1.5, 0.3, 40)
    better, worse = compare(a, b, days, 1), compare(b, a, days, 1)
    assert better.verdict == "better"
    assert better.low < better.difference < better.high < 0
    assert better.p_value < 0.05
    assert worse.verdict == "worse"
    assert worse.difference == pytest.approx(-better.difference)
    assert compare(a, a, days, 1).verdict == "no difference shown"


def test_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    a, b, origins, mixed = rng.normal(size=60), rng.normal(size=60), np.arange(60) // 2, rng.permutation(60)
    assert compare(a, b, origins, 3) == compare(a[mixed], b[mixed], origins[mixed], 3)


def test_equal_forecasts_are_told_apart_in_one_of_twenty_cases_also_where_windows_overlap() -> None:
    rng = np.random.default_rng(5)
    for origins, horizon, stride in ((20, 1, 1), (60, 12, 2), (40, 10, 1)):
        overlap = horizon // stride
        verdicts = [
            compare(np.convolve(rng.normal(size=origins + overlap - 1), np.ones(overlap), "valid"),
                    np.zeros(origins), np.arange(origins), horizon, stride=stride, draws=100).verdict
            for _ in range(120)
        ]  # fmt: skip
        assert np.mean([one in ("better", "worse") for one in verdicts]) < 0.1


def test_origins_that_span_few_horizons_are_too_few() -> None:
    rng = np.random.default_rng(6)
    loss = rng.normal(5, 1, 90)
    assert compare(loss, np.zeros(90), np.arange(90), 24).verdict == "too few origins"  # 90 < 4 x 24
    assert compare(loss, np.zeros(90), np.arange(90), 24, stride=24).verdict == "worse"
    assert compare(loss[:9], np.zeros(9), np.arange(9), 1).verdict == "too few origins"


def test_losses_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="2 pairs of losses need as many origins, found 3"):
        compare([1.0, 2.0], [1.0, 2.0], [1, 2, 3], 1)
    with pytest.raises(DataError, match="1 losses are infinite"):
        compare([np.inf, 2.0], [1.0, 2.0], [1, 2], 1)
    with pytest.raises(ConfigError, match="stride"):
        compare([1.0], [1.0], [1], 1, stride=0)
