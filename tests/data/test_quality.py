import json

import numpy as np
import pandas as pd

from chandler.data import Bars, BarStore, SplitSettings, inspect_store


def bars(symbol, index, notes=()):
    values = np.full((len(index), 6), 10.0)
    values[:, 1] += 1
    values[:, 2] -= 1
    return Bars(symbol, pd.DatetimeIndex(index).as_unit("ns"), values, notes=notes)


def test_one_symbol_with_everything_wrong():
    index = pd.bdate_range("2024-01-01", periods=100).delete(range(50, 60))  # two weeks are missing
    one = bars("A", index, notes=("rows were newest first: sorted",))
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
    many = [bars(f"S{number:03d}", index, notes=("same note",)) for number in range(500)]
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
