"""Volume by time of the day: means of what the history had at that time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandler.errors import DataError
from chandler.evaluation.baselines import volume_by_time_of_day

NAN = float("nan")


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
