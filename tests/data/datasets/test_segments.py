"""Segments: the rows that windows may use and never cross, from the reader to the windows and back from disk."""

import re

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, BarStore, SplitSettings, Windows, load_bars, require_windows, split_ranges
from chandler.data.datasets import untrainable
from chandler.errors import DataError


def bars(symbol, count, segments=None, freq="h"):
    index = pd.date_range("2024-01-01", periods=count, freq=freq).as_unit("ns")
    values = np.random.default_rng(count).uniform(1, 2, (count, 6))
    return Bars(symbol, index, values, segments=None if segments is None else np.array(segments, np.int64))


def all_rows(store):
    return np.stack([store.offsets[:-1], store.offsets[1:]], axis=1)


def test_one_segment_a_symbol_by_default():
    store = BarStore.from_bars([bars("A", 12), bars("B", 5)])
    assert store.segments.tolist() == [[0, 12], [12, 17]]
    assert store["A"].segments is None


def test_windows_stay_inside_segment_and_range():
    store = BarStore.from_bars([bars("A", 30, [[0, 8], [10, 22], [22, 30]]), bars("B", 10)])
    windows = Windows(store, np.array([[2, 27], [30, 40]]), lookback=4, horizon=1)  # 6 rows each
    # [2, 8) holds 1, [10, 22) holds 7, [22, 27) none, and B's ten rows 5.
    assert windows.counts.tolist() == [8, 5]
    assert windows.starts(np.arange(13)).tolist() == [2, *range(10, 17), *range(30, 35)]
    assert windows.describe(1)[1:] == (pd.Timestamp("2024-01-01 10:00"), pd.Timestamp("2024-01-01 15:00"))
    assert windows.describe(8)[0] == "B"
    assert np.array_equal(windows.gather([12]).stamps[0], store.stamps[34:40])
    wide = Windows(store, all_rows(store), lookback=4, horizon=1, stride=3)
    assert wide.starts(np.arange(len(wide))).tolist() == [0, 10, 13, 16, 22, 30, 33]


def test_segments_survive_store_select_slice_and_disk(tmp_path):
    store = BarStore.from_bars([bars("A", 12), bars("B", 30, [[0, 8], [10, 22]])])
    assert store.segments.tolist() == [[0, 12], [12, 20], [22, 34]]
    assert store["B"].segments.tolist() == [[0, 8], [10, 22]]
    assert store.select(["B"]).segments.tolist() == [[0, 8], [10, 22]]
    assert store["B"].slice(3, 15).segments.tolist() == [[0, 5], [7, 12]]
    assert store["B"].tail(8).segments.tolist() == []  # the last eight rows are in none
    folder = store.save(tmp_path / "s")
    assert BarStore.open(folder).segments.tolist() == store.segments.tolist()
    (folder / "segments.npy").unlink()  # a store of before segments
    assert BarStore.open(folder).segments.tolist() == [[0, 12], [12, 42]]
    np.save(folder / "segments.npy", np.array([[0, 20]]))
    with pytest.raises(DataError, match="damaged: segments must be increasing"):
        BarStore.open(folder)


@pytest.mark.parametrize("wrong", [[[0, 13]], [[5, 5]], [[4, 8], [6, 9]], [[20, 24], [0, 3]], [[-1, 3]]])
def test_segments_must_be_ordered_disjoint_and_inside_a_symbol(wrong):
    store = BarStore.from_bars([bars("A", 12), bars("B", 30)])
    with pytest.raises(ValueError, match="segments must be"):
        store.with_segments(np.array(wrong))


def test_missing_prices_split_and_duplicates_do_not():
    index = pd.date_range("2024-01-01", periods=9)
    frame = pd.DataFrame({name: np.arange(1.0, 10.0) for name in ("open", "high", "low", "close")}, index=index)
    frame.iloc[3, 0] = np.nan
    frame.iloc[4, 3] = 0.0
    frame = pd.concat([frame, frame.iloc[[7]]])
    one = load_bars(frame, missing="split", unsorted="sort")["series"]
    assert len(one) == 7
    assert one.segments.tolist() == [[0, 3], [3, 7]]
    assert load_bars(frame, missing="drop", unsorted="sort")["series"].segments is None
    frame.iloc[0, 0] = np.nan  # a hole before the first row splits nothing
    one = load_bars(frame, missing="split", unsorted="sort")["series"]
    assert one.segments.tolist() == [[0, 2], [2, 6]]


def test_too_short_stretches_are_an_error_that_says_so():
    store = BarStore.from_bars([bars("A", 30, [[0, 8], [10, 22]])])
    with pytest.raises(DataError, match=r"the most that an unbroken stretch of a symbol has there is 12 \(A\)"):
        require_windows(Windows(store, all_rows(store), lookback=20, horizon=1), "training")


def test_a_store_of_which_nothing_is_left_has_no_window():
    store = BarStore.from_bars([bars("A", 30), bars("B", 9)]).with_segments(np.empty((0, 2)))
    windows = Windows(store, all_rows(store), lookback=4, horizon=1)
    assert (len(windows), windows.counts.tolist()) == (0, [0, 0])
    with pytest.raises(DataError, match="has no window"):
        require_windows(windows, "training")
    assert store["A"].segments.tolist() == []


DAYS = 260


@pytest.mark.parametrize(
    ("split", "cause", "remedy"),
    [
        ({"train_end": "2025-06-30"}, r"validation .*no rows\. It begins after 2025-06-30 \(data\.split\.train_end\), and the data go "
         r"from 2024-01-01 to 2024-09-16\. Set data\.split\.train_end earlier, or load newer data\.$", {"train_end": "2024-06-30"}),
        ({"train_end": "2023-06-30"}, r"training .*It ends on 2023-06-30 .* Set data\.split\.train_end later\.$",
         {"train_end": "2024-06-30"}),
        ({"train_end": "2024-09-06"}, r"needs 25 rows .* there is 10 \(A\).*begins after 2024-09-06 .* or lower lookback or horizon",
         {"train_end": "2024-08-06"}),
        ({"train_end": "2024-06-30", "val_end": "2024-07-10", "purge": 3}, r"and ends on 2024-07-10 \(data\.split\.val_end\), .* "
         r"earlier or data\.split\.val_end later", {"train_end": "2024-06-30", "val_end": "2024-08-10", "purge": 3}),
        ({"train": 0.95, "val": 0.05, "embargo": 2}, r"validation .* is 11 \(A\).*Lower lookback or horizon or data\.split\.embargo, raise "
         r"data\.split\.val", {"train": 0.7, "val": 0.3, "embargo": 2}),
        ({"train": 0.05, "val": 0.95}, r"training .*raise data\.split\.train,", {"train": 0.5, "val": 0.5}),
        ({"walk": {"folds": 2, "test": 30, "val": 10}}, r"make the folds longer with data\.split\.walk",
         {"walk": {"folds": 2, "test": 30, "val": 40}}),
    ],
)  # fmt: skip
def test_a_part_without_windows_says_why_and_its_remedy_works(split, cause, remedy):
    store = BarStore.from_bars([bars("A", DAYS, freq="D")])

    def problems(settings):
        settings = SplitSettings.model_validate(settings)
        parts = split_ranges(store, settings)
        return untrainable({name: Windows(store, part, 20, 4) for name, part in parts.items()}, settings)

    assert re.search(cause, problems(split)[0]), problems(split)
    assert problems(remedy) == []


def test_data_that_are_too_short_or_full_of_holes_say_so():
    split = SplitSettings(train=0.5, val=0.5)
    short = BarStore.from_bars([bars("A", 20), bars("B", 12)])
    with pytest.raises(DataError, match=r"The data are too short: the longest symbol has 20 rows in all\. Lower"):
        require_windows(Windows(short, split_ranges(short, split)["val"], 20, 4), "validation", split)
    pieces = np.array([[at, at + 9] for at in range(0, DAYS - 10, 10)])
    holes = BarStore.from_bars([bars("A", DAYS, pieces)])
    with pytest.raises(
        DataError, match=r"stretch .* there is 9 \(A\).*A symbol has 130 rows there, but holes.*data\.max_gap"
    ):
        require_windows(Windows(holes, split_ranges(holes, split)["val"], 20, 4), "validation", split)
