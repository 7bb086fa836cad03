"""The short way through a text file gives what the long way gives, or leaves the file to it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chandler.data import load_bars, prepare
from chandler.data.parallel import map_threads
from chandler.data.reading.csv import read_text
from chandler.data.reading.discovery import Source, by_threads, worker_count
from chandler.data.reading.encoding import Encoded
from chandler.data.reading.load import read_file
from chandler.data.reading.options import ReadingOptions
from chandler.data.reading.rows import Layout, parse_typed
from chandler.data.reading.validation import validate_table
from chandler.errors import DataError

HEAD = "timestamp,open,high,low,close,volume\n"
USUAL = {
    "iso": HEAD + "2024-01-03 09:30:00,1.5,2,1,1.7,10\n2024-01-03 09:31:00,1.5,2,1,1.8,11\n",
    "dates": HEAD + "2024-01-03,1.5,2,1,1.7,10\n2024-01-04,1.5,2,1,1.8,\n",
    "fractions": HEAD + "2024-01-03T09:30:00.25,1.5,2,1,1.7,0\n2024-01-03T09:30:01,1.5,2,1,1.8,0\n",
    "seconds": HEAD + "1704274200,1.5,2,1,1.7,10\n1704274260,1.5,2,1,1.8,11\n",
    "milliseconds": HEAD + "1704274200000,1.5,2,1,1.7,10\n1704274200001,1.5,2,1,1.8,11\n",
    "nanoseconds": HEAD + "1704274200000000001,1.5,2,1,1.7,10\n1704274260000000002,1.5,2,1,1.8,11\n",
    "compact": HEAD + "20240103,1.5,2,1,1.7,10\n20240104,1.5,2,1,1.8,11\n",
    "compact with a clock": HEAD + "202401030930,1.5,2,1,1.7,10\n202401030931,1.5,2,1,1.8,11\n",
    "newest first": HEAD + "2024-01-04,1.5,2,1,1.7,10\n2024-01-03,1.5,2,1,1.8,11\n",
    "quotes": HEAD + '"2024-01-03","1.5",2,1,1.7,10\n"2024-01-04",1.5,2,1,1.8,"11"\n',
    "symbols": "date,ticker,open,high,low,close,volume\n"
    "2024-01-03,B,1.5,2,1,1.7,10\n2024-01-03,A,2.5,3,2,2.7,10\n2024-01-04,B,1.5,2,1,1.8,11\n2024-01-04,A,2.5,3,2,2.8,9\n",
    "symbols one after the other": "ticker,date,open,high,low,close,volume\n"
    "NA,2024-01-03,1.5,2,1,1.7,10\nNA,2024-01-04,1.5,2,1,1.8,11\n A ,2024-01-03,2.5,3,2,2.7,10\nA,2024-01-04,2.5,3,2,2.8,\n",
    "adjusted": "Date;Open;High;Low;Close;Adj Close;Volume\n2024-01-03;1.5;2;1;1.7;0.85;10\n2024-01-04;1.5;2;1;1.8;1.8;11\n",
    "without volume": "time,open,high,low,close\n2024-01-03,1.5,2,1,1.7\n2024-01-04,1.5,2,1,1.8\n",
}
UNUSUAL = {
    "offsets": HEAD + "2024-01-03 09:30:00-05:00,1.5,2,1,1.7,10\n",
    "decimal commas": HEAD.replace(",", ";") + "2024-01-03;1,5;2;1;1,7;10\n2024-01-04;1,5;2;1;1,8;11\n",
    "another spelling of nothing": HEAD + "2024-01-03,1.5,2,1,1.7,n/a\n2024-01-04,1.5,2,1,1.8,11\n",
    "days first": HEAD + "13/01/2024,1.5,2,1,1.7,10\n14/01/2024,1.5,2,1,1.8,11\n",
    "two columns of time": "date,time,open,high,low,close\n2024-01-03,09:30,1.5,2,1,1.7\n2024-01-03,09:31,1.5,2,1,1.8\n",
}


def same(ours, theirs):
    assert [one.symbol for one in ours] == [one.symbol for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.timestamps.equals(other.timestamps)
        assert str(one.timestamps.tz) == str(other.timestamps.tz)
        assert np.array_equal(one.values.astype(np.float32), other.values.astype(np.float32))
        assert one.notes == other.notes


def both(path, **options):
    """What the short way and the long way make of a file: bars, or the message."""
    found = []
    for typed in (True, False):
        try:
            found.append(validate_table(read_text(Source(path), typed=typed), ReadingOptions(**options), path.stem))
        except DataError as error:
            found.append(str(error))
    return found


def is_short(path, **options):
    columns = read_text(Source(path), typed=True, **options).columns
    return all(column.dtype == np.float64 for column in list(columns.values())[-4:])


@pytest.mark.parametrize("name", USUAL)
def test_usual_files_take_the_short_way_and_come_out_the_same(name, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(USUAL[name])
    assert is_short(path)
    same(*both(path))


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_come_out_the_same(name, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(UNUSUAL[name])
    same(*both(path))
    same(load_bars(path), validate_table(read_text(Source(path)), ReadingOptions(), "x"))


def test_a_ticker_may_be_called_na(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(USUAL["symbols one after the other"])
    assert load_bars(path).symbols == ("A", "NA")
    path.write_text("symbol," + HEAD + "NA,2024-01-03,1.5,2,1,1.7,n/a\nnull,2024-01-03,1.5,2,1,1.8,11\n")
    assert load_bars(path).symbols == ("NA", "null")
    path.write_text("symbol," + HEAD + "NA,2024-01-03,1.5,2,1,1.7,1\n,2024-01-03,1.5,2,1,1.8,11\n")
    with pytest.raises(DataError, match="no symbol in 'symbol' in 1 row"):
        load_bars(path)


def test_dates_with_a_zero_in_front_are_left_to_their_format(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(HEAD + "11022024,1.5,2,1,1.7,10\n01032024,1.5,2,1,1.8,11\n")
    assert [str(day.date()) for day in load_bars(path, date_format="%d%m%Y")["x"].timestamps] == [
        "2024-02-11", "2024-03-01"]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "2024-01-05,1.5,2,1,n.a.,10",
            "text in 'close' in 1 row, first at 2024-01-05 00:00:00 (row 3, line 4): 'n.a.'",
        ),
        ("2024-01-05,1.5,2,1,,10", "missing value in 'close' in 1 row"),
        ("2024-01-05,1.5,2,1,inf,10", "infinite value in 'close' in 1 row"),
        (
            "2024-13-05,1.5,2,1,1.7,10",
            "unreadable timestamp in 'timestamp' in 1 row, first (row 3, line 4): '2024-13-05'",
        ),
        ("2024-01-05,1.5,2,1,1.7", "1 line(s) with another number of fields than the header"),
    ],
)
def test_messages_are_those_of_the_long_way(row, message, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(HEAD + "2024-01-03,1.5,2,1,1.7,10\n2024-01-04,1.5,2,1,1.8,11\n" + row + "\n")
    with pytest.raises(DataError) as found:
        load_bars(path)
    assert message in str(found.value)
    assert str(found.value) == both(path)[1]


CELLS = st.sampled_from(
    ["1.5", "2", "", " 3 ", "0", "-1", "1,5", '"4"', "nan", "NA", "1e3", "inf", "true", "x", "2024-01-01"]
)
TIMES = st.sampled_from([
    "2024-01-03", "2024-01-04 10:00", "2024-01-05T10:00:01", "2024-01-05 10:00:00Z", "1704274200", "1704274200000",
    "20240106", "202401070930", "01/13/2024", "", "NA", "1704274200.5", "0", "x",
])  # fmt: skip


@given(
    rows=st.lists(
        st.tuples(TIMES, st.sampled_from(["A", "B", "", "NA", " A"]), CELLS, CELLS, CELLS, CELLS, CELLS), max_size=6
    ),
    missing=st.sampled_from(["error", "drop", "split"]),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_short_way_reads_the_long_way_reads_too(rows, missing, tmp_path: Path):
    path = tmp_path / "x.csv"
    text = "\n".join(",".join(row) for row in rows)
    path.write_text("timestamp,symbol,open,high,low,close,volume\n" + text + "\n")
    short, long = both(path, missing=missing)
    if isinstance(short, list):
        same(short, long)
    elif isinstance(long, list):
        same(load_bars(path, missing=missing), long)


def test_a_cell_of_another_kind_ends_the_short_way(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("2024-01-03,1.5\nfrom here on text,1.6\n")
    layout = Layout(
        Source(path), Encoded("utf-8"), ["t", "p"], ["t", "p"], {"timestamp": "t", "close": "p"}, ["t"], 0, ","
    )
    assert parse_typed(layout, {"t": "2024-01-03"}, threads=False) is None


def test_large_files_are_read_by_threads_in_their_order(tmp_path):
    times = pd.date_range("2024-01-01", periods=26_000, freq="min").strftime("%Y-%m-%d %H:%M:%S")
    for number in range(3):
        close = 100 + np.arange(26_000) / 100 + number
        pd.DataFrame({"time": times, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}
                     ).to_csv(tmp_path / f"S{number}.csv", index=False)  # fmt: skip
    sources = [Source(path) for path in sorted(tmp_path.iterdir())]
    assert by_threads(sources)
    assert not by_threads([*sources, Source(tmp_path / "x.json")])
    assert worker_count(sources[:1]) == 1
    store = load_bars(tmp_path)
    assert store.symbols == ("S0", "S1", "S2")
    same(store, [read_file(source, ReadingOptions())[0] for source in sources])
    (tmp_path / "S1.csv").write_text(HEAD + "yesterday,1,1,1,1,1\n" + " " * 1_500_000)
    with pytest.raises(DataError, match=r"^1 of 3 files cannot be used:\n- .*S1.csv"):
        load_bars(tmp_path)
    prepared = prepare(tmp_path, tmp_path / "store", workers=2, skip_bad=True)
    assert prepared.symbols == ("S0", "S2")
    assert np.array_equal(prepared.values, load_bars(tmp_path, skip_bad=True).values)


def test_threads_keep_the_order_and_hand_on_what_is_raised():
    assert list(map_threads(lambda number: number**2, range(50), 4)) == [number**2 for number in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(map_threads(lambda number: 1 // number, [1, 0, 1], 2))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("2024-01-03,1.5,2,1,1.7,abc\n", "'abc'"),  # the engine makes no number of it
        ("2024-01-03,1.5,2,1,-1.7,10\n", "-1.7"),  # a number, but no price
    ],
)
def test_a_bad_file_is_read_once_by_either_way(tmp_path, monkeypatch, rows, message):
    path = tmp_path / "x.csv"
    path.write_text(HEAD + rows + "2024-01-04,1.5,2,1,1.8,11\n")
    parse, kinds = Layout.parse, []

    def counted(self, columns, types, *rest, **options):
        kinds.append("short" if pa.float64() in types.values() else "long")
        return parse(self, columns, types, *rest, **options)

    monkeypatch.setattr(Layout, "parse", counted)
    with pytest.raises(DataError, match=message):
        load_bars(path)
    assert kinds == ["short", "long"]


def test_a_fault_of_the_short_way_is_not_hidden_by_the_long_one(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text(HEAD + "2024-01-03,1.5,2,1,1.7,10\n2024-01-04,1.5,2,1,1.8,11\n")
    monkeypatch.setattr("chandler.data.reading.csv.parse_typed", lambda *_: 1 // 0)
    with pytest.raises(DataError, match=r"x\.csv: cannot be understood: ZeroDivisionError"):
        load_bars(path)
    monkeypatch.setattr("chandler.data.reading.csv.parse_typed", lambda *_: bytearray(1 << 62))
    with pytest.raises(DataError, match=r"x\.csv: too big for the memory there is\. Split the file\.$"):
        load_bars(path)
