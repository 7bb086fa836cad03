"""Whatever bytes, cells or frames come in: bars that hold their facts, or one DataError that was meant."""

import gzip
import os
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chandler.data import load_bars
from chandler.errors import DataError

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")  # set it to hunt: many examples, new ones each time
FUZZ = settings(
    max_examples=int(EXAMPLES or 40), deadline=None, derandomize=EXAMPLES is None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
SEEDS = [
    b"date,open,high,low,close,volume\n2024-01-15,10,12,9,11,100\n2024-01-16,11,13,10,12,200\n",
    b"Date;Time;Open;High;Low;Close\n13.01.2024;09:30;1,5;2,0;1,0;1,75\n13.01.2024;09:31;1,5;2,0;1,0;1,75\n",
    b"1704067200000,10,12,9,11,5,1704067259999,55,3,1,2,0\n1704067260000,10,12,9,11,5,1704067319999,55,3,1,2,0\n",
    b"Price,Close,High\nTicker,A,B\nDate,,\n2024-01-02,1,2\n",
    "代码,日期,开盘,最高,最低,收盘\n000001,20240115,1,2,1,1\n000001,20240116,1,2,1,1\n".encode("gbk"),
    b'{"t":1704067200000,"o":1,"h":2,"l":1,"c":1}\n{"t":1704067260000,"o":1,"h":2,"l":1,"c":1}\n',
    b"[[1704067200000,1,2,1,1,5],[1704067260000,1,2,1,1,5]]",
    b"banner\n<TICKER>\t<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\nX\t20240103\t095900\t1\t2\t1\t1\n",
    b'date,open,high,low,close,volume\n"Jan 5, 2024","1,234.5","1,235.0","1,230.0","1,231.0",1.5M\n',
]


def holds_or_refuses(source, **options):
    try:
        store = load_bars(source, **options)
    except DataError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "cannot be understood" not in refusal  # that is the net under the readers, not a message
    if refusal:
        assert len(refusal) < 5000
        return
    assert np.isfinite(store.values).all()
    assert (store.values[:, :4] > 0).all()
    assert (store.values[:, 4:] >= 0).all()
    for bars in store:
        assert bars.timestamps.is_monotonic_increasing
        assert bars.timestamps.is_unique


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".csv.gz", ".parquet", ".zip"])
@given(data=st.binary(max_size=400))
@FUZZ
def test_any_bytes(tmp_path, suffix, data):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") and data[:1] > b"\x80" else data)
    holds_or_refuses(path)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
@given(data=st.data())
@FUZZ
def test_files_with_a_few_bytes_changed(tmp_path, seed, data):
    content = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from(
            [b",", b"\n", b"\r\n", b'"', b";", b"-", b"+00:00", b"nan", b"inf", b"1e309", b"\xff\xfe", b" ", b"0", b"",
             b"9" * 30, b"2024-02-30", b"PM", b"Z", b"\t", b"{", b"[", b"null", b"true", b"1.2.3", b"1,2,3", b"12:61"]
        )))  # fmt: skip
        content[at : at + data.draw(st.integers(0, 8))] = piece
    suffix = ".jsonl" if seed == 5 else ".json" if seed == 6 else ".csv"
    path = tmp_path / f"x{suffix}"
    path.write_bytes(bytes(content))
    holds_or_refuses(path)


CELL = st.one_of(
    st.floats(), st.integers(-(10**20), 10**20), st.text(string.printable, max_size=12), st.none(), st.booleans(),
    st.sampled_from(["2024-01-15", "15/01/2024", "1,5", "1.234,5", "1,234.5", "1 234", "$5", "5M", "12:30", "٣", "½"]),
)  # fmt: skip
NAMES = ["date", "time", "symbol", "open", "high", "low", "close", "volume", "amount", "adj close", "Volume BTC", ""]


@given(rows=st.lists(st.lists(CELL, min_size=12, max_size=12), min_size=1, max_size=4), options=st.fixed_dictionaries(
    {"missing": st.sampled_from(["error", "drop", "split"]), "decimal": st.sampled_from(["auto", ".", ","]),
     "unsorted": st.sampled_from(["error", "sort"]), "adjust": st.sampled_from(["auto", "none"])}))  # fmt: skip
@FUZZ
def test_any_cells(tmp_path, rows, options):
    frame = pd.DataFrame(rows, columns=NAMES, dtype=object)
    holds_or_refuses(frame, **options)
    holds_or_refuses(frame.assign(**dict.fromkeys(("open", "high", "low", "close"), 1.5)), **options)
    text = "\n".join(",".join(str(cell).replace("\n", " ") for cell in row) for row in [NAMES, *rows])
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    holds_or_refuses(tmp_path / "x.csv", **options)


TIME = st.one_of(
    st.datetimes().map(str), st.integers(0, 2 * 10**18), st.floats(0, 2e18),
    st.dates().map(lambda day: day.strftime("%d.%m.%Y")),
    st.from_regex(r"\A[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}( [0-9]{1,2}:[0-9]{2}(Z|[+-][0-9]{2}:?[0-9]{2})?)?\Z"),
    st.from_regex(r"\A[0-9]{8}[T ]?[0-9]{0,6}\Z"), st.timedeltas(), st.text(max_size=6),
)  # fmt: skip


@given(times=st.lists(TIME, min_size=1, max_size=5), zone=st.sampled_from([None, "UTC", "America/New_York"]))
@FUZZ
def test_any_times(times, zone):
    prices = {name: np.linspace(1, 2, len(times)) for name in ("open", "high", "low", "close")}
    holds_or_refuses(pd.DataFrame({"date": pd.Series(times, dtype=object), **prices}), timezone=zone, unsorted="sort")
