"""What is read off the paths: every number by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chandler.errors import ConfigError, DataError
from chandler.measures.ensemble import (
    band_levels,
    path_variance,
    returns,
    share_above,
)

CLOSES = np.array([[101.0, 99.0], [102.0, 104.0], [98.0, 101.0], [100.0, 100.0]])


def test_the_central_band_leaves_out_equal_tails() -> None:
    assert band_levels(0.8) == (0.1, 0.9)
    assert band_levels(0.5) == (0.25, 0.75)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, math.nan, True, "80%"])
def test_a_band_of_none_or_all_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="level is a share"):
        band_levels(level)


@pytest.mark.parametrize(("step", "share"), [(-1, 0.5), (2, 0.5), (1, 0.5), (-2, 0.5), ("any", 0.75)])
def test_share_above_is_strict_and_counts_steps_from_one(step: int, share: float) -> None:
    assert share_above(CLOSES, 100.0, step) == share


def test_any_step_counts_a_path_once() -> None:
    assert share_above(CLOSES, 101.5, "any") == 0.25
    assert share_above(CLOSES, 101.5, 1) == 0.25
    assert share_above(CLOSES, 1e9, "any") == 0.0


@pytest.mark.parametrize("step", [0, 3, -3, 1.0, True, "all", None])
def test_steps_that_are_not_there_are_refused(step: object) -> None:
    with pytest.raises(ConfigError, match="step"):
        share_above(CLOSES, 100.0, step)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [math.nan, math.inf, "high"])
def test_a_level_must_be_a_price(level: float) -> None:
    with pytest.raises(ConfigError, match="level must be a finite number"):
        share_above(CLOSES, level, -1)


def test_returns_against_the_last_known_price() -> None:
    np.testing.assert_allclose(returns(CLOSES[:2], 100.0), [[0.01, -0.01], [0.02, 0.04]])
    np.testing.assert_allclose(returns(CLOSES[:1], 100.0, "log"), [[math.log(1.01), math.log(0.99)]])
    with pytest.raises(ConfigError, match='"simple" or "log"'):
        returns(CLOSES, 100.0, "percent")  # type: ignore[arg-type]


def test_path_variance_is_the_sum_of_squared_log_returns() -> None:
    r1, r2 = math.log(101 / 100), math.log(99 / 101)
    np.testing.assert_allclose(path_variance(CLOSES[:1], 100.0), [r1**2 + r2**2])
    assert path_variance(CLOSES[3:], 100.0).tolist() == [0.0]


def test_no_logarithm_of_a_price_that_is_not_above_0() -> None:
    crashed = np.array([[1.0, 2.0], [1.0, -0.5]])
    for measure in (lambda: path_variance(crashed, 1.0), lambda: returns(crashed, 1.0, "log")):
        with pytest.raises(DataError, match=r"1 of 2 paths .* first path 1 at step 2 \(-0.5\).*repair"):
            measure()
    assert returns(crashed, 1.0).min() == -1.5
    with pytest.raises(DataError, match="last price above 0"):
        returns(CLOSES, 0.0)
