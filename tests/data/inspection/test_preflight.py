import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from chandler.data import Bars, BarStore, CleaningSettings, Note, SplitSettings, inspect_store
from chandler.data.inspection import findings


def bars(symbol, index, notes=()):
    values = np.full((len(index), 6), 10.0)
    values[:, 1] += 1
    values[:, 2] -= 1
    return Bars(symbol, pd.DatetimeIndex(index).as_unit("ns"), values, notes=notes)


def test_one_symbol_with_everything_wrong():
    index = pd.bdate_range("2024-01-01", periods=100).delete(range(50, 60))  # two weeks are missing
    one = bars("A", index, notes=(Note("rows were newest first: sorted"),))
    one.values[3, 1] = 5.0  # high below close
    one.values[4:9, 4] = 0.0
    one.values[20:, :4] *= 2  # a split
    report = inspect_store(BarStore.from_bars([one]), lookback=30, horizon=5, split=SplitSettings(train=0.5, val=0.5))
    symbol = report.symbols[0]
    assert (symbol.rows, symbol.bad_bars, symbol.jumps, symbol.gaps) == (90, 1, 1, 1)
    assert symbol.largest_gap == "17d"
    assert symbol.interval == "1d"
    assert symbol.zero_volume == 5 / 90
    assert report.windows == {"train": 45 - 36 + 1, "val": 45 - 36 + 1}
    text = report.to_text()
    assert "1 symbol, 90 rows" in text
    assert "gaps in time: 1" in text
    assert "rows were newest first: sorted" in text
    assert json.loads(json.dumps(report.to_dict()))["symbols"][0]["bad_bars"] == 1


def test_nights_weekends_and_single_holidays_are_no_gaps():
    index = pd.bdate_range("2024-01-01", periods=200)
    weekdays = inspect_store(
        BarStore.from_bars([bars("A", index.delete([20, 77]))]), lookback=9, horizon=1, split=SplitSettings()
    )
    assert weekdays.symbols[0].gaps == 0
    hours = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in index for hour in range(9, 16)])
    intraday = BarStore.from_bars([bars("A", hours), bars("B", hours.delete(700 + 3))])
    report = inspect_store(intraday, lookback=9, horizon=1, split=SplitSettings())
    assert [symbol.gaps for symbol in report.symbols] == [0, 1]
    around_the_clock = pd.date_range("2024-01-01", periods=500, freq="h").delete([100, 101])
    report = inspect_store(
        BarStore.from_bars([bars("A", around_the_clock)]), lookback=9, horizon=1, split=SplitSettings()
    )
    assert (report.symbols[0].gaps, report.symbols[0].largest_gap) == (1, "3h")


def test_many_symbols_stay_readable_and_the_interesting_come_first():
    index = pd.bdate_range("2024-01-01", periods=60)
    many = [bars(f"S{number:03d}", index, notes=(Note("same note"),)) for number in range(500)]
    many[321].values[7, 1] = 1.0
    many[400] = bars("SHORT", index[:5])
    report = inspect_store(BarStore.from_bars(many), lookback=20, horizon=5, split=SplitSettings(train=0.5, val=0.5))
    lines = report.to_text().splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 110
    table = next(number for number, line in enumerate(lines) if line.startswith("symbol "))
    assert lines[table + 1].startswith("SHORT")
    assert lines[table + 2].startswith("S321")
    assert "... and 480 more symbols; shown are those with most to look at." in lines
    assert sum("same note" in line for line in lines) == 1


def test_a_part_without_windows_is_a_warning():
    store = BarStore.from_bars([bars("A", pd.bdate_range("2024-01-01", periods=100))])
    text = inspect_store(store, lookback=30, horizon=5, split=SplitSettings()).to_text()
    assert "PROBLEM: the validation split has no window" in text
    assert "Training would FAIL" in text


def test_expected_closings_are_told_from_real_holes():
    index = pd.bdate_range("2024-09-02", "2024-11-29")
    index = index[(index < "2024-10-01") | (index > "2024-10-07")].delete([50])  # the Golden Week, and one real hole
    store = BarStore.from_bars([bars("600000", index)])
    options = {"lookback": 9, "horizon": 1, "split": SplitSettings()}
    named = inspect_store(store, calendar="XSHG", **options).symbols[0]
    assert (named.calendar, named.gaps, named.missing) == ("XSHG", 1, 1)
    assert named.closings == len(index.to_series().dt.isocalendar().week.unique()) - 1 - 1
    inferred = inspect_store(store, **options).symbols[0]
    assert (inferred.calendar, inferred.gaps, inferred.missing) == ("inferred", 1, 5)  # a week is no holiday by itself


def test_a_day_without_any_symbol_is_a_holiday_of_the_panel():
    index = pd.bdate_range("2024-09-02", "2024-11-29")
    closed = index[(index < "2024-10-01") | (index > "2024-10-07")]
    panel = [bars(f"S{number}", closed) for number in range(6)]
    panel[2] = bars("S2", closed.delete(range(40, 46)))  # one of them was suspended
    report = inspect_store(BarStore.from_bars(panel), lookback=9, horizon=1, split=SplitSettings())
    assert [one.gaps for one in report.symbols] == [0, 0, 1, 0, 0, 0]


def test_stale_runs_duplicates_sessions_and_what_cleaning_would_take():
    index = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in pd.bdate_range("2024-01-01", periods=60)
                              for hour in (9, 10, 11, 13, 14)])  # fmt: skip
    one = bars("A", index, notes=(Note("dropped {rows} that came twice", "repeated", 3),))
    one.values[:, 3] += 0.01 * (np.arange(len(one)) % 2)
    one.values[100:120, 3] = 10.5
    report = inspect_store(BarStore.from_bars([one]), lookback=30, horizon=5, split=SplitSettings())
    symbol = report.symbols[0]
    assert (symbol.stale, symbol.longest_stale, symbol.duplicates) == (20, 20, 3)
    assert symbol.sessions == "Mon-Fri 09:00-12:00 13:00-15:00"
    assert symbol.cleaning == {"stagnant": 20, "short": 280}  # neither side has 256 rows
    assert symbol.kept == 0
    assert report.cleaning["removed"]["stagnant"] == {"times": 1, "rows": 20, "symbols": 1}
    strict = inspect_store(BarStore.from_bars([one]), lookback=30, horizon=5, split=SplitSettings(train=0.5, val=0.5),
                           cleaning=CleaningSettings(enabled=True, min_rows=False))  # fmt: skip
    assert strict.segments == 2
    assert strict.windows == {"train": 100 - 35, "val": 150 - 35}
    assert (strict.cleaned, strict.cleaning["kept"]) == (True, 280)
    assert strict.cleaning["windows"] == strict.windows
    text = strict.to_text()
    assert "in 2 unbroken stretches, counted after cleaning (280 of 300 rows):" in text
    assert "cleaning keeps 280 of 300 rows:" in text
    assert "- windows that are left: 65 in train, 115 in val" in text


def test_windows_are_counted_as_the_settings_clean_and_the_others_are_told_beside():
    index = pd.bdate_range("2022-01-03", periods=600)
    one = bars("A", index)
    one.values[:, 3] += 0.01 * (np.arange(len(one)) % 2)
    one.values[300:, :4] *= 2  # a split of the stock, as traded
    report = inspect_store(BarStore.from_bars([one]), lookback=30, horizon=5, split=SplitSettings(train=0.6, val=0.4))
    assert report.windows == {"train": 360 - 35, "val": 240 - 35}  # windows of 36 rows
    # Without the windows that would cross the split: 35 of them; the last 300 rows begin with 60 of training.
    assert report.cleaning["windows"] == {"train": (300 - 35) + (60 - 35), "val": 240 - 35}
    text = report.to_text()
    assert "in 1 unbroken stretch, counted without cleaning:" in text
    assert "- windows then: 290 in train, 205 in val" in text


def test_folds_are_listed_with_their_days_and_windows():
    index = pd.bdate_range("2024-01-01", periods=60)
    store = BarStore.from_bars([bars("A", index), bars("B", index[30:])])
    walk = {"folds": 3, "fold": 1, "test": 10, "val": 12}
    report = inspect_store(store, lookback=6, horizon=2, split=SplitSettings(walk=walk, purge=1))
    assert report.fold == 1
    assert [one.windows for one in report.folds] == [
        {"train": 17 - 8, "val": 11 - 8, "test": 2 * (10 - 8)},
        {"train": 27 - 8, "val": (11 - 8) + (9 - 8), "test": 2 * (10 - 8)},
        {"train": 37 - 8, "val": 2 * (11 - 8), "test": 2 * (10 - 8)},
    ]
    assert report.windows == report.folds[1].windows
    assert report.folds[2].spans["test"] == (str(index[50].date()), str(index[59].date()))
    assert report.folds[0].rows == {"train": 17, "val": 11, "test": 20}
    lines = report.to_text().splitlines()
    at = lines.index("folds of the walk forward (* is the one above):")
    assert lines[at + 3].split() == ["1", "*", "2024-01-01", "to", "2024-02-06", "19", "2024-02-08", "to", "2024-02-22",
                                     "4", "2024-02-26", "to", "2024-03-08", "4"]  # fmt: skip
    assert json.loads(json.dumps(report.to_dict()))["folds"][0]["windows"]["val"] == 3
    short = inspect_store(store, lookback=9, horizon=2, split=SplitSettings(walk=walk, purge=1))
    assert "fold 0 has no window in val and test." in short.warnings


def test_problems_and_the_cutoff_of_the_checkpoints():
    one = bars("A", pd.bdate_range("2024-01-01", periods=400))
    one.values[::2, 3] += 0.01  # or it would be stagnant
    store = BarStore.from_bars([one])
    seen = inspect_store(store, lookback=20, horizon=5, split=SplitSettings(train=0.2, val=0.3, test=0.5))
    assert seen.ok
    assert len(seen.warnings) == 1
    assert seen.warnings[0].startswith("the validation period (2024-04-22 to 2024-10-04) begins before the end of June")
    fresh = inspect_store(store, lookback=20, horizon=5, split=SplitSettings(train=0.5, val=0.3, test=0.2))
    assert (fresh.warnings, fresh.ok) == ((), True)
    failing = inspect_store(store, lookback=20, horizon=5, split=SplitSettings(train=0.9, val=0.05, test=0.05))
    assert not failing.ok
    assert [problem[:38] for problem in failing.problems] == ["the validation split has no window: on"]
    assert any(one.startswith("the test split has no window: training does without") for one in failing.warnings)
    assert json.loads(json.dumps(failing.to_dict()))["ok"] is False


def test_a_million_rows_take_no_call_each():
    """Rows are handled as arrays, whatever the machine's speed."""
    days = pd.bdate_range("2014-01-01", periods=2570)
    ticks = days.as_unit("ns").asi8[:, None] + (570 + np.arange(390)) * 60_000_000_000
    store = BarStore.from_bars([bars("A", pd.DatetimeIndex(ticks.ravel().view("M8[ns]")))])
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        report = inspect_store(store, lookback=90, horizon=10, split=SplitSettings())
    finally:
        sys.setprofile(None)
    assert report.rows == 1_002_300
    assert report.symbols[0].gaps == 0
    print(f"{calls:,} calls")
    assert calls < 100_000


def test_symbols_under_two_clocks_are_told_of() -> None:
    """The hours of two stocks are the same moments, one in New York's time and one in UTC."""
    moments = pd.date_range("2024-03-04 14:30", periods=100, freq="h", tz="UTC").as_unit("ns")
    values = np.tile([10.0, 11.0, 9.0, 10.0, 1.0, 10.0], (100, 1))
    one, two = Bars("AAPL", moments.tz_convert("America/New_York"), values), Bars("MSFT", moments, values)
    [told] = findings(BarStore.from_bars([one, two]), cleaned=True)
    assert str(told).startswith(
        "AAPL and MSFT have bars of the same moments under two clocks (America/New_York and UTC)"
    )
    assert findings(BarStore.from_bars([one, replace(one, symbol="MSFT")]), cleaned=True) == []
    later = Bars("MSFT", moments + pd.Timedelta(days=400), values)
    assert findings(BarStore.from_bars([one, later]), cleaned=True) == []
    naive = Bars("MSFT", moments.tz_localize(None), values)
    [told] = findings(BarStore.from_bars([one, naive]), cleaned=True)
    assert str(told).startswith("MSFT has times without a zone beside times of America/New_York")


def test_bars_dated_after_today_are_told_of() -> None:
    """As dates read in another century are; the one bar that a coming Friday dates is none."""
    today = pd.Timestamp.now().normalize().as_unit("ns")
    values = np.tile([10.0, 11.0, 9.0, 10.0, 1.0, 10.0], (4, 1))
    weeks, years = (pd.DatetimeIndex([today + pd.Timedelta(days=n * step) for n in range(-2, 2)]) for step in (6, 400))
    plain, late = Bars("A", weeks, values), Bars("B", years + pd.Timedelta(days=500), values)
    assert findings(BarStore.from_bars([plain]), cleaned=True) == []
    [told] = findings(BarStore.from_bars([plain, late]), cleaned=True)
    assert told.symbols == ("B",)
    assert str(told).startswith("3 rows dated after today: are the dates")
    assert told.note.matters
