import json

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, BarStore, Note, time_features
from chandler.errors import DataError


def bars(symbol, start, count, zone=None, freq="D"):
    index = pd.date_range(start, periods=count, freq=freq, tz=zone).as_unit("ns")
    values = np.arange(count * 6, dtype=np.float64).reshape(count, 6) + 1
    return Bars(
        symbol,
        index,
        values,
        source=f"{symbol}.csv",
        notes=(Note(f"about {symbol}", "dropped", 2, "2024-01-01", "2024-01-02"),),
    )


@pytest.fixture
def store():
    return BarStore.from_bars(
        [bars("A", "2024-01-01", 3), bars("B/USD", "2024-07-01 09:30", 2, "America/New_York", "h")]
    )


def test_arrays_are_flat_and_typed(store):
    assert store.values.dtype == np.float32
    assert store.offsets.tolist() == [0, 3, 5]
    assert (len(store), store.rows) == (2, 5)
    assert store.zones == (None, "America/New_York")
    # Naive wall clock counts as UTC; 09:30 in New York in July is 13:30 UTC, and the stamps stay local.
    assert store.timestamps[0] == pd.Timestamp("2024-01-01", tz="UTC").value
    assert store.timestamps[3] == pd.Timestamp("2024-07-01 13:30", tz="UTC").value
    assert store.stamps[3].tolist() == [30, 9, 0, 1, 7]


def test_a_symbol_comes_back_as_it_went_in(store):
    one = store["B/USD"]
    assert one.values.dtype == np.float64
    assert one.timestamps.equals(bars("B/USD", "2024-07-01 09:30", 2, "America/New_York", "h").timestamps)
    assert (one.source, one.notes[0].text) == ("B/USD.csv", "about B/USD")
    assert [each.symbol for each in store] == ["A", "B/USD"]
    assert "A" in store
    assert store.select(["B/USD"]).symbols == ("B/USD",)
    assert dict(store).keys() == dict(store.items()).keys() == {"A", "B/USD"}
    assert dict(store)["A"].timestamps.equals(store["A"].timestamps)


def test_unknown_and_repeated_symbols(store):
    with pytest.raises(DataError, match="B/USDT: no such symbol among 2; there are, for example, B/USD"):
        store["B/USDT"]
    with pytest.raises(DataError, match=r"A: the symbol comes twice, from A\.csv and from A\.csv"):
        BarStore.from_bars([bars("A", "2024-01-01", 3), bars("A", "2025-01-01", 3)])
    with pytest.raises(DataError, match="no bars"):
        BarStore.from_bars([])


@pytest.mark.parametrize("zone", ["UTC", "UTC-05:00", "UTC+05:30", "Asia/Tokyo"])
def test_saved_and_mapped_again(tmp_path, zone):
    saved = BarStore.from_bars([bars("A", "2024-01-01", 3, zone)])
    opened = BarStore.open(saved.save(tmp_path / "store"))
    assert isinstance(opened.values, np.memmap)
    assert opened["A"].timestamps.equals(saved["A"].timestamps)
    assert opened["A"].values.tolist() == saved["A"].values.tolist()
    assert opened.notes == saved.notes
    assert opened.stamps.tolist() == time_features(saved["A"].timestamps).tolist()


def test_saving_replaces_a_store_and_nothing_else(store, tmp_path):
    store.save(tmp_path / "s")
    store.select(["A"]).save(tmp_path / "s")
    assert BarStore.open(tmp_path / "s").symbols == ("A",)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]  # nothing left beside it
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="exists and is no bar store"):
        store.save(tmp_path / "other")


def test_a_store_with_more_in_it_stays(store, tmp_path):
    folder = store.save(tmp_path / "s")
    for name in ("thesis.tex", ".git/HEAD", "data/A.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("years of work")
        with pytest.raises(DataError, match="exists and holds more than a bar store"):
            store.save(folder)
        assert (folder / name).read_text() == "years of work"
        (folder / name).unlink()
        if (folder / name).parent != folder:
            (folder / name).parent.rmdir()
    store.save(folder)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "store.json").write_text('{"shelves": 3}')  # a store of another kind
    with pytest.raises(DataError, match="exists and is no bar store"):
        store.save(tmp_path / "shop")
    assert (tmp_path / "shop" / "store.json").read_text() == '{"shelves": 3}'


def test_a_store_is_not_saved_over_itself_nor_over_the_working_folder(store, tmp_path, monkeypatch):
    folder = store.save(tmp_path / "s")
    (tmp_path / "link").symlink_to(folder)
    for place in (folder, tmp_path / "link"):
        with pytest.raises(DataError, match="these bars are read from there"):
            BarStore.open(folder).save(place)
    assert BarStore.open(folder).symbols == store.symbols
    BarStore.open(folder).select(["A"]).save(folder)  # a copy in memory
    assert BarStore.open(folder).symbols == ("A",)
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match="the working folder"):
        store.save(".")
    assert BarStore.open(".").symbols == ("A",)
    monkeypatch.chdir(tmp_path)
    store.save("link")
    assert (tmp_path / "link").is_symlink()


def test_opening_what_is_none_or_damaged(store, tmp_path):
    with pytest.raises(DataError, match="no bar store here"):
        BarStore.open(tmp_path)
    folder = store.save(tmp_path / "s")
    (folder / "values.npy").write_bytes(b"torn")
    with pytest.raises(DataError, match="damaged"):
        BarStore.open(folder)
    store.save(folder)
    np.save(folder / "values.npy", store.values[:2])
    with pytest.raises(DataError, match="damaged"):
        BarStore.open(folder)
    store.save(folder)
    meta = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps({**meta, "version": 99}))
    with pytest.raises(DataError, match="version 99"):
        BarStore.open(folder)
