"""Errors of points against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import DataError
from chandler.measures import direction, log_returns, naive_error, scaled

NAN = float("nan")


def test_mase_is_the_error_over_that_of_the_naive_forecast_in_the_history() -> None:
    # History 1, 2, 4: naive errors 1 and 2, mean 1.5. Forecast errors 3 and 0, mean 1.5.
    assert scaled(1.5, naive_error([1.0, 2.0, 4.0])) == 1.0
    # Two bars apart: one error, 3.
    assert scaled(1.5, naive_error([1.0, 2.0, 4.0], season=2)) == 0.5
    # The pair around a gap is left out: 1 is left.
    assert scaled(3.0, naive_error([1.0, 2.0, NAN, 4.0])) == 3.0


def test_mase_has_no_value_where_the_history_never_changes_and_refuses_short_ones() -> None:
    assert naive_error([5.0, 5.0, 5.0]) == 0
    assert np.isnan(scaled([1.0, 2.0], [0.0, NAN])).all()
    with pytest.raises(DataError, match="season 3 needs a history"):
        naive_error([1.0, 2.0, 3.0], season=3)


def test_direction_counts_sides_of_the_last_close() -> None:
    # From 10: said up, down, up, up; came up, up, down, up.
    assert direction([1.0, -1.0, 1.0, 2.0], [2.0, 1.0, -1.0, 0.5]).tolist() == [1, 0, 0, 1]


def test_direction_leaves_standstill_out_and_gives_a_silent_forecast_half() -> None:
    assert direction([1.0, 0.0, 0.0], [2.0, 2.0, -1.0]).tolist() == [1, 0.5, 0.5]
    assert np.isnan(direction([1.0, 0.0, 1.0], [0.0, 0.0, NAN])).all()


def test_log_returns_against_the_last_close() -> None:
    prices = np.array([[np.e, np.e**3], [1.0, NAN]])
    assert log_returns(prices[0], 1.0) == pytest.approx([1.0, 3.0])
    both = log_returns(prices, np.array([1.0, np.e]))
    assert both[1, 0] == pytest.approx(-1.0)
    assert np.isnan(both[1, 1])


@pytest.mark.parametrize(("prices", "last"), [([1.0, 0.0], 1.0), ([1.0, -2.0], 1.0), ([1.0], 0.0), ([1.0], NAN)])
def test_what_has_no_logarithm_is_refused(prices: list[float], last: float) -> None:
    with pytest.raises(DataError, match=r"1 of \d .*not above 0"):
        log_returns(prices, last)
