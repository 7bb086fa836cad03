"""Sources that users have, and the message for each way to be broken; see test_bad_input for more of these."""

import gzip
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, BarStore, load_bars, prepare
from chandler.errors import DataError

HEADER = "date,open,high,low,close,volume\n"
GOOD = HEADER + "2024-01-15,10,12,9,11,100\n2024-01-16,11,13,10,12,200\n"


def write(folder: Path, text: str, name: str = "bars.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bars\.csv: the file is empty\. Give a header line"),
        (HEADER, r"bars\.csv: there are column names but no rows\. Give"),
        ("date,open,high\n2024-01-15,1,2\n",
         r"bars\.csv: missing columns low, close; the columns are 'date', .*Rename"),
        ("2024-01-15,1,1,1,1\n2024-01-16,1,1,1,1\n", r"first line looks like data: put a line of column names"),
        (GOOD + "\n2024-01-17,12,abc,10,12,200\n",
         r"bars\.csv: bars: text in 'high' in 1 row, first at 2024-01-17 00:00:00 \(row 3, line 5\): 'abc'\. Correct"),
        ("date,open,Open,high,low,close\n2024-01-15,1,2,2,1,1\n", r"'open' and 'Open' could both be 'open'"),
    ],
)  # fmt: skip
def test_a_broken_file_ends_in_file_row_and_remedy(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_bars(write(tmp_path, text))


def test_unreadable_bytes_and_paths_say_what_to_do(tmp_path):
    (tmp_path / "latin.csv").write_bytes("date,open,prix élevé\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: missing columns high, low, close; .*'prix élevé'"):
        load_bars(tmp_path / "latin.csv")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-9])
    with pytest.raises(DataError, match=r"torn\.csv\.gz: cannot be read"):
        load_bars(tmp_path / "torn.csv.gz")
    (tmp_path / "no.parquet").write_text("text")
    with pytest.raises(DataError, match=r"no\.parquet: unreadable as parquet"):
        load_bars(tmp_path / "no.parquet")
    with pytest.raises(DataError, match=r"typo\.csv: no such file or folder\. In .* there are 'latin\.csv'"):
        load_bars(tmp_path / "typo.csv")


def test_symbols_keep_their_zeros_and_rows_may_be_interleaved(tmp_path):
    rows = ["2024-01-15,000001,1,1,1,1", "2024-01-15,ABC,5,5,5,5", "2024-01-16,000001,2,2,2,2"]
    text = "\n".join(["date,symbol,open,high,low,close", *rows])
    store = load_bars(write(tmp_path, text))
    assert store.symbols == ("000001", "ABC")
    assert store["000001"].values[:, 3].tolist() == [1, 2]
    assert store["ABC"].values[:, 3].tolist() == [5]


def test_errors_in_a_panel_name_the_symbol(tmp_path):
    text = "date,symbol,open,high,low,close\n2024-01-15,A,1,1,1,1\n2024-01-15,B,1,1,1,-1\n"
    with pytest.raises(DataError, match=r"bars\.csv: B: 'close' is not positive.*\(row 2, line 3\)"):
        load_bars(write(tmp_path, text))
    with pytest.raises(DataError, match=r"no symbol in 'symbol' in 1 row, first \(row 2, line 3\)"):
        load_bars(write(tmp_path, text.replace("B,", ",").replace("-1", "1")))


def test_all_kinds_of_files_hold_the_same_bars(tmp_path):
    write(tmp_path, GOOD, "csv/X.csv")
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz" / "X.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    write(tmp_path, GOOD.replace(",", "\t"), "tsv/X.tsv")
    frame = load_bars(tmp_path / "csv" / "X.csv")["X"].to_frame()
    for kind in ("parquet", "feather"):
        (tmp_path / kind).mkdir()
        getattr(frame.reset_index(), f"to_{kind}")(tmp_path / kind / f"X.{kind}")
    for source in ("csv", "gz", "tsv", "parquet", "feather"):
        store = load_bars(tmp_path / source)
        assert store.symbols == ("X",)
        pd.testing.assert_frame_equal(store["X"].to_frame(), frame)


def test_folders_globs_lists_and_frames(tmp_path):
    write(tmp_path, GOOD, "a/A.csv")
    write(tmp_path, GOOD, "a/deep/B.csv")
    write(tmp_path, "not data", "a/readme.md")
    assert load_bars(tmp_path / "a").symbols == ("A", "B")
    assert load_bars(str(tmp_path / "a" / "**" / "*.csv")).symbols == ("A", "B")
    assert load_bars([tmp_path / "a" / "A.csv", str(tmp_path / "a" / "deep")]).symbols == ("A", "B")
    bars = load_bars(tmp_path / "a" / "A.csv")["A"]
    assert load_bars(bars).symbols == ("A",)
    assert load_bars({"P": bars.to_frame(), "Q": bars.to_frame()}).symbols == ("P", "Q")
    assert load_bars(bars.to_frame()).symbols == ("series",)
    panel = pd.concat({"P": bars.to_frame(), "Q": bars.to_frame()}, names=["symbol", "timestamp"])
    assert load_bars(panel).symbols == ("P", "Q")
    store = load_bars(panel)
    assert load_bars(store) is store


def test_files_that_could_be_bars_and_are_not_read_are_told_of(tmp_path):
    write(tmp_path, GOOD, "a/A.csv")
    for name in ("B.csv.bz2", "C.XLSX", "readme.md", "~$C.xlsx", ".hidden.xlsx", "deep/D.h5"):
        write(tmp_path, "?", f"a/{name}")
    with zipfile.ZipFile(tmp_path / "a" / "E.zip", "w") as archive:
        archive.writestr("E.csv", GOOD)
        archive.writestr("F.csv.zst", "?")
    for store in (load_bars(tmp_path / "a"), prepare(tmp_path / "a", tmp_path / "store", workers=1)):
        assert store.symbols == ("A", "E")
        top, deep, inside = store.skipped
        assert top == f"{tmp_path / 'a'}: passed over, for nothing here reads such files: 'B.csv.bz2', 'C.XLSX'"
        assert deep.startswith(f"{tmp_path / 'a' / 'deep'}: passed over")
        assert inside.startswith(f"{tmp_path / 'a' / 'E.zip'}: passed over")
        assert "'F.csv.zst'" in inside
    with pytest.raises(DataError, match=r"no data files in this folder \(passed over, .*'D\.h5'\)\. Supported are"):
        load_bars(tmp_path / "a" / "deep")


def test_start_end_and_symbols_select(tmp_path):
    text = HEADER + "".join(f"2024-01-{day:02d} 15:00,1,1,1,{day},1\n" for day in range(10, 20))
    path = write(tmp_path, text, "A.csv")
    assert load_bars(path, start="2024-01-12", end="2024-01-14")["A"].values[:, 3].tolist() == [12, 13, 14]
    with pytest.raises(DataError, match="no rows between start=2025-01-01 and end=None; the data goes from 2024-01-10"):
        load_bars(path, start="2025-01-01")
    with pytest.raises(DataError, match="AA: no such symbol among 1; there are, for example, A"):
        load_bars(path, symbols=["AA"])


def test_columns_timezone_and_format_are_passed_on(tmp_path):
    path = write(tmp_path, "when,o,h,l,settle\n01.02.2024 10:00,1,2,1,1.5\n")
    store = load_bars(
        path, columns={"timestamp": "when", "close": "settle"}, date_format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"
    )
    assert str(store["bars"].timestamps[0]) == "2024-02-01 10:00:00+01:00"
    assert store["bars"].values[0, 3] == 1.5


def test_the_bundled_panel(tmp_path, monkeypatch):
    store = load_bars("chandler-stocks")
    assert store.symbols == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    assert store.rows == 12154
    assert isinstance(store, BarStore)
    bars: Bars = store["AAPL"]
    assert bars.values[0, 3] == pytest.approx(4.186662803811)
    jumps = np.abs(bars.values[1:, 0] / bars.values[:-1, 3] - 1)
    assert jumps.max() < 0.5  # the 2:1 split of 2005 is adjusted away
    # A file of that name comes first.
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "date,open,high,low,close\n2024-01-02,1,2,1,1.5\n").rename("chandler-stocks")
    with pytest.raises(DataError, match="chandler-stocks"):
        load_bars("chandler-stocks")


def floats(rows=400, times=None):
    """A frame of floats throughout, as `Bars.to_frame` gives."""
    close = 100 + np.sin(np.arange(rows))
    times = pd.date_range("2024-01-02", periods=rows, freq="h") if times is None else times
    prices = {"open": close, "high": close + 2, "low": close - 2, "close": close, "volume": np.arange(rows) + 1.0}
    return pd.DataFrame(prices, index=pd.DatetimeIndex(times, name="timestamp"))


def told(frame):
    try:
        bars = Bars.from_frame(frame, symbol="X")
    except DataError as error:
        return str(error)
    return (
        bars.timestamps.asi8.tolist(),
        str(bars.timestamps.tz),
        bars.timestamps.freq,
        bars.values.tobytes(),
        bars.notes,
    )


@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize(
    "change",
    [
        lambda frame: None,
        lambda frame: frame.__setitem__("volume", -frame["volume"]),
        lambda frame: frame.iloc.__setitem__((5, 3), np.nan),
        lambda frame: frame.iloc.__setitem__((5, 0), np.inf),
        lambda frame: frame.iloc.__setitem__((7, 2), 0.0),
        lambda frame: frame.iloc.__setitem__((slice(None), 1), 1.0),
        lambda frame: frame.iloc.__setitem__((9, 4), 1e39),
        lambda frame: setattr(frame, "columns", ["open", "high", "high", "close", "volume"]),
    ],
)
def test_frames_of_floats_come_out_as_those_of_other_columns_do(change, zone):
    """The cells of the former are arrays and an index; a column of text makes them all Series."""
    frame = floats().tz_localize(zone)
    change(frame)
    text = frame.assign(other="words")
    plain, mixed = told(frame), told(text)
    if isinstance(plain, str):
        assert plain == mixed.replace(", other", "")
    else:
        assert plain[:4] == mixed[:4]
        assert [one for one in plain[4] if one.kind != "columns"] == [one for one in mixed[4] if one.kind != "columns"]
    frame = frame.iloc[[*range(50), 60, *range(50, 60), *range(61, 400)]]
    assert told(frame) == told(frame.reset_index())


def test_bars_of_a_frame_are_their_own():
    frame = floats(50)
    frame.index = pd.DatetimeIndex(frame.index.as_unit("ns"), freq=None)
    bars = Bars.from_frame(frame)
    assert not np.shares_memory(bars.values, frame.to_numpy())
    assert not np.shares_memory(bars.timestamps.asi8, frame.index.asi8)


def test_small_frames_are_cheap():
    """Of 0.6 ms for a frame nearly all is calls of pandas: hundreds of frames are read before a model has one."""
    frames, calls = [floats(), floats()], 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    Bars.from_frame(frames[0])
    former = sys.getprofile()
    sys.setprofile(count)
    try:
        Bars.from_frame(frames[1])
    finally:
        sys.setprofile(former)
    assert calls < 800  # 400, and 1,900 where the frame is handled as a whole


def test_a_frame_of_which_nothing_is_left_says_so() -> None:
    days = pd.date_range("2024-01-01", periods=3, name="timestamp")
    frame = pd.DataFrame({name: np.ones(3) for name in ("open", "high", "low", "close", "volume")}, index=days)
    with pytest.raises(DataError, match=r"no row has 'B' in column 'exchange', as where= asks: it has 'A' \(3 rows\)"):
        Bars.from_frame(frame.assign(exchange="A"), where={"exchange": "B"})
