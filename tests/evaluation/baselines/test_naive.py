"""Naive walks say what they claim to say and nothing more; volumes are means of what the history had at that time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandler.errors import DataError
from chandler.evaluation.baselines import (
    bootstrap,
    ewma,
    gaussian_walk,
    last_close,
    random_walk,
    volume_by_time_of_day,
)

NAN = float("nan")


def test_last_close_is_carried_forward() -> None:
    assert last_close([10.0, 12.0, 11.0], 3).tolist() == [[11.0, 11.0, 11.0]]


def test_random_walk_steps_are_returns_of_the_history() -> None:
    closes = np.array([100.0, 110.0, 99.0])  # +10%, then -10%
    paths = random_walk(closes, 4, 50, seed=0)
    assert paths.shape == (50, 4)
    steps = paths / np.c_[np.full(50, 99.0), paths[:, :-1]]
    assert set(steps.round(9).ravel()) == {1.1, 0.9}
    assert 0.3 < (steps > 1).mean() < 0.7


def test_random_walk_has_the_spread_of_its_history() -> None:
    returns = np.random.default_rng(0).normal(0, 0.01, 400)
    ends = np.log(random_walk(100 * np.exp(np.r_[0, np.cumsum(returns)]), 16, 4000, seed=1)[:, -1])
    assert ends.std() == pytest.approx(returns.std() * 4, rel=0.05)


def test_a_seed_gives_the_same_paths_and_another_seed_others() -> None:
    closes = [10.0, 11.0, 10.5, 10.7]
    assert np.array_equal(random_walk(closes, 5, 9, seed=3), random_walk(closes, 5, 9, seed=3))
    assert not np.array_equal(random_walk(closes, 5, 9, seed=3), random_walk(closes, 5, 9, seed=4))


def test_random_walk_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    random_walk([10.0, 11.0], 5, 9, seed=3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("closes", [[10.0], [10.0, 0.0], [10.0, float("nan")], [[10.0, 11.0]]])
def test_random_walk_refuses_what_has_no_log_returns(closes: list[float]) -> None:
    with pytest.raises(DataError, match="close"):
        random_walk(closes, 5, 9, seed=0)


def closes_of(returns: np.ndarray) -> np.ndarray:
    """Closes from 100 along log returns."""
    return 100 * np.exp(np.r_[0, np.cumsum(returns)])


def test_bootstrap_takes_the_mean_return_off() -> None:
    # Log returns 0.03 and 0.01: mean 0.02, so steps of +0.01 and -0.01 are left.
    paths = bootstrap(closes_of(np.array([0.03, 0.01])), 3, 40, seed=0)
    steps = np.diff(np.log(paths), axis=1)
    assert set(steps.round(9).ravel()) == {0.01, -0.01}


@pytest.mark.parametrize("walk", [bootstrap, gaussian_walk, ewma])
def test_driftless_walks_keep_the_median_at_the_last_close(walk) -> None:  # type: ignore[no-untyped-def]
    rising = closes_of(np.random.default_rng(0).normal(0.002, 0.01, 500))
    ends = walk(rising, 16, 8000, seed=1)[:, -1]
    # A drift of 0.002 a bar would put it 3.2% higher.
    assert np.log(np.median(ends) / rising[-1]) == pytest.approx(0, abs=0.002)
    assert np.log(np.median(random_walk(rising, 16, 8000, seed=1)[:, -1]) / rising[-1]) > 0.02


def test_gaussian_walk_has_the_root_mean_square_of_the_returns() -> None:
    # Log returns 0.03 and -0.01: sqrt((9 + 1) / 2) = sqrt(5) percent a bar.
    paths = gaussian_walk(closes_of(np.array([0.03, -0.01])), 4, 20_000, seed=0)
    steps = np.diff(np.log(paths), axis=1)
    assert steps.std() == pytest.approx(0.01 * np.sqrt(5), rel=0.02)
    assert (np.abs(steps) < 0.01 * np.sqrt(5)).mean() == pytest.approx(0.6827, abs=0.01)


def test_ewma_weighs_the_latest_bar_most() -> None:
    # Squared returns 4, then 1 (newest): (1 + 0.94 x 4) / 1.94.
    steps = np.diff(np.log(ewma(closes_of(np.array([0.02, 0.01])), 4, 20_000, seed=0)), axis=1)
    assert steps.std() == pytest.approx(0.01 * np.sqrt((1 + 0.94 * 4) / 1.94), rel=0.02)
    calm_then_wild = np.r_[np.full(300, 0.001), np.tile([0.03, -0.03], 15)]
    wild = np.diff(np.log(ewma(closes_of(calm_then_wild), 2, 4000, seed=0)), axis=1).std()
    even = np.diff(np.log(gaussian_walk(closes_of(calm_then_wild), 2, 4000, seed=0)), axis=1).std()
    assert wild == pytest.approx(0.03 * np.sqrt(1 - 0.94**30), rel=0.05)
    assert even == pytest.approx(0.03 * np.sqrt(30 / 330), rel=0.05)


def test_each_bar_gets_the_mean_of_its_time_of_day() -> None:
    history = pd.DatetimeIndex(
        ["2024-01-02 09:30", "2024-01-02 10:30", "2024-01-03 09:30", "2024-01-03 10:30"], tz="America/New_York"
    )
    future = pd.DatetimeIndex(["2024-01-04 10:30", "2024-01-04 09:30", "2024-01-04 11:30"], tz="America/New_York")
    # 11:30 was never seen: the mean of all.
    assert volume_by_time_of_day([100.0, 10.0, 300.0, 30.0], history, future).tolist() == [20.0, 200.0, 110.0]
    assert volume_by_time_of_day([100.0, 10.0, NAN, 30.0], history, future).tolist()[1] == 100.0


def test_the_wall_clock_counts_also_when_it_was_changed() -> None:
    history = pd.DatetimeIndex(["2024-03-08 09:30", "2024-03-08 10:30"], tz="America/New_York")
    after = pd.DatetimeIndex(["2024-03-11 09:30"], tz="America/New_York")  # an hour earlier in UTC
    assert volume_by_time_of_day([7.0, 1.0], history, after).tolist() == [7.0]


def test_daily_bars_get_the_mean() -> None:
    days = pd.date_range("2024-01-01", periods=5)
    assert volume_by_time_of_day([1.0, 2.0, 6.0], days[:3], days[3:]).tolist() == [3.0, 3.0]


def test_what_cannot_be_averaged_is_refused() -> None:
    days = pd.date_range("2024-01-01", periods=3)
    with pytest.raises(DataError, match="zone"):
        volume_by_time_of_day([1.0, 2.0], days[:2], days[2:].tz_localize("UTC"))
    with pytest.raises(DataError, match="as many volumes"):
        volume_by_time_of_day(np.ones(3), days[:2], days[2:])
    with pytest.raises(DataError, match="at least one volume"):
        volume_by_time_of_day([NAN, NAN], days[:2], days[2:])
