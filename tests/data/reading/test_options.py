"""The options of reading are one value: checked once, before anything is read, and shown by `help`."""

import inspect
import pickle
from dataclasses import fields
from datetime import date

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, SourceSettings, load_bars, load_source, prepare, write_qlib
from chandler.data.reading import ReadingKeywords, ReadingOptions
from chandler.errors import DataError

ROWS = pd.DataFrame({"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}, index=pd.date_range("2024-01-03", periods=3))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"adjust": "split"}, "adjust='split' is not known: say 'auto' or 'none'."),
        ({"decimal": ";"}, "decimal=';' is not known: say 'auto', '.' or ','."),
        ({"missing": "fill"}, "missing='fill' is not known: say 'error', 'drop' or 'split'."),
        ({"symbols": [1, 600519]}, "symbols=[1, 600519]: symbols are text, but 1 is none. Quote it: '000001', not 1."),
        ({"unsorted": True}, "unsorted=True is not known: say 'error' or 'sort'."),
        ({"start": "soon"}, "start and end must be dates such as '2024-06-30'"),
        ({"end": "2024-13-01"}, "start and end must be dates such as '2024-06-30'"),
        (
            {"start": "05/07/2023"},
            "but '05/07/2023' is not written so: year first, as in '2024-06-30 09:30', '2024-06' or '2024'.",
        ),
        ({"end": "2023Q2"}, "'2023Q2' is not written so"),
        ({"end": "Jun 2023"}, "'Jun 2023' is not written so"),
        ({"start": "12:00"}, "'12:00' is not written so"),
        ({"start": "202306"}, "'202306' is not written so"),
        ({"end": "2023-6"}, "'2023-6' is not written so"),
        ({"start": 20240103}, "start and end must be dates such as '2024-06-30', but 20240103 is a number."),
        ({"end": float("nan")}, "start and end must be dates such as '2024-06-30', but nan is a number."),
        ({"end": np.int64(2024)}, "start and end must be dates such as '2024-06-30', but 2024 is a number."),
        ({"start": ""}, "start and end must be dates such as '2024-06-30', but '' is none."),
        ({"end": pd.NaT}, "start and end must be dates such as '2024-06-30', but NaT is none."),
    ],
)
def test_a_value_that_no_option_has_is_refused_before_anything_is_read(tmp_path, option, message):
    with pytest.raises(DataError) as refused:
        load_bars(tmp_path / "absent.csv", **option)
    assert message in str(refused.value)
    with pytest.raises(DataError) as refused:
        prepare(tmp_path / "absent.csv", tmp_path / "store", **option)
    assert message in str(refused.value)
    assert not (tmp_path / "store").exists()
    if not option.keys() & {"start", "end", "symbols"}:
        with pytest.raises(DataError) as refused:
            Bars.from_frame(ROWS, **option)
        assert message in str(refused.value)


def test_every_face_of_the_options_has_the_same_ones():
    names = [field.name for field in fields(ReadingOptions)]
    assert set(ReadingKeywords.__annotations__) == set(names)
    assert set(names) - {"skip_bad"} <= set(SourceSettings.model_fields)
    for function, own in ((load_bars, ["source"]), (prepare, ["source", "folder", "workers", "report"])):
        shown = inspect.signature(function).parameters
        assert list(shown) == own + names
        assert shown["missing"].default == "error"


def test_an_option_that_there_is_not_is_no_option():
    with pytest.raises(TypeError, match="colums"):
        load_bars(ROWS, colums={"close": "close"})
    with pytest.raises(TypeError, match="unexpected keyword argument 'start'"):
        Bars.from_frame(ROWS, start="2024-01-04")  # of many symbols' bars, not of a frame


TABLES = {"columns": {"close": "c"}, "where": {"symbol": "A"}, "timezone": "UTC", "date_format": "%Y", "decimal": ",",
          "price_scale": 10.0}  # fmt: skip


def test_bars_that_were_read_before_refuse_what_says_how_a_table_is_read(tmp_path):
    store = load_bars(ROWS)
    folder = str(store.save(tmp_path / "bars.store"))
    given = {**TABLES, "adjust": "none"}
    for source in (folder, [folder], store, [store], store["series"], {"A": store["series"]}):
        with pytest.raises(DataError) as refused:
            load_bars(source, **given)
        assert all(f"{name}=" in str(refused.value) for name in given)
        for name, value in given.items():
            with pytest.raises(DataError, match=f"nothing comes of {name}=. Leave that out"):
                load_bars(source, **{name: value})
        with pytest.raises(DataError, match="market and freq are of Qlib folders"):
            load_bars(source, market="csi300")
        # These are taken: what they ask for is there, or is true of these bars.
        bars = load_bars(source, start="2024-01-04", end="2024-01-04", join=True, skip_bad=True, missing="split",
                         unsorted="sort", columns={}, where=None)  # fmt: skip
        assert bars.rows == 1
    with pytest.raises(DataError, match=r"bars\.store: a store has bars that are no table"):
        load_source(SourceSettings(path=folder, where={"symbol": "A"}))


def test_qlib_folders_refuse_what_says_how_a_table_is_read(tmp_path):
    write_qlib(load_bars(ROWS), tmp_path / "q")
    source = f"qlib:{tmp_path / 'q'}"
    for name, value in TABLES.items():
        with pytest.raises(
            DataError, match=f"a Qlib folder has bars that are no table to be read: nothing comes of {name}="
        ):
            load_bars(source, **{name: value})
        with pytest.raises(DataError, match=f"nothing comes of {name}="):
            prepare(source, tmp_path / "store", **{name: value})
    assert not (tmp_path / "store").exists()
    assert load_bars(source, adjust="none", market="all", missing="split", start="2024-01-04").rows == 2
    write_qlib(load_bars(ROWS), tmp_path / "mine", market="mine")
    assert len(load_bars([f"qlib:{tmp_path / 'mine'}", load_bars({"C": ROWS})], market="mine")) == 2


def test_symbols_and_dates_select_what_has_rows():
    bars = [Bars.from_frame(ROWS, symbol=symbol) for symbol in "ABC"]
    days = ReadingOptions(symbols=["C", "A", "C"], start="2024-01-04", end="2024-01-04").select(bars)
    assert [(one.symbol, str(one.timestamps[0].date()), len(one)) for one in days] == [
        ("A", "2024-01-04", 1),
        ("C", "2024-01-04", 1),
    ]
    assert ReadingOptions(start="2024-02-01").select(bars) == []
    assert ReadingOptions(symbols="B").symbols == ("B",)


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("late", ["9999-12-31", "2262-04-11", "2300-01-01 10:00", "9999-12-31T00:00Z", date.max])
@pytest.mark.parametrize("early", ["0001-01-01", "1677-09-21", "1600-01-01 10:00", "0001-01-02T00:00Z", date.min])
def test_dates_beyond_nanoseconds_are_before_or_behind_all_bars(late, early, zone):
    rows = ROWS.tz_localize(zone)
    assert load_bars(rows, start=early, end=late).rows == 3
    for none in ({"start": late}, {"end": early}):
        with pytest.raises(DataError, match="no rows between"):
            load_bars(rows, **none)


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2023", "2023-12-31 18:00"), ("2024-02", "2024-02-29 18:00"), ("2024/02", "2024-02-29 18:00"),
        ("2024-02-03", "2024-02-03 18:00"), ("20240203", "2024-02-03 18:00"), ("2024-2-3", "2024-02-03 18:00"),
        ("2024-02-03 12:00", "2024-02-03 12:00"), ("2024-02-03T12:00:00.5Z", "2024-02-03 12:00"),
        ("2024-02-03 13:00+02:00", "2024-02-03 06:00"), ("9999", "2024-12-30 18:00"), ("9999-12", "2024-12-30 18:00"),
        (date(2024, 2, 3), "2024-02-03 18:00"),
    ],
)  # fmt: skip
def test_a_year_or_month_as_end_is_all_of_it(end, last):
    hours = pd.date_range("2023-01-01", "2024-12-30 18:00", freq="6h", tz="UTC")
    frame = pd.DataFrame({"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}, index=hours)
    assert load_bars(frame, start="2023", end=end)["series"].timestamps[-1] == pd.Timestamp(last, tz="UTC")


def test_other_processes_can_be_told():
    options = ReadingOptions(columns={"close": "c"}, symbols=("A",), start="2024-01-04", missing="drop")
    assert pickle.loads(pickle.dumps(options)) == options
