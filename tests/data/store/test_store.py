import json
from datetime import UTC, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
import tzdata

from chandler.data import Bars, BarStore, Note, future_timestamps, load_bars, time_features
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
    assert [store.span(number) for number in range(2)] == [(0, 3), (3, 5)]
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


def test_its_interval_is_the_shortest_of_its_symbols(store):
    assert store.interval == pd.Timedelta(hours=1)
    assert store.select(["A"]).interval == pd.Timedelta(days=1)
    assert BarStore.from_bars([bars("A", "2024-01-01", 3), bars("C", "2024-01-01", 1)]).interval == pd.Timedelta(days=1)
    with pytest.raises(DataError, match="no symbol has two bars"):
        _ = BarStore.from_bars([bars("A", "2024-01-01", 1)]).interval


def berlin_by_file():
    with (Path(tzdata.__file__).parent / "zoneinfo" / "Europe" / "Berlin").open("rb") as file:
        return ZoneInfo.from_file(file)  # without a key


ZONES = [
    (timezone(timedelta(hours=8), "CST"), "UTC+08:00"),
    (timezone(timedelta(hours=8), "EST"), "UTC+08:00"),
    (timezone(-timedelta(hours=3, minutes=30)), "UTC-03:30"),
    (UTC, "UTC"),
    (dateutil.tz.tzutc(), "UTC"),
    (dateutil.tz.tzoffset(None, 19800), "UTC+05:30"),
    (dateutil.tz.gettz("America/New_York"), "America/New_York"),
    (berlin_by_file(), "Europe/Berlin"),
    (ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"),
]


@pytest.mark.parametrize(("zone", "name"), ZONES, ids=[name for _, name in ZONES])
def test_zones_are_kept_by_a_name_that_reads_back_the_same_times(tmp_path, zone, name):
    made = bars("A", "2024-03-29", 6, zone)
    store = BarStore.from_bars([made])
    read = load_bars({"A": made.to_frame().assign(open=2.0, high=3.0, low=1.0, close=2.0)})
    for one in (store, BarStore.open(store.save(tmp_path / "store")), read):
        assert one.zones == (name,)
        assert one["A"].timestamps.equals(made.timestamps.tz_convert(name))
        assert one["A"].timestamps.tz_localize(None).equals(made.timestamps.tz_localize(None))
    assert str(read["A"].timestamps.tz) == name
    assert len(future_timestamps(read["A"].timestamps, 3)) == 3


def test_a_zone_without_a_name_is_read_in_utc_and_not_kept():
    made = bars("A", "2024-01-01", 3, timezone(timedelta(hours=5, minutes=53, seconds=28)))
    with pytest.raises(DataError, match=r"the zone UTC\+05:53:28 has no name to find it again: convert times"):
        BarStore.from_bars([made])
    read = load_bars({"A": made.to_frame().assign(open=2.0, high=3.0, low=1.0, close=2.0)})
    assert read.zones == ("UTC",)
    assert read["A"].timestamps.equals(made.timestamps.tz_convert("UTC"))
    assert any("a zone without a name: converted to UTC" in note.text for note in read["A"].notes)


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
