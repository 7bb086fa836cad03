"""The options of reading are one value: checked once, before anything is read, and shown by `help`."""

import inspect
import pickle
from dataclasses import fields

import pandas as pd
import pytest

from chandler.data import Bars, SourceSettings, load_bars, prepare
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


def test_symbols_and_dates_select_what_has_rows():
    bars = [Bars.from_frame(ROWS, symbol=symbol) for symbol in "ABC"]
    days = ReadingOptions(symbols=["C", "A", "C"], start="2024-01-04", end="2024-01-04").select(bars)
    assert [(one.symbol, str(one.timestamps[0].date()), len(one)) for one in days] == [
        ("A", "2024-01-04", 1),
        ("C", "2024-01-04", 1),
    ]
    assert ReadingOptions(start="2024-02-01").select(bars) == []
    assert ReadingOptions(symbols="B").symbols == ("B",)


def test_other_processes_can_be_told():
    options = ReadingOptions(columns={"close": "c"}, symbols=("A",), start="2024-01-04", missing="drop")
    assert pickle.loads(pickle.dumps(options)) == options
