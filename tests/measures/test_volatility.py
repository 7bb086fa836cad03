"""Realised variance and its losses against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import DataError
from chandler.measures import log_returns, qlike, r2, realised_variance, variance_mae
from chandler.measures.ensemble import path_variance as variance_of_paths

NAN = float("nan")


def test_realised_variance_sums_squared_log_returns() -> None:
    # Logs 0 -> 0.1 -> 0.1 -> -0.2: 0.01 + 0 + 0.09.
    assert realised_variance([0.1, 0.1, -0.2]) == pytest.approx([0.01, 0.01, 0.10])


def test_realised_variance_of_paths_is_that_of_the_forecast() -> None:
    closes = 50 * np.exp(np.random.default_rng(0).normal(0, 0.01, (7, 12)).cumsum(axis=1))
    assert realised_variance(log_returns(closes, 50.0))[:, -1] == pytest.approx(variance_of_paths(closes, 50.0))


def test_realised_variance_of_a_truth_with_a_gap_is_not_known() -> None:
    found = realised_variance(log_returns([[1.0, NAN, 1.0], [1.0, 2.0, 1.0]], [1.0, 1.0]))
    assert np.isnan(found[0, 1:]).all()
    assert found[1] == pytest.approx([0, np.log(2) ** 2, 2 * np.log(2) ** 2])


def test_mae_and_r2() -> None:
    # Errors 1, 1, 0; truths 1, 2, 3 vary by 2 around their mean.
    assert variance_mae([2.0, 1.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(2 / 3)
    assert r2([2.0, 1.0, 3.0], [1.0, 2.0, 3.0]) == 1 - 2 / 2
    assert r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1
    assert r2([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == 0
    assert r2([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]) == -3
    assert np.isnan(r2([1.0, 2.0], [0.1, 0.1]))


def test_qlike_of_half_and_double() -> None:
    # y / f = 2: 2 - ln 2 - 1. y / f = 1/2: 1/2 + ln 2 - 1. Too low costs more than too high.
    assert qlike([1.0, 2.0, 5.0], [2.0, 1.0, 5.0]) == pytest.approx([1 - np.log(2), np.log(2) - 0.5, 0])
    assert qlike([1.0, 2.0], [2.0, 1.0]).mean() == pytest.approx(0.25)


def test_qlike_has_no_answer_to_a_truth_of_0_and_none_to_excuse_a_forecast_of_0() -> None:
    assert np.array_equal(qlike([1.0, 1.0, 1.0], [0.0, NAN, 1.0]), [NAN, NAN, 0], equal_nan=True)
    assert qlike([0.0, 1.0], [1.0, 1.0]).tolist() == [np.inf, 0]
    assert np.isnan(qlike([0.0], [0.0])).all()


def test_qlike_prefers_the_true_variance_though_its_proxy_is_noisy() -> None:
    truth = 0.04 * np.random.default_rng(0).chisquare(1, 20_000)  # mean 0.04
    losses = {forecast: np.nanmean(qlike(np.full(20_000, forecast), truth)) for forecast in (0.03, 0.04, 0.05)}
    assert min(losses, key=losses.__getitem__) == 0.04


def test_impossible_variances_are_refused() -> None:
    with pytest.raises(DataError, match="never below 0"):
        qlike([-1.0], [1.0])
    with pytest.raises(DataError, match="not finite"):
        variance_mae([NAN], [1.0])
