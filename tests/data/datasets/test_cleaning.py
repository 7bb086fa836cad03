"""The paper's cleaning on hand-made series, the ranges that stay written out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandler.data import Bars, BarStore, CleaningSettings, Windows, clean_rows, clean_store
from chandler.data.datasets import PAPER, Limits, paper_limits

HOUR = pd.Timedelta(hours=1)


def rows(count):
    """Rows that no rule touches: every close differs from the one before by a cent, every bar trades."""
    values = np.full((count, 6), 10.0)
    values[:, 3] += 0.01 * (np.arange(count) % 2)
    return values


def store_of(values, freq="D", **options):
    index = pd.date_range("2024-01-01", periods=len(values), freq=freq).as_unit("ns")
    return BarStore.from_bars([Bars("A", index, values, **options)])


def test_the_table_of_the_paper():
    assert paper_limits(pd.Timedelta(minutes=1)) == Limits(2048, 0.10, 15, 45)
    assert paper_limits(pd.Timedelta(minutes=5)) == Limits(1024, 0.15, 3, 10)
    assert paper_limits(HOUR) == Limits(256, 0.20, 1, 3)
    assert paper_limits(24 * HOUR) == Limits(128, 0.30, 1, 3)
    assert paper_limits(7 * 24 * HOUR) == Limits(16, 0.50, 0, 2)
    # Intervals that the paper does not have go by the nearest it has.
    assert paper_limits(pd.Timedelta(minutes=3)) == PAPER["5m"]
    assert paper_limits(31 * 24 * HOUR) == PAPER["week"]
    assert len(PAPER) == 12


def test_a_jump_splits_and_cuts_nothing():
    values = rows(20)
    values[7:, :4] *= 2  # opens 100% above the close of row 6
    found, events = clean_rows(values, Limits(jump=0.3))
    assert found.tolist() == [[0, 7], [7, 20]]
    assert events == [("jump", 7, 7)]
    values = rows(20)
    values[7, 0] = values[6, 3] * 1.3  # at the limit, up to rounding
    assert clean_rows(values, Limits(jump=0.3001))[0].tolist() == [[0, 20]]
    assert clean_rows(values, Limits(jump=0.2999))[0].tolist() == [[0, 7], [7, 20]]


def test_runs_longer_than_the_limit_are_cut_whole():
    values = rows(30)
    values[3:5, 4] = 0  # two rows: at the limit
    values[10:13, 4] = 0  # three: over it
    values[29, 4] = 0
    found, events = clean_rows(values, Limits(illiquid=2))
    assert found.tolist() == [[0, 10], [13, 30]]
    assert events == [("illiquid", 10, 13)]
    assert clean_rows(values, Limits(illiquid=0))[0].tolist() == [[0, 3], [5, 10], [13, 29]]


def test_stagnant_runs_count_the_rows_that_share_a_close():
    values = rows(30)
    values[10:14, 3] = 10.5  # four rows at one close
    assert clean_rows(values, Limits(stagnant=4))[0].tolist() == [[0, 30]]
    found, events = clean_rows(values, Limits(stagnant=3))
    assert found.tolist() == [[0, 10], [14, 30]]
    assert events == [("stagnant", 10, 14)]


def test_a_split_ends_a_run():
    values = rows(20)
    values[8:12, 3] = 10.5
    values[10, 0] = 30.0  # a jump in the middle: two runs of two
    assert clean_rows(values, Limits(jump=0.5, stagnant=3))[0].tolist() == [[0, 10], [10, 20]]
    holes = np.zeros(19, bool)
    holes[9] = True
    assert clean_rows(values, Limits(stagnant=3), holes=holes)[0].tolist() == [[0, 10], [10, 20]]


def test_short_stretches_are_left_out_last():
    values = rows(40)
    values[10:14, 4] = 0
    values[20, 0] = 100
    found, events = clean_rows(values, Limits(min_rows=10, jump=0.3, illiquid=3))
    assert found.tolist() == [[0, 10], [20, 40]]  # [14, 20) has six rows
    assert events == [("jump", 20, 20), ("illiquid", 10, 14), ("short", 14, 20)]


def test_all_rules_at_once_in_the_order_of_the_paper():
    values = rows(30)
    values[5:9, 4] = 0
    values[7:12, 3] = 10.5  # overlaps the illiquid run: its rows are listed once
    found, events = clean_rows(values, Limits(illiquid=3, stagnant=3))
    assert found.tolist() == [[0, 5], [12, 30]]
    assert events == [("illiquid", 5, 9), ("stagnant", 9, 12)]


def test_a_symbol_without_volume_is_not_illiquid_and_amount_stands_in():
    values = rows(30)
    values[:, 4:] = 0
    assert clean_rows(values, Limits(illiquid=1))[0].tolist() == [[0, 30]]
    values[:, 5] = 5.0  # amount, as Philippine files have it
    values[12:15, 5] = 0
    assert clean_rows(values, Limits(illiquid=1))[0].tolist() == [[0, 12], [15, 30]]


def test_segments_of_the_reader_stay_apart():
    values = rows(30)
    found, events = clean_rows(values, Limits(min_rows=8), np.array([[0, 9], [9, 20], [24, 30]]))
    assert found.tolist() == [[0, 9], [9, 20]]
    assert events == [("read", 9, 9), ("read", 24, 24), ("short", 24, 30)]
    assert clean_rows(values[:0], Limits(min_rows=8))[0].tolist() == []


def test_each_rule_has_a_switch_and_a_limit():
    day = 24 * HOUR
    assert CleaningSettings().limits(day) == Limits()
    assert CleaningSettings(enabled=True).limits(day) == PAPER["day"]
    chosen = CleaningSettings(enabled=True, jump=False, illiquid=5, min_rows=20)
    assert chosen.limits(day) == Limits(min_rows=20, jump=None, illiquid=5, stagnant=3)
    assert CleaningSettings(enabled=True, illiquid=0, jump=1).limits(day) == Limits(128, 1, 0, 3)
    with pytest.raises(ValueError, match="Extra inputs"):
        CleaningSettings(jumps=True)


def test_what_was_removed_is_listed():
    values = rows(40)
    values[10:14, 4] = 0
    values[30, 0] = 100
    rules = CleaningSettings(enabled=True, min_rows=False)
    cleaned, report = clean_store(store_of(values), rules)
    assert cleaned.segments.tolist() == [[0, 10], [14, 30], [30, 40]]
    assert (report.rows, report.kept, report.removed) == (40, 36, 4)
    assert report.events.to_dict("records") == [
        {"symbol": "A", "reason": "jump", "rows": 0, "first": "2024-01-30 00:00:00", "last": "2024-01-31 00:00:00"},
        {"symbol": "A", "reason": "illiquid", "rows": 4, "first": "2024-01-11 00:00:00", "last": "2024-01-14 00:00:00"},
    ]
    text = report.to_text()
    assert "cleaning keeps 36 of 40 rows" in text
    assert "A: illiquid, 4 rows in 1 run," in text


def test_holes_split_and_suspensions_are_not_glued():
    index = pd.bdate_range("2024-01-01", periods=100).delete(range(50, 60)).as_unit("ns")  # two weeks suspended
    store = BarStore.from_bars([Bars("A", index, rows(90))])
    assert clean_store(store, max_gap=5)[0].segments.tolist() == [[0, 50], [50, 90]]
    assert clean_store(store, max_gap=10)[0].segments.tolist() == [[0, 90]]
    windows = Windows(clean_store(store, max_gap=5)[0], np.array([[0, 90]]), lookback=30, horizon=9)
    assert windows.starts(np.arange(len(windows))).tolist() == [*range(11), 50]


def test_nights_are_no_holes_but_a_missing_afternoon_is():
    days = pd.bdate_range("2024-01-01", periods=30)
    index = pd.DatetimeIndex([day + hour * HOUR for day in days for hour in range(9, 16)]).as_unit("ns")
    index = index.delete(range(7 * 20 + 3, 7 * 21))  # four bars of day 20
    store = BarStore.from_bars([Bars("A", index, rows(len(index)))])
    assert clean_store(store, max_gap=3)[0].segments.tolist() == [[0, 143], [143, 206]]
    assert clean_store(store, max_gap=4)[0].segments.tolist() == [[0, 206]]


def test_a_named_calendar_knows_its_holidays():
    index = pd.bdate_range("2024-09-23", "2024-10-18").as_unit("ns")
    index = index[(index < "2024-10-01") | (index > "2024-10-07")]  # the Golden Week of Shanghai
    store = BarStore.from_bars([Bars("600000", index, rows(len(index)))])
    assert len(clean_store(store, max_gap=1, calendar="XSHG")[0].segments) == 1
    assert len(clean_store(store, max_gap=1, calendar="XNYS")[0].segments) == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_segments_are_valid_and_events_account_for_every_row(seed, count):
    generator = np.random.default_rng(seed)
    values = np.full((count, 6), 10.0)
    values[:, :4] += generator.integers(0, 3, (count, 1))
    values[:, 4] = generator.integers(0, 2, count)
    limits = Limits(min_rows=4, jump=0.15, illiquid=2, stagnant=2)
    found, events = clean_rows(values, limits, holes=generator.random(count - 1) < 0.05)
    kept = np.zeros(count, int)
    for lo, hi in found:
        kept[lo:hi] += 1
        assert hi - lo >= 4
        assert (np.abs(values[lo + 1 : hi, 0] / values[lo : hi - 1, 3] - 1) <= 0.15).all()
    for _, lo, hi in events:
        kept[lo:hi] += 1
    assert (kept == 1).all()
