"""No row in two parts, the past before the future: written out by hand once, then on random panels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandler.data import Bars, BarStore, SplitSettings, Windows, split_ranges, walk_forward
from chandler.data.datasets import before_cutoff
from chandler.errors import DataError


def panel(*spans, zone=None):
    """A store of daily symbols from (first day number, rows)."""
    bars = []
    for number, (first, count) in enumerate(spans):
        index = pd.date_range(pd.Timestamp("2024-01-01") + pd.Timedelta(days=first), periods=count, tz=zone)
        bars.append(Bars(f"S{number}", index.as_unit("ns"), np.ones((count, 6))))
    return BarStore.from_bars(bars)


def lists(parts):
    return {name: ranges.tolist() for name, ranges in parts.items()}


def test_fractions_of_the_common_timeline():
    store = panel((0, 10), (5, 5))  # ten days; the second symbol has only the last five
    parts = split_ranges(store, SplitSettings(train=0.6, val=0.2, test=0.2))
    assert lists(parts) == {"train": [[0, 6], [10, 11]], "val": [[6, 8], [11, 13]], "test": [[8, 10], [13, 15]]}


def test_fractions_of_each_symbol():
    parts = split_ranges(panel((0, 10), (5, 5)), SplitSettings(train=0.6, val=0.4, per="symbol"))
    assert lists(parts) == {"train": [[0, 6], [10, 13]], "val": [[6, 10], [13, 15]]}


def test_purge_leaves_rows_out_before_the_next_part():
    parts = split_ranges(panel((0, 10)), SplitSettings(train=0.5, val=0.3, test=0.2, purge=2))
    assert lists(parts) == {"train": [[0, 3]], "val": [[5, 6]], "test": [[8, 10]]}
    ended = split_ranges(panel((0, 10), (0, 4)), SplitSettings(train=0.5, val=0.5, purge=2))
    assert lists(ended)["train"] == [[0, 3], [10, 14]]  # the second ends before validation: nothing to purge


def test_dates_are_whole_local_days():
    index = pd.date_range("2024-01-01 12:00", periods=8, freq="12h", tz="America/New_York").as_unit("ns")
    store = BarStore.from_bars([Bars("A", index, np.ones((8, 6)))])
    parts = split_ranges(store, SplitSettings(train_end="2024-01-02", val_end="2024-01-03"))
    ends = {name: [str(index[lo])[:16], str(index[hi - 1])[:16]] for name, ((lo, hi),) in lists(parts).items()}
    assert ends == {
        "train": ["2024-01-01 12:00", "2024-01-02 12:00"],
        "val": ["2024-01-03 00:00", "2024-01-03 12:00"],
        "test": ["2024-01-04 00:00", "2024-01-05 00:00"],
    }
    assert "test" not in split_ranges(store, SplitSettings(train_end="2024-01-02"))


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo", "America/New_York"])
def test_dates_that_nanoseconds_do_not_reach_are_before_or_behind_all_bars(zone):
    parts = split_ranges(panel((0, 10), zone=zone), SplitSettings(train_end="0001-01-01", val_end="9999-12-31"))
    assert lists(parts) == {"train": [[0, 0]], "val": [[0, 10]], "test": [[10, 10]]}


def test_dates_keep_zones_apart():
    tokyo = pd.date_range("2024-01-01", periods=96, freq="h", tz="Asia/Tokyo").as_unit("ns")
    york = pd.date_range("2024-01-01", periods=96, freq="h", tz="America/New_York").as_unit("ns")
    store = BarStore.from_bars([Bars("T", tokyo, np.ones((96, 6))), Bars("N", york, np.ones((96, 6)))])
    parts = split_ranges(store, SplitSettings(train_end="2024-01-02"))
    latest = max(store.timestamps[hi - 1] for lo, hi in parts["train"])
    assert latest < min(store.timestamps[lo] for lo, hi in parts["val"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0.9, "val": 0.2}, "at most 1"),
        ({"val_end": "2024-01-01"}, "need train_end"),
        ({"train_end": "2024-01-02", "val_end": "2024-01-01"}, "must increase"),
        ({"train_end": "2024-01-02", "test_end": "2024-01-03"}, "needs val_end"),
        ({"purge": -1}, "greater than or equal to 0"),
        ({"valid": 0.1}, "Extra inputs"),
        ({"walk": {"folds": 3, "fold": 3, "test": 4, "val": 2}}, "fold 3 is not among 3 folds, which count from 0"),
        ({"walk": {"folds": 3, "test": 4, "val": 2}, "train": 0.5}, "walk has sizes of its own: leave out train"),
        ({"walk": {"folds": 3, "test": 4, "val": 2}, "train_end": "2024-01-02"}, "leave out train_end"),
        ({"walk": {"folds": 3, "test": 4}}, "val"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SplitSettings(**options)


shares = st.sampled_from([(0.9, 0.1, 0.0), (0.7, 0.2, 0.1), (0.1, 0.2, 0.3), (0.0, 1.0, 0.0), (1 / 3, 1 / 3, 1 / 3)])


@settings(max_examples=100, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 80)), min_size=1, max_size=5),
    share=shares,
    purge=st.integers(0, 7),
    embargo=st.integers(0, 4),
    per=st.sampled_from(["timeline", "symbol", "date"]),
)
def test_no_row_is_in_two_parts_and_time_runs_forward(spans, share, purge, embargo, per):
    store = panel(*spans)
    if per == "date":
        options = SplitSettings(train_end="2024-02-01", val_end="2024-02-20", purge=purge, embargo=embargo)
    else:
        options = SplitSettings(train=share[0], val=share[1], test=share[2], purge=purge, embargo=embargo, per=per)
    parts = list(split_ranges(store, options).values())

    owners = np.zeros(store.rows, int)
    for ranges in parts:
        assert (ranges[:, 0] <= ranges[:, 1]).all()
        assert (ranges[:, 0] >= store.offsets[:-1]).all()
        assert (ranges[:, 1] <= store.offsets[1:]).all()
        for lo, hi in ranges:
            owners[lo:hi] += 1
    assert owners.max(initial=0) <= 1

    for earlier, later in [(0, 1), (1, 2), (0, 2)][: 3 if len(parts) == 3 else 1]:
        for (lo, hi), (next_lo, next_hi) in zip(parts[earlier], parts[later], strict=True):
            if hi > lo and next_hi > next_lo:
                assert next_lo - hi >= purge + embargo
        if per != "symbol":
            last = [store.timestamps[hi - 1] for lo, hi in parts[earlier] if hi > lo]
            first = [store.timestamps[lo] for lo, hi in parts[later] if hi > lo]
            assert max(last, default=0) < min(first, default=2**62)


@settings(max_examples=50, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 60)), min_size=1, max_size=4), stride=st.integers(1, 4)
)
def test_windows_of_two_parts_share_no_row(spans, stride):
    store = panel(*spans)
    used = []
    for ranges in split_ranges(store, SplitSettings(train=0.6, val=0.4)).values():
        windows = Windows(store, ranges, lookback=4, horizon=2, stride=stride)
        starts = windows.starts(np.arange(len(windows)))
        used.append({row for start in starts for row in range(start, start + windows.length)})
    assert not used[0] & used[1]


def test_embargo_leaves_rows_out_after_a_part():
    parts = split_ranges(panel((0, 20)), SplitSettings(train=0.5, val=0.3, test=0.2, purge=2, embargo=1))
    assert lists(parts) == {"train": [[0, 8]], "val": [[11, 14]], "test": [[17, 20]]}
    late = split_ranges(panel((0, 20), (10, 10)), SplitSettings(train=0.5, val=0.5, embargo=3))
    assert lists(late) == {
        "train": [[0, 10], [20, 20]],
        "val": [[13, 20], [20, 30]],
    }  # listed late: nothing to keep off


def ranges_of(folds):
    return [lists(fold.ranges) for fold in folds]


def test_walk_forward_expands_and_its_tests_follow_each_other():
    assert ranges_of(walk_forward(panel((0, 20)), folds=3, test=4, val=2)) == [
        {"train": [[0, 6]], "val": [[6, 8]], "test": [[8, 12]]},
        {"train": [[0, 10]], "val": [[10, 12]], "test": [[12, 16]]},
        {"train": [[0, 14]], "val": [[14, 16]], "test": [[16, 20]]},
    ]


def test_walk_forward_rolls_with_purge_and_embargo():
    assert ranges_of(walk_forward(panel((0, 20)), folds=2, test=4, train=8, purge=2, embargo=1)) == [
        {"train": [[4, 10]], "test": [[13, 16]]},
        {"train": [[8, 14]], "test": [[17, 20]]},
    ]


def test_walk_forward_of_a_panel_with_late_listings():
    store = panel((0, 20), (13, 7))  # the second symbol is listed on the 14th day
    folds = list(walk_forward(store, folds=2, test=4, val=2))
    assert ranges_of(folds) == [
        {"train": [[0, 10], [20, 20]], "val": [[10, 12], [20, 20]], "test": [[12, 16], [20, 23]]},
        {"train": [[0, 14], [20, 21]], "val": [[14, 16], [21, 23]], "test": [[16, 20], [23, 27]]},
    ]
    assert [pd.Timestamp(fold.begins["test"]).day for fold in folds] == [13, 17]
    assert [pd.Timestamp(fold.end).day for fold in folds] == [16, 20]
    by_symbol = walk_forward(store, folds=2, test=2, per="symbol")
    assert ranges_of(by_symbol)[0] == {"train": [[0, 16], [20, 23]], "test": [[16, 18], [23, 25]]}


def test_folds_that_do_not_fit_are_refused_at_once():
    with pytest.raises(DataError, match="3 folds of 6 to test, 2 to validate and at least 1 to train need 21 moments"):
        walk_forward(panel((0, 20)), folds=3, test=6, val=2)
    with pytest.raises(DataError, match="test must be at least 1"):
        walk_forward(panel((0, 20)), folds=3, test=0)


def fold(number, **more):
    """The settings of one of two folds, as a run's YAML has them, through YAML's types and back."""
    chosen = SplitSettings(walk={"folds": 2, "fold": number, "test": 4, "val": 4}, purge=1, embargo=1, **more)
    return SplitSettings.model_validate(chosen.model_dump(mode="json"))


def test_one_fold_of_a_walk_forward_is_a_split_of_a_run():
    store = panel((0, 20), (13, 7))  # the second symbol is listed on the 14th day
    assert lists(split_ranges(store, fold(0))) == {
        "train": [[0, 7], [20, 20]],
        "val": [[9, 11], [20, 20]],
        "test": [[13, 16], [20, 23]],  # nothing before it: no embargo for the second symbol
    }
    assert lists(split_ranges(store, fold(1))) == {
        "train": [[0, 11], [20, 20]],
        "val": [[13, 15], [20, 22]],
        "test": [[17, 20], [24, 27]],
    }
    assert lists(split_ranges(store, fold(None))) == lists(split_ranges(store, fold(1)))
    assert lists(split_ranges(store, fold(1, per="symbol"))) == {
        "train": [[0, 11], [20, 20]],
        "val": [[13, 15], [20, 22]],
        "test": [[17, 20], [24, 27]],
    }
    rolling = SplitSettings(walk={"folds": 2, "fold": 1, "test": 4, "val": 4, "train": 5}, purge=1)
    assert lists(split_ranges(store, rolling)) == {
        "train": [[7, 11], [20, 20]],
        "val": [[12, 15], [20, 22]],
        "test": [[16, 20], [23, 27]],
    }
    with pytest.raises(DataError, match="9 folds of 4 to test, 4 to validate and at least 1 to train need 41 moments"):
        split_ranges(store, SplitSettings(walk={"folds": 9, "test": 4, "val": 4}))


@settings(max_examples=60, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), min_size=1, max_size=4),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(0, 5)),
    train=st.one_of(st.none(), st.integers(1, 20)),
    gaps=st.tuples(st.integers(0, 5), st.integers(0, 3)),
    per=st.sampled_from(["timeline", "symbol"]),
)
def test_folds_share_no_row_and_keep_their_gaps(spans, sizes, train, gaps, per):
    store = panel(*spans)
    folds, test, val = sizes
    try:
        found = list(walk_forward(store, folds=folds, test=test, val=val, train=train, purge=gaps[0],
                                  embargo=gaps[1], per=per))  # fmt: skip
    except DataError:
        return
    tested = np.zeros(store.rows, int)
    for fold in found:
        owners = np.zeros(store.rows, int)
        for name, ranges in fold.ranges.items():
            for lo, hi in ranges:
                owners[lo:hi] += 1
                tested[lo:hi] += name == "test"
        assert owners.max(initial=0) <= 1
        parts = list(fold.ranges.values())
        for number, later in enumerate(parts[1:], 1):
            for earlier in parts[:number]:
                for (lo, hi), (next_lo, next_hi) in zip(earlier, later, strict=True):
                    if hi > lo and next_hi > next_lo:
                        assert next_lo - hi >= sum(gaps)
                if per == "timeline":
                    last = [store.timestamps[hi - 1] for lo, hi in earlier if hi > lo]
                    first = [store.timestamps[lo] for lo, hi in later if hi > lo]
                    assert max(last, default=0) < min(first, default=2**62)
    assert tested.max(initial=0) <= 1


def test_parts_before_the_cutoff_of_the_checkpoints():
    store = panel((0, 300))  # from January to October 2024
    parts = split_ranges(store, SplitSettings(train=0.4, val=0.3, test=0.3))
    assert {name: [str(day) for day in days] for name, days in before_cutoff(store, parts).items()} == {
        "val": ["2024-04-30", "2024-07-28"]
    }
