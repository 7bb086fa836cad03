import numpy as np
import pandas as pd
import pytest

from chandler.data import future_timestamps, infer_interval, time_features
from chandler.errors import DataError


def days(index):
    return [str(time)[:16] for time in index]


def sessions(start, end, clocks, zone=None):
    """A working-day calendar with bars at `clocks`."""
    times = [day + pd.Timedelta(f"{clock}:00") for day in pd.bdate_range(start, end) for clock in clocks]
    return pd.DatetimeIndex(times).tz_localize(zone)


HOURS = ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]


def test_time_features_are_the_local_wall_clock():
    index = pd.DatetimeIndex(["2024-03-01 14:35"]).tz_localize("UTC").tz_convert("America/New_York")
    assert time_features(index).tolist() == [[35, 9, 4, 1, 3]]  # 1 March 2024 was a Friday
    assert time_features(index).dtype == np.uint8


def test_interval_is_the_most_common_spacing():
    assert infer_interval(pd.bdate_range("2024-01-01", periods=30)) == pd.Timedelta(days=1)
    assert infer_interval(sessions("2024-01-01", "2024-01-12", HOURS)) == pd.Timedelta(hours=1)
    with pytest.raises(DataError, match="at least 2 rows"):
        infer_interval(pd.DatetimeIndex(["2024-01-01"]))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (pd.bdate_range("2024-01-01", "2024-03-01"), ["2024-03-04", "2024-03-05", "2024-03-06"]),
        (pd.date_range("2024-01-01", "2024-03-01"), ["2024-03-02", "2024-03-03", "2024-03-04"]),
        (pd.DatetimeIndex(["2024-01-03", "2024-01-04", "2024-01-05"]), ["2024-01-08", "2024-01-09", "2024-01-10"]),
        (pd.date_range("2024-01-05", periods=9, freq="W-FRI"), ["2024-03-08", "2024-03-15", "2024-03-22"]),
        (pd.date_range("2023-01-31", periods=12, freq="ME"), ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (pd.date_range("2023-01-31", periods=12, freq="BME"), ["2024-01-31", "2024-02-29", "2024-03-29"]),
        (pd.date_range("2023-01-01", periods=12, freq="MS"), ["2024-01-01", "2024-02-01", "2024-03-01"]),
        (pd.date_range("2023-01-01", periods=8, freq="QS"), ["2025-01-01", "2025-04-01", "2025-07-01"]),
        (pd.DatetimeIndex([f"2023-{month:02d}-15" for month in range(1, 13)]),
         ["2024-01-15", "2024-02-15", "2024-03-15"]),
    ],
)  # fmt: skip
def test_days_weeks_and_months_go_on(history, expected):
    assert [str(time.date()) for time in future_timestamps(history, 3)] == expected


def test_sessions_go_on_over_night_and_weekend():
    history = sessions("2024-01-01", "2024-01-19", HOURS)[:-2]  # a Friday, 13:30
    assert days(future_timestamps(history, 4)) == [
        "2024-01-19 14:30", "2024-01-19 15:30", "2024-01-22 09:30", "2024-01-22 10:30",
    ]  # fmt: skip


def test_a_lunch_break_is_kept():
    clocks = ["09:30", "10:00", "10:30", "11:00", "13:00", "13:30", "14:00", "14:30"]
    history = sessions("2024-01-01", "2024-01-19", clocks, "Asia/Shanghai")
    assert days(future_timestamps(history, 6))[3:5] == ["2024-01-22 11:00", "2024-01-22 13:00"]


def test_two_days_of_history_tell_the_night_but_not_an_unseen_hour():
    history = sessions("2024-01-04", "2024-01-05", HOURS)[4:-2]  # Thursday from 13:30, Friday to 13:30
    assert days(future_timestamps(history, 3)) == ["2024-01-05 14:30", "2024-01-05 15:30", "2024-01-08 09:30"]
    unseen = sessions("2024-01-04", "2024-01-05", HOURS)[5:-5]  # Friday to 10:30; 11:30 was never reached
    assert days(future_timestamps(unseen, 1)) == ["2024-01-05 11:30"]


def test_a_holiday_closes_no_weekday():
    history = sessions("2024-01-02", "2024-01-12", HOURS)
    history = history[history.normalize() != "2024-01-08"]  # one of the two Mondays
    assert days(future_timestamps(history, 1)) == ["2024-01-15 09:30"]


def test_series_without_breaks_go_on_without_breaks():
    history = pd.date_range("2024-01-01", periods=500, freq="5min", tz="UTC")
    assert future_timestamps(history, 3).equals(history[-1] + pd.to_timedelta([5, 10, 15], unit="min"))


def test_a_live_last_row_goes_back_to_the_grid():
    history = pd.date_range("2024-01-01", periods=50, freq="15min").append(pd.DatetimeIndex(["2024-01-01 12:20:02"]))
    assert days(future_timestamps(history, 2)) == ["2024-01-01 12:30", "2024-01-01 12:45"]


def test_sessions_keep_their_local_hour_over_daylight_saving():
    history = sessions("2024-02-12", "2024-03-08", HOURS, "America/New_York")
    future = future_timestamps(history, 1)
    assert str(future[0]) == "2024-03-11 09:30:00-04:00"
    daily = pd.date_range("2024-03-01", "2024-03-09", tz="America/New_York")
    assert [str(time) for time in future_timestamps(daily, 2)] == [
        "2024-03-10 00:00:00-05:00",
        "2024-03-11 00:00:00-04:00",
    ]


def test_hours_around_the_clock_have_23_and_25_hours_on_the_days_of_change():
    history = pd.date_range("2024-10-20", "2024-11-02 23:00", freq="h", tz="America/New_York")
    future = future_timestamps(history, 25)
    assert future[-1] - future[0] == pd.Timedelta(hours=24)
    assert future.day.tolist() == [3] * 25


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("horizon", [0, 1, 7, 300])
@pytest.mark.parametrize("freq", ["1min", "7min", "4h", "D", "B", "W", "MS", "36h"])
def test_as_many_as_asked_and_all_after_the_last(freq, horizon, zone):
    history = pd.date_range("2024-03-20", periods=40, freq=freq, tz=zone)
    future = future_timestamps(history, horizon)
    assert len(future) == horizon
    assert future.tz == history.tz
    whole = history.append(future)
    assert whole.is_monotonic_increasing
    assert whole.is_unique


def test_one_row_needs_an_interval():
    one = pd.DatetimeIndex(["2024-01-01 10:00"])
    assert days(future_timestamps(one, 2, interval="1h")) == ["2024-01-01 11:00", "2024-01-01 12:00"]
    with pytest.raises(DataError, match="at least 2 rows"):
        future_timestamps(one, 2)
    with pytest.raises(DataError, match="no history"):
        future_timestamps(one[:0], 2)
