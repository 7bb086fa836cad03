"""Coarser bars, their values and labels written out."""

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, BarStore
from chandler.data.datasets import resample_bars, resample_store
from chandler.errors import DataError


def bars(index, segments=None):
    """Row i opens at i + 1, closes at i + 1.5; volume 1, amount 10."""
    index = pd.DatetimeIndex(index).as_unit("ns")
    at = np.arange(len(index)) + 1.0
    values = np.stack([at, at + 2, at - 0.5, at + 0.5, np.ones(len(at)), np.full(len(at), 10.0)], axis=1)
    return Bars("A", index, values, segments=None if segments is None else np.array(segments))


def session(first, last, freq, opening, closing, zone=None, inclusive="left", extra=()):
    times = []
    for day in pd.bdate_range(first, last):
        for lo, hi in zip(opening, closing, strict=True):
            date = str(day.date())
            times += list(pd.date_range(f"{date} {lo}", f"{date} {hi}", freq=freq, inclusive=inclusive))
    return pd.DatetimeIndex(times).tz_localize(zone)


def stamps(one):
    return [str(time)[5:16] for time in one.timestamps]


def test_first_max_min_last_sum():
    one = resample_bars(bars(pd.date_range("2024-01-01", periods=4, freq="15min")), "30min")
    assert one.values.tolist() == [[1, 4, 0.5, 2.5, 2, 20], [3, 6, 2.5, 4.5, 2, 20]]
    assert stamps(one) == ["01-01 00:00", "01-01 00:30"]
    assert [*map(str, one.notes)] == ["resampled from 15min to 30min (calendar: inferred)"]


def test_markets_that_never_close_go_by_midnight_utc():
    index = pd.date_range("2024-01-01 02:00", periods=40, freq="h", tz="UTC")
    one = resample_bars(bars(index), "4h")
    assert stamps(one)[0] == "01-01 04:00"  # 00:00 began before the rows did
    assert stamps(one)[-1] == "01-02 12:00"  # and 16:00 is not over
    days = resample_bars(bars(pd.date_range("2024-01-01 02:00", periods=70, freq="h", tz="Asia/Tokyo")), "1D")
    assert [str(time) for time in days.timestamps] == ["2024-01-01 09:00:00+09:00", "2024-01-02 09:00:00+09:00"]


@pytest.mark.parametrize("calendar", [None, "XNYS"])
def test_hours_are_counted_from_the_opening(calendar):
    index = session("2024-03-04", "2024-03-15", "5min", ["09:30"], ["16:00"], "America/New_York")
    one = resample_bars(bars(index), "1h", calendar)
    assert stamps(one)[:8] == [*(f"03-04 {hour:02d}:30" for hour in range(9, 16)), "03-05 09:30"]
    assert len(one) == 7 * 10
    assert one.values[6, 4] == 6  # 15:30 to 16:00 is half an hour
    assert one.values[5, 4] == 12


@pytest.mark.parametrize("calendar", [None, "XSHG"])
def test_no_bar_spans_the_lunch_break(calendar):
    index = session("2024-03-04", "2024-03-15", "5min", ["09:30", "13:00"], ["11:30", "15:00"])
    one = resample_bars(bars(index), "1h", calendar)
    assert stamps(one)[:4] == ["03-04 09:30", "03-04 10:30", "03-04 13:00", "03-04 14:00"]
    assert (one.values[:, 4] == 12).all()
    ninety = resample_bars(bars(index), "90min", calendar)
    assert stamps(ninety)[:4] == ["03-04 09:30", "03-04 11:00", "03-04 13:00", "03-04 14:30"]


def test_labels_of_the_close_stay_labels_of_the_close():
    index = session("2024-03-04", "2024-03-15", "5min", ["09:30"], ["16:00"], "America/New_York", "right")
    one = resample_bars(bars(index), "30min", "XNYS")
    assert stamps(one)[0] == "03-04 10:00"
    assert stamps(one)[12] == "03-04 16:00"
    assert (one.values[:, 4] == 6).all()


def test_a_half_day_has_fewer_bars():
    index = session("2024-11-25", "2024-11-27", "30min", ["09:30"], ["16:00"]).append(
        pd.date_range("2024-11-29 09:30", "2024-11-29 12:30", freq="30min")
    )
    one = resample_bars(bars(index), "2h", "XNYS")
    assert stamps(one)[-2:] == ["11-29 09:30", "11-29 11:30"]  # the last to 13:00, the close of that day


def test_days_are_sessions_and_weeks_begin_on_monday():
    index = session("2024-03-01", "2024-03-20", "30min", ["09:30"], ["16:00"])
    days = resample_bars(bars(index), "1D")
    assert stamps(days) == [f"{day:%m-%d} 00:00" for day in pd.bdate_range("2024-03-01", "2024-03-20")]
    assert (days.values[:, 4] == 13).all()
    assert stamps(resample_bars(bars(index[:-3]), "1D"))[-1] == "03-19 00:00"  # the last day is not over
    weeks = resample_bars(bars(index), "1W")
    assert stamps(weeks) == ["03-04 00:00", "03-11 00:00"]  # Friday the 1st and the last three days are no weeks
    daily = resample_bars(bars(pd.bdate_range("2024-03-01", "2024-03-22")), "1W")
    assert stamps(daily) == ["03-04 00:00", "03-11 00:00", "03-18 00:00"]
    with_holiday = resample_bars(bars(pd.bdate_range("2024-03-19", "2024-03-28")), "1W", "XNYS")
    assert stamps(with_holiday) == ["03-25 00:00"]  # the 29th was Good Friday: the week is whole


def test_a_bar_is_never_made_across_a_split():
    index = pd.date_range("2024-01-01", periods=16, freq="15min")
    one = resample_bars(bars(index, [[0, 6], [6, 16]]), "1h")
    assert stamps(one) == ["01-01 00:00", "01-01 02:00", "01-01 03:00"]
    assert one.segments.tolist() == [[0, 1], [1, 3]]
    at_edge = resample_bars(bars(index, [[0, 8], [8, 16]]), "1h")
    assert (len(at_edge), at_edge.segments.tolist()) == (4, [[0, 2], [2, 4]])


def test_futures_days_begin_the_evening_before():
    index = pd.date_range("2024-03-03 17:00", "2024-03-06 16:59", freq="30min", tz="America/Chicago")
    one = resample_bars(bars(index), "1D", "CMES")
    assert stamps(one) == ["03-04 00:00", "03-05 00:00", "03-06 00:00"]


@pytest.mark.parametrize(("zone", "sunday"), [("America/New_York", 14), ("UTC", 6)])
def test_days_of_sessions_over_midnight_are_whole_at_both_ends(zone, sunday):
    week = pd.date_range("2024-05-28 10:00", "2024-06-26 10:00", freq="30min", tz="America/New_York")
    week = week[(week + pd.Timedelta("7h")).day_of_week < 5]  # currencies: from Sunday 17:00 to Friday 17:00
    one = resample_bars(bars(week.tz_convert(zone)), "1D")
    assert stamps(one)[0] == "05-29 00:00"  # the rows begin within the 28th
    assert stamps(one)[-1] == "06-25 00:00"  # and end within the 26th
    assert set(one.values[:, 4]) == {48, sunday, 48 - sunday}
    ends = resample_bars(
        bars(week[week < pd.Timestamp("2024-06-21 17:00", tz="America/New_York")].tz_convert(zone)), "1D"
    )
    assert stamps(ends)[-1] == "06-21 00:00"  # Friday is over


@pytest.mark.parametrize("width", ["20min", "5min", "16min", "0h", "soon"])
def test_intervals_that_do_not_fit_are_refused(width):
    with pytest.raises(DataError, match=r"multiple of 15min|must be above 0|is no interval"):
        resample_bars(bars(pd.date_range("2024-01-01", periods=40, freq="15min")), width)


def test_a_store_leaves_out_what_has_no_whole_bar():
    long, short = (
        bars(pd.date_range("2024-01-01", periods=40, freq="h")),
        bars(["2024-01-01 01:00", "2024-01-01 02:00"]),
    )
    store = BarStore.from_bars([long, Bars("B", short.timestamps, short.values)])
    assert resample_store(store, "4h").symbols == ("A",)
    with pytest.raises(DataError, match="no symbol has a whole bar of 1W"):
        resample_store(store, "1W")
