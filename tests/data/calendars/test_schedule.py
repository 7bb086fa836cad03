import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from chandler.data import calendar_names, fit_schedule, future_timestamps, infer_interval, time_features
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


# --- named calendars ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apple():
    """Real sessions: AAPL, daily, 2000 to 2013, the bundled file."""
    from importlib.resources import files

    from chandler.data import load_bars

    return load_bars(str(files("chandler") / "assets" / "bokeh_stocks_1d.csv.gz"))["AAPL"].timestamps


def test_hidden_tails_of_real_stocks_are_found_to_the_day(apple):
    for cut in (500, 1200, 2000, 3000):
        history, tail = apple[:cut], apple[cut : cut + 250]
        assert future_timestamps(history, 250, "XNYS").equals(tail)
        inferred = future_timestamps(history, 250)
        assert len(inferred.intersection(tail)) >= 235  # about nine holidays a year that nothing told


def test_weeks_labelled_by_their_last_session_go_on_so(apple):
    days = apple.to_series()
    fridays = pd.DatetimeIndex(days.groupby(days.dt.to_period("W")).max())[:-1]
    assert future_timestamps(fridays[:400], 100, "XNYS").equals(fridays[400:500])
    months = pd.DatetimeIndex(days.groupby(days.dt.to_period("M")).min())
    assert future_timestamps(months[:100], 40, "XNYS").equals(months[100:140])


def test_holidays_and_half_days_of_new_york():
    history = sessions("2024-10-28", "2024-11-27", HOURS, "America/New_York")
    assert days(future_timestamps(history, 6, "XNYS")) == [
        "2024-11-29 09:30", "2024-11-29 10:30", "2024-11-29 11:30", "2024-11-29 12:30",  # closes at 13:00
        "2024-12-02 09:30", "2024-12-02 10:30",
    ]  # fmt: skip
    assert days(future_timestamps(history, 1)) == ["2024-11-28 09:30"]  # what nothing told


def test_bars_labelled_by_their_close_stay_so():
    history = sessions("2024-10-28", "2024-11-27", [f"{hour}:00" for hour in range(10, 17)], "America/New_York")
    schedule = fit_schedule(history, "XNYS")
    assert schedule.label == "close"
    assert days(schedule.after(5)) == [f"2024-11-29 {hour}:00" for hour in (10, 11, 12, 13)] + ["2024-12-02 10:00"]
    assert fit_schedule(sessions("2024-10-28", "2024-11-27", HOURS), "XNYS").label == "open"


def test_lunch_breaks_and_the_golden_week_of_shanghai():
    clocks = ["09:30", "10:00", "10:30", "11:00", "13:00", "13:30", "14:00", "14:30"]
    history = sessions("2024-09-02", "2024-09-30", clocks, "Asia/Shanghai")
    history = history[~np.isin(history.day, [16, 17])]
    future = future_timestamps(history, 9, "XSHG")
    assert str(future[0]) == "2024-10-08 09:30:00+08:00"
    assert days(future)[3:5] == ["2024-10-08 11:00", "2024-10-08 13:00"]
    morning = history[:3]  # the calendar knows the hours that a history of ninety minutes does not
    assert days(future_timestamps(morning, 3, "XSHG")) == ["2024-09-02 11:00", "2024-09-02 13:00", "2024-09-02 13:30"]


def test_times_in_utc_follow_the_exchange_over_summer_time():
    local = sessions("2024-02-12", "2024-03-08", HOURS, "America/New_York")
    aware = future_timestamps(local.tz_convert("UTC"), 2, "XNYS")
    assert [str(time) for time in aware] == ["2024-03-11 13:30:00+00:00", "2024-03-11 14:30:00+00:00"]
    naive = fit_schedule(local.tz_convert("UTC").tz_localize(None), "XNYS")
    assert days(naive.after(1)) == ["2024-03-11 13:30"]
    assert naive.notes == (
        "naive times are taken as UTC, not America/New_York: more of them are in the sessions of XNYS",
    )
    daily = pd.bdate_range("2024-03-01", "2024-03-27", tz="Asia/Hong_Kong").tz_convert("UTC")  # 16:00 the day before
    assert [str(time) for time in future_timestamps(daily, 2, "XHKG")] == [
        "2024-03-27 16:00:00+00:00", "2024-04-01 16:00:00+00:00",  # Good Friday and Easter Monday in between
    ]  # fmt: skip


def test_a_clock_that_is_an_hour_off_for_some_days_is_told():
    """As in files whose offsets are of summer while their hours are of winter."""
    days = pd.bdate_range("2024-03-04", "2024-03-22")
    hours = [pd.date_range(day + pd.Timedelta("9h30min"), periods=13, freq="30min") for day in days]
    right = pd.DatetimeIndex(np.concatenate(hours))
    assert fit_schedule(right, "XNYS", whole=True).notes == ()
    wrong = right.where(right < "2024-03-11", right + pd.Timedelta("1h"))
    (note,) = fit_schedule(wrong, "XNYS", whole=True).notes
    assert note.startswith(
        "on 10 of 15 days, such as 2024-03-11, the bars begin and end an hour later than the session"
    )


def test_currencies_rest_from_friday_to_sunday_evening():
    history = pd.date_range("2024-02-26", "2024-03-01 21:00", freq="h", tz="UTC")
    assert [str(time) for time in future_timestamps(history, 2, "24/5")] == [
        "2024-03-03 22:00:00+00:00", "2024-03-03 23:00:00+00:00",  # 17:00 in New York
    ]  # fmt: skip
    assert str(future_timestamps(history, 1, "24/7")[0]) == "2024-03-01 22:00:00+00:00"


def test_currencies_rest_on_christmas_and_new_years_day():
    """From 17:00 in New York on the eve to 17:00 on the day; hourly bars of 2017 had no others."""
    history = pd.date_range("2017-12-18 00:00", "2017-12-22 16:00", freq="h", tz="America/New_York")
    after = future_timestamps(history, 24 * 7 + 1, "24/5")
    assert str(after[0]) == "2017-12-25 17:00:00-05:00"
    assert [str(time) for time in after[[24 * 4 - 1, 24 * 4]]] == [
        "2017-12-29 16:00:00-05:00", "2018-01-01 17:00:00-05:00"]  # fmt: skip
    days = pd.bdate_range("2024-12-02", "2024-12-24")
    assert [f"{day:%d}" for day in future_timestamps(days, 6, "24/5")] == ["26", "27", "30", "31", "02", "03"]


def test_what_was_used_is_told():
    history = sessions("2024-03-01", "2024-03-20", HOURS, "America/New_York")
    assert [fit_schedule(history, name).name for name in (None, "xnys", "crypto", "24/5")] == [
        "inferred", "XNYS", "24/7", "24/5",
    ]  # fmt: skip
    evening = sessions("2024-03-01", "2024-03-20", ["20:00", "21:00", "22:00"])
    assert "only 0% of the bars" in fit_schedule(evening, "XSHG").notes[0]
    holidays = pd.date_range("2020-01-27", "2020-01-30", freq="h")  # inside ten days without a session
    assert "only 0% of the bars" in fit_schedule(holidays, "XSHG").notes[0]
    assert fit_schedule(pd.bdate_range("2035-01-01", periods=9), "XSHG").notes[0].startswith("the holidays of XSHG")


def test_unknown_calendars_name_the_near_ones():
    with pytest.raises(DataError, match=r"calendar 'XNYZ' is not known; near names are .*XNYS"):
        future_timestamps(pd.bdate_range("2024-01-01", periods=9), 2, "XNYZ")
    assert {"XNYS", "XSHG", "XHKG", "24/7", "24/5"} <= set(calendar_names())


# --- exchanges whose hours change --------------------------------------------------------------------------------


def tokyo(first, last, label="open"):
    """Half hours of Tokyo, which closed at 15:00 and closes at 15:30 since 5 November 2024."""
    shift = pd.Timedelta(0) if label == "open" else pd.Timedelta("30min")
    parts = []
    for day in pd.bdate_range(first, last).difference(pd.DatetimeIndex(["2024-10-14", "2024-11-04"])):
        close = "15:00" if day < pd.Timestamp("2024-11-05") else "15:30"
        for begin, end in (("09:00", "11:30"), ("12:30", close)):
            parts.append(pd.date_range(f"{day.date()} {begin}", f"{day.date()} {end}", freq="30min")[:-1] + shift)
    return pd.DatetimeIndex(np.concatenate(parts)).tz_localize("Asia/Tokyo")


@pytest.mark.parametrize("last", ["2024-10-31", "2024-11-05", "2024-11-06", "2024-11-29", "2025-01-31"])
@pytest.mark.parametrize(("label", "closes"), [("open", ("14:30", "15:00")), ("close", ("15:00", "15:30"))])
def test_tokyo_closes_later_since_november_2024(label, closes, last):
    history = tokyo("2024-10-01", last, label)
    schedule = fit_schedule(history, "XTKS")
    assert schedule.label == label
    future = schedule.after(33)
    assert future.equals(tokyo("2024-10-01", "2025-02-28", label)[len(history) :][:33])
    assert schedule.missing().sum() == 0
    if last == "2024-10-31":  # a Friday with the old hours, and after a holiday a Tuesday with the new ones
        assert [days(future)[at] for at in (9, 20)] == [f"2024-11-01 {closes[0]}", f"2024-11-05 {closes[1]}"]


def test_a_closing_auction_moves_with_the_close():
    """A bar at the very close, beside those named by their opening."""
    history = tokyo("2024-10-01", "2024-10-31")
    auctions = pd.DatetimeIndex(history.normalize().unique() + pd.Timedelta("15h"))
    schedule = fit_schedule(history.union(auctions), "XTKS")
    assert schedule.label == "both"
    future = days(schedule.after(23))
    assert future[8:11] == ["2024-11-01 14:00", "2024-11-01 14:30", "2024-11-01 15:00"]
    assert future[-3:] == ["2024-11-05 14:30", "2024-11-05 15:00", "2024-11-05 15:30"]


def test_what_is_never_traded_before_the_close_stays_so():
    """Shenzhen's closing auction begins at 14:57: many files have no bar between."""
    minutes = pd.date_range("2024-01-01 09:30", "2024-01-01 14:56", freq="min").strftime("%H:%M")
    clocks = [*(clock for clock in minutes if not "11:30" <= clock < "13:00"), "15:00"]
    history = sessions("2024-09-02", "2024-09-12", clocks, "Asia/Shanghai")
    future = fit_schedule(history, "XSHG").after(len(clocks))
    assert days(future)[-3:] == ["2024-09-13 14:55", "2024-09-13 14:56", "2024-09-13 15:00"]


def test_evening_bars_go_on_except_on_half_days():
    clocks = [f"{hour:02d}:30" for hour in range(7, 19)]  # New York trades from 09:30 to 16:00
    future = days(future_timestamps(sessions("2024-11-11", "2024-11-27", clocks, "America/New_York"), 8, "XNYS"))
    assert future[:6] == [f"2024-11-29 {hour:02d}:30" for hour in range(7, 13)]  # closes at 13:00
    assert future[6:] == ["2024-12-02 07:30", "2024-12-02 08:30"]


ENDS = {
    "XNYS": ["2024-07-01", "2024-11-20"],  # a half day after each
    "XLON": ["2024-12-10"],
    "XHKG": ["2024-12-10", "2025-01-20"],
    "XSHG": ["2024-09-20"],
    "XTKS": ["2024-10-25", "2024-11-04", "2024-11-06"],
    "XKRX": ["2016-07-20", "2016-08-02", "2024-11-08"],  # half an hour longer since 1 August 2016
    "XBOM": ["2009-12-30", "2010-01-10"],  # opened at 09:55, 09:00, then 09:15
    "CMES": ["2024-11-20"],
}


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("period", ["5min", "15min", "1h"])
@pytest.mark.parametrize("name", ENDS)
def test_bars_to_come_are_those_of_exchange_calendars(name, period, closed):
    exchange = exchange_calendars.get_calendar(name, start="2009-06-01", end="2025-06-01")
    for end in ENDS[name]:
        cut = pd.Timestamp(end)
        span = cut - pd.Timedelta(days=45), cut + pd.Timedelta(days=30)
        whole = exchange.trading_index(*span, period, intervals=False, closed=closed, force=True)
        whole = whole.tz_convert(exchange.tz)
        history = whole[whole < (cut + pd.Timedelta("13h7min")).tz_localize(exchange.tz)]
        truth = whole[len(history) :][:400]
        assert len(truth) > 60
        assert future_timestamps(history, len(truth), name, interval=period).equals(truth)


@pytest.mark.parametrize("name", ["XSAU", "XTAE", "ASEX"])
def test_a_calendar_that_its_package_cannot_build_is_told(name):
    """Some break with some releases of pandas; that of Riyadh begins in 2021."""
    history = pd.date_range("2024-03-18", "2024-03-21 23:00", freq="h", tz="UTC")
    try:
        exchange_calendars.get_calendar(name)
    except Exception:
        with pytest.raises(DataError, match=f"calendar '{name}' cannot be built by exchange_calendars"):
            future_timestamps(history, 20, name)
    else:
        assert len(future_timestamps(history, 20, name)) == 20


# --- learned sessions: what used to go wrong ---------------------------------------------------------------------


def test_one_morning_does_not_run_through_the_night():
    morning = pd.date_range("2024-03-04 09:30", "2024-03-04 11:25", freq="5min", tz="America/New_York")
    future = future_timestamps(morning, 60)
    assert future[53] == pd.Timestamp("2024-03-04 15:55", tz="America/New_York")
    assert future[54] == pd.Timestamp("2024-03-05 09:30", tz="America/New_York")
    shanghai = pd.date_range("2024-03-04 09:30", "2024-03-04 10:55", freq="5min", tz="Asia/Shanghai")
    assert days(future_timestamps(shanghai, 8))[6:] == ["2024-03-04 13:00", "2024-03-04 13:05"]
    crypto = pd.date_range("2024-03-04 09:30", "2024-03-04 11:25", freq="5min", tz="UTC")
    assert future_timestamps(crypto, 300)[-1] == crypto[-1] + pd.Timedelta(minutes=1500)


def test_a_half_day_is_no_rule_for_its_weekday():
    history = sessions("2024-11-18", "2024-12-05", HOURS)
    half = (history.normalize() == "2024-11-29") & (history.hour >= 13)
    history = history[~half & (history.normalize() != "2024-11-28") & (history.normalize() != "2024-11-22")]
    assert len(future_timestamps(history, 7).intersection(sessions("2024-12-06", "2024-12-06", HOURS))) == 7


def test_a_weekday_that_never_trades_is_closed():
    index = pd.date_range("2024-01-01", "2024-03-28 23:00", freq="h")
    index = index[~np.isin(index.day_of_week, (4, 5)) & (index.hour >= 10) & (index.hour < 15)]  # Riyadh: Sunday first
    assert days(future_timestamps(index, 6))[0] == "2024-03-31 10:00"  # a Sunday, after a Thursday


def test_sessions_seen_from_utc_follow_summer_time_after_three_days():
    history = sessions("2024-02-12", "2024-03-14", HOURS, "America/New_York").tz_convert("UTC")
    future = future_timestamps(history, 7)
    assert future.hour.tolist() == [13, 14, 15, 16, 17, 18, 19]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("freq", ["1min", "7min", "4h", "D", "B", "W", "MS", "36h"])
@pytest.mark.parametrize("name", ["XNYS", "XSHG", "CMES", "24/7", "24/5"])
def test_named_calendars_give_as_many_as_asked_too(name, freq, zone):
    history = pd.date_range("2024-03-20", periods=40, freq=freq, tz=zone)
    future = future_timestamps(history, 30, name)
    assert len(future) == 30
    assert future.tz == history.tz
    whole = history.append(future)
    assert whole.is_monotonic_increasing
    assert whole.is_unique


def test_days_of_an_exchange_in_utc_move_with_its_clock():
    """Midnight in New York is 05:00 in winter and 04:00 in summer: a history that has seen both says so."""
    days = pd.bdate_range("2023-06-01", "2024-03-12", tz="America/New_York").tz_convert("UTC")
    past = days[days < "2024-03-09"]
    assert (future_timestamps(past, 2, "XNYS") == days[-2:]).all()
    assert (days[-2:].hour == 4).all()
    fixed = pd.bdate_range("2023-06-01", "2024-03-08", tz="UTC") + pd.Timedelta(
        "5h"
    )  # of a vendor who dates all by 05:00
    assert (future_timestamps(fixed, 2, "XNYS").hour == 5).all()
