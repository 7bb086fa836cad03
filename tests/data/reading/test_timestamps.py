"""Dates as people write them."""

import re

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, load_bars
from chandler.data.calendars.time_features import time_features
from chandler.data.reading.times import parse_times, read_times
from chandler.errors import DataError


def read(values, clock=None, **options):
    times = parse_times(pd.Series(values), None if clock is None else pd.Series(clock), **options)
    return [str(time) for time in times.index]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-13", "2024-01-13 00:00:00"),
        ("2024/1/3 9:05", "2024-01-03 09:05:00"),
        ("2024-01-13T09:30:15.25", "2024-01-13 09:30:15.250000"),
        ("20240113 093000", "2024-01-13 09:30:00"),
        ("20240113", "2024-01-13 00:00:00"),
        ("202401130930", "2024-01-13 09:30:00"),
        ("2019-10-17 09-AM", "2019-10-17 09:00:00"),
        ("2019-10-17 12-AM", "2019-10-17 00:00:00"),
        ("10/17/2019 01:05 PM", "2019-10-17 13:05:00"),
        ("24.01.2017 11:00:00.000", "2017-01-24 11:00:00"),
        ("Jan 13, 2024", "2024-01-13 00:00:00"),
        ("13-Jan-2024", "2024-01-13 00:00:00"),
        ("2024年1月13日", "2024-01-13 00:00:00"),
        ("2024-01-13 09:30:00Z", "2024-01-13 09:30:00+00:00"),
        ("2024-01-13 09:30:00 UTC", "2024-01-13 09:30:00+00:00"),
        ("2024-01-13T09:30+0530", "2024-01-13 09:30:00+05:30"),
        ("2024-01-13 09:30:00-05", "2024-01-13 09:30:00-05:00"),
    ],
)
def test_usual_formats(written, meant):
    assert read([written]) == [meant]


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_epochs_by_magnitude(unit):
    seconds = [1515560100, 1515560400]
    meant = ["2018-01-10 04:55:00+00:00", "2018-01-10 05:00:00+00:00"]
    assert read([second * unit for second in seconds]) == meant
    assert read([str(second * unit) for second in seconds]) == meant


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
@pytest.mark.parametrize("first", ["1966-12-20", "1968-01-01", "1970-10-28", "1972-06-01"])
@pytest.mark.parametrize("days", [1200, 20_000])
def test_epochs_of_before_1973_have_the_unit_of_the_largest(unit, first, days):
    index = pd.date_range(first, periods=days, tz="UTC")
    ticks = index.as_unit("s").asi8 * unit
    for values in (ticks, ticks[::-1], ticks.astype(float), [str(tick) for tick in ticks]):
        times = parse_times(pd.Series(values)).index
        assert (times.sort_values() == index).all()


@pytest.mark.parametrize("wild", [5 * 10**10, 3 * 10**13, -(5 * 10**10)])
def test_a_wild_number_does_not_change_the_unit_of_the_others(wild):
    day = [1_735_689_600_000 + 86_400_000 * number for number in range(5)]
    micros = [1000 * one for one in day[3:]]  # an archive that changes to microseconds
    for usual in (day, [*day[:3], *micros], [one // 1000 for one in day]):
        times = parse_times(pd.Series([wild, *usual])).index
        assert times[1:].equals(pd.date_range("2025-01-01", periods=5, tz="UTC"))
        assert pd.isna(times[0])


def test_compact_numbers_are_dates():
    assert read([20240113, 20240114]) == ["2024-01-13 00:00:00", "2024-01-14 00:00:00"]


def test_small_numbers_are_refused_with_the_likely_reason():
    assert "row numbers" in parse_times(pd.Series([1, 2, 3])).hint
    assert "a spreadsheet's numbers of days" in parse_times(pd.Series([45306, 45307])).hint


@pytest.mark.parametrize(
    "cell", ["02-Jan-62", "Jan 02, 62", "Jan-50", "01-Jan-24", "2 Jan 24 10:00", "01 Jan", "Jan 02 10:00", "02.01.62"]
)
def test_names_of_months_without_a_year_of_four_digits_are_not_guessed(cell):
    assert parse_times(pd.Series([cell])).index.isna().all()


@pytest.mark.parametrize(
    ("cell", "form", "meant"),
    [
        ("02-Jan-62", "%d-%b-%y", 1962), ("02.01.62", "%d.%m.%y", 1962), ("Jan-50", "%b-%y", 1950),
        ("02.01.24", "%d.%m.%y", 2024), ("02.01.99", "%d.%m.%y", 1999), ("02.01.2062", "%d.%m.%Y", 2062),
    ],
)  # fmt: skip
def test_years_of_two_digits_are_never_those_to_come(cell, form, meant):
    times = parse_times(pd.Series([cell, None]), date_format=form)
    assert times.index[0].year == meant
    assert any("as no bars are of a later year" in note for note in times.notes) == (meant in (1962, 1950))
    if meant != 2062:
        assert f"date_format={form!r}" in parse_times(pd.Series([cell])).remedy


HOURS = pd.date_range("2024-01-01", periods=60, freq="h")


@pytest.mark.parametrize("kind", [str, int])
def test_compact_dates_are_not_taken_for_epochs(kind):
    for form in ("%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"):
        assert (parse_times(pd.Series([kind(one) for one in HOURS.strftime(form)])).index == HOURS).all()
    for hours in (HOURS, HOURS - pd.DateOffset(years=7)):
        for form in ("%y%m%d%H%M", "%y%m%d%H%M%S"):
            cells = pd.Series([kind(one) for one in hours.strftime(form)])
            times = parse_times(cells)
            assert times.index.isna().all()
            assert f"reads as a date, {form!r}" in times.hint
            assert (parse_times(cells, date_format=form).index == hours).all()
    assert "'%d%m%Y%H%M'" in parse_times(pd.Series([kind(one) for one in HOURS.strftime("%d%m%Y%H%M")])).hint
    ticks = (HOURS.as_unit("s").asi8 + 62_135_596_800) * 10**7
    assert "ticks of .NET" in parse_times(pd.Series([kind(tick) for tick in ticks])).hint


@pytest.mark.parametrize("freq", ["1min", "5min", "1h", "1D"])
def test_epochs_are_not_taken_for_compact_dates(freq):
    for first in ("1974-01-02", "1989-12-20", "2001-09-10", "2021-01-31", "2024-01-01"):
        index = pd.date_range(first, periods=700, freq=freq, tz="UTC")
        for unit in ("s", "ms", "us", "ns"):
            if unit == "ns" and first == "1989-12-20":
                continue  # these are the numbers of .NET
            assert (parse_times(pd.Series(index.as_unit(unit).asi8)).index == index).all(), (first, unit)


@pytest.mark.parametrize("cell", ["2024-01-13 10:00+25:00", "2024-01-13T10:00:00-24:00", "01/13/2024 10:00 +9900"])
def test_an_offset_of_a_day_is_none(cell):
    assert parse_times(pd.Series([cell])).index.isna().all()
    good = cell[:-6] + "+01:00"
    assert parse_times(pd.Series([cell, good])).index.isna().tolist() == [True, False]
    with pytest.raises(DataError, match="unreadable time in 1 row, first row 1"):
        read_times(pd.Series([cell]))


def test_years_beyond_nanoseconds_are_unreadable_and_say_so():
    times = parse_times(pd.Series(["3024-01-17", "2024-01-17"]))
    assert times.index.isna().tolist() == [True, False]
    assert times.hint == "Years must lie between 1678 and 2261."


def test_one_row_decides_day_or_month_for_the_whole_file():
    assert read(["01/02/2024", "02/02/2024", "13/02/2024"])[0] == "2024-02-01 00:00:00"
    assert read(["01/02/2024", "02/02/2024", "02/13/2024"])[0] == "2024-01-02 00:00:00"


def test_undecided_days_and_months_are_asked_about():
    with pytest.raises(DataError, match=r"day or month first\? '01/02/2024' \(row 1\).*date_format='%d/%m/%Y'"):
        read(["01/02/2024", "02/03/2024"])
    assert read(["01/02/2024", "02/03/2024"], date_format="%d/%m/%Y")[1] == "2024-03-02 00:00:00"
    with pytest.raises(DataError, match=r"'13/01/2024' \(row 1\) has the day first, '01/13/2024' \(row 2\) the month"):
        read(["13/01/2024", "01/13/2024"])


def test_date_and_clock_in_two_columns():
    assert read(["2006-01-02"], ["09:05:00"]) == ["2006-01-02 09:05:00"]
    assert read([20060102, 20060102], [90500, 0]) == ["2006-01-02 09:05:00", "2006-01-02 00:00:00"]
    assert read(["20060102"], ["0905"]) == ["2006-01-02 09:05:00"]


def test_offsets_that_follow_daylight_saving_find_their_exchange():
    times = parse_times(pd.Series(["2017-03-10 09:30:00-05:00", "2017-03-13 09:30:00-04:00"]))
    assert str(times.index.tz) == "America/New_York"
    assert times.index.hour.tolist() == [9, 9]
    assert "America/New_York" in times.notes[0]
    times = parse_times(pd.Series(["2017-03-24 09:00:00+01:00", "2017-03-27 09:00:00+02:00"]))
    assert str(times.index.tz) == "Europe/Berlin"
    odd = parse_times(pd.Series(["2017-03-24 09:00:00+01:00", "2017-03-27 09:00:00+07:30"]))
    assert str(odd.index.tz) == "UTC"


def test_some_offsets_and_some_not_is_an_error():
    with pytest.raises(DataError, match=r"some have none, such as '2017-01-04 09:30' \(row 2\)"):
        read(["2017-01-03 09:30+00:00", "2017-01-04 09:30"])


def test_timezone_localises_naive_and_converts_others():
    assert read(["2024-01-13 09:30"], timezone="America/New_York") == ["2024-01-13 09:30:00-05:00"]
    assert read(["2024-01-13 09:30Z"], timezone="America/New_York") == ["2024-01-13 04:30:00-05:00"]
    with pytest.raises(DataError, match="not a known zone"):
        read(["2024-01-13"], timezone="Mars/Olympus")


def test_timezone_converts_times_whose_column_states_their_zone(tmp_path):
    """As the finding on symbols under two clocks advises: the moments stay."""
    index = pd.date_range("2024-01-02 14:00", periods=50, freq="h", tz="UTC")
    prices = pd.DataFrame({"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}, index=index)
    prices.tz_convert(NEW_YORK).to_csv(tmp_path / "A.csv", index_label="time")
    prices.tz_localize(None).to_csv(tmp_path / "B.csv", index_label="Gmt time")
    assert load_bars(tmp_path).zones == ("UTC-05:00", "UTC")
    for zone in ("UTC-05:00", NEW_YORK, "UTC"):
        store = load_bars(tmp_path, timezone=zone)
        assert store.zones == (zone, zone)
        assert all((bars.timestamps == index).all() for bars in store)
    note = "times: from UTC, because the column is called 'Gmt time', to America/New_York, as asked"
    assert note in load_bars(tmp_path, timezone=NEW_YORK).notes["B"]


def test_times_that_are_not_in_the_stated_zone_are_of_the_one_asked_for():
    gone = pd.Series(["2024-03-10 01:30", "2024-03-10 02:30"])
    stated = (NEW_YORK, "because the column is called 'Time (EST)'")
    with pytest.raises(DataError, match=r"does not exist.*timezone='Etc/GMT\+5'"):
        parse_times(gone, stated=stated)
    times = parse_times(gone, timezone="Etc/GMT+5", stated=stated)
    assert str(times.index[1].tz_convert("UTC")) == "2024-03-10 07:30:00+00:00"
    assert times.notes == ("times: wall clock in Etc/GMT+5, as asked, for America/New_York has no such times",)


def test_impossible_dates_are_not_moved():
    index = parse_times(pd.Series(["2024-02-30", "2023-02-29", "2024-13-01", "2024-02-29", None])).index
    assert index.isna().tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Kolkata"])
def test_time_features_are_the_fields_of_the_wall_clock(zone):
    index = pd.date_range("1931-01-01", "2200-01-01", freq="67h13min", tz=zone)
    fields = (index.minute, index.hour, index.day_of_week, index.day, index.month)
    assert (list(fields) == time_features(index).T).all()
    assert time_features(index[:0]).shape == (0, 5)


@pytest.mark.parametrize(
    "cells",
    [
        ["2022-01-04,二", "2022-01-05,三"],
        ["2022-01-04 Tue", "2022-01-05 Wed"],
        ["Tue 2022-01-04", "Wed 2022-01-05"],
        ["2022-01-04(火)", "2022-01-05(水)"],
        ["2022-01-04 星期二", "2022-01-05 星期三"],
        ["2022-01-04 (Tuesday)", "2022-01-05 (Wednesday)"],
        ["2022-01-04 화", "2022-01-05 수"],
        ["Di. 2022-01-04", "Mi. 2022-01-05"],
    ],
)
def test_weekdays_beside_dates_are_checked_and_left_out(cells):
    times = parse_times(pd.Series(cells))
    assert times.index.astype(str).tolist() == ["2022-01-04", "2022-01-05"]
    assert "times: weekdays beside the dates agree with them" in times.notes
    wrong = parse_times(pd.Series([*cells, cells[0].replace("2022-01-04", "2022-01-07")]))
    assert np.asarray(wrong.index.isna()).tolist() == [False, False, True]
    assert "The weekday that is written there is not that of the date." in wrong.hint


def test_dates_as_javascript_prints_them():
    cells = [
        "Mon Jan 01 2024 09:30:00 GMT+0800 (China Standard Time)",
        "Tue Jan 02 2024 09:30:00 GMT+0800 (China Standard Time)",
    ]
    assert [str(one) for one in parse_times(pd.Series(cells)).index.tz_convert("UTC")] == [
        "2024-01-01 01:30:00+00:00",
        "2024-01-02 01:30:00+00:00",
    ]


def test_a_format_is_of_the_date_without_its_weekday():
    times = parse_times(pd.Series(["01/02/2024 (Thu)", "02/02/2024 (Fri)"]), date_format="%d/%m/%Y")
    assert times.index.astype(str).tolist() == ["2024-02-01", "2024-02-02"]


@pytest.mark.parametrize("odd", ["open_time", "2024-01-01 10:00", "?"])
def test_most_cells_say_how_a_column_is_read_and_the_odd_one_is_told(odd):
    cells = [str(1640995200000 + 300_000 * number) for number in range(200)]
    cells[150] = odd
    times = parse_times(pd.Series(cells))
    assert np.flatnonzero(times.index.isna()).tolist() == [150]
    assert str(times.index[0]) == "2022-01-01 00:00:00+00:00"


# --- clocks that go back and forward ------------------------------------------------------------------------------

NEW_YORK = "America/New_York"


def moments(freq, zone=NEW_YORK):
    """Over the night in which an hour comes twice."""
    return pd.date_range("2024-11-02 22:00", "2024-11-03 06:00", freq=freq, tz=zone)


def walls(index):
    return pd.Series(index.tz_localize(None).astype(str))


@pytest.mark.parametrize("freq", ["1min", "30min", "1h"])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("symbols", [1, 3])
@pytest.mark.parametrize("by_time", [False, True])
def test_an_hour_that_comes_twice_is_told_apart_by_the_order_of_rows(freq, backward, symbols, by_time):
    index = moments(freq)[::-1] if backward else moments(freq)
    places, series = np.tile(np.arange(len(index)), symbols), np.repeat(np.arange(symbols), len(index))
    if by_time:
        places, series = np.repeat(np.arange(len(index)), symbols), np.tile(np.arange(symbols), len(index))
    times = parse_times(walls(index[places]), timezone=NEW_YORK, series=series)
    assert (times.index == index[places]).all()
    assert times.notes == (f"times: wall clock in {NEW_YORK}, as asked",)


@pytest.mark.parametrize(
    ("index", "gone", "kept"),
    [
        (moments("1h"), [3], "2024-11-03 01:00:00-04:00"),  # an hour as good as the other: the first
        (moments("1h"), [4], "2024-11-03 01:00:00-04:00"),
        (moments("2h", "UTC").tz_convert(NEW_YORK), [], "2024-11-03 01:00:00-05:00"),  # from 00:00 to 03:00 by twos
        (moments("1h"), [0, 1, 2, 3], "2024-11-03 01:00:00-05:00"),  # the market opened then
        (moments("30min"), [8, 9], "2024-11-03 01:00:00-04:00"),
    ],
    ids=["first", "second", "two hours", "opened", "half hours"],
)
def test_an_hour_that_came_twice_and_is_there_once_is_read(index, gone, kept):
    left = index.delete(gone)
    times = parse_times(walls(left), timezone=NEW_YORK)
    at = np.flatnonzero(left.strftime("%H:%M") == "01:00")
    assert len(at) == 1
    assert times.index[at[0]] == pd.Timestamp(kept)
    assert re.search(r"as clocks go back, \d rows? of .* once?, first 2024-11-03 01:00:00: taken as", times.notes[-1])


def test_a_file_that_lacks_the_second_pass_is_refused_no_more():
    index = moments("1h").delete(4)
    frame = pd.DataFrame({one: np.arange(9.0, 9 + len(index)) for one in ("open", "high", "low", "close")})
    frame.insert(0, "time", walls(index))
    bars = Bars.from_frame(frame, timezone=NEW_YORK)
    assert (bars.timestamps == index).all()
    assert any("clocks go back" in note for note in map(str, bars.notes))


def test_times_that_do_not_exist_name_the_clock_that_has_them():
    raw = pd.Series(pd.date_range("2024-03-09", "2024-03-11", freq="h").astype(str))
    with pytest.raises(
        DataError, match=r"2024-03-10 02:00:00 does not exist, but 1 row .*'UTC'.*timezone='Etc/GMT\+5'"
    ):
        parse_times(raw, timezone=NEW_YORK)
    times = parse_times(raw, timezone="Etc/GMT+5")
    assert str(times.index[26].tz_convert("UTC")) == "2024-03-10 07:00:00+00:00"
    with pytest.raises(DataError, match=r"timezone='Etc/GMT-1'"):
        parse_times(pd.Series(["2024-03-31 02:30"]), timezone="Europe/Berlin")
