"""What must end in one message with file, place and remedy: never a traceback, never a silent repair."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chandler.data import load_bars
from chandler.errors import DataError

GOOD = "date,open,high,low,close,volume\n2024-01-15,10,12,9,11,100\n2024-01-16,11,13,10,12,200\n"


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as caught:
        load_bars(path, **options)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["noise.csv", "noise.txt", "noise.parquet", "noise.feather", "noise.json", "noise.zip",
                                  "noise.jsonl", "noise.csv.gz", "noise.arrow"])  # fmt: skip
def test_binary_noise(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(100_000))
    message = refused(tmp_path / name, name.replace(".", r"\."))
    assert message.count("\n") == 0
    assert len(message) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1" + b"\0" * 100, r"this is a Parquet file, not text"),
        (b"PK\x03\x04" + b"\0" * 100, r"a zip archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 100, r"this is an Excel file"),
        (b"\0" * 1000, r"binary data, not text"),
        (GOOD.encode() + b"2024-01-17,11,13,\0,12,200\n", r"binary data, not text"),
        (b"\xef\xbb\xbf", r"the file is empty"),
        (b"\xff\xfe", r"the file is empty"),
        (b"\n\n\n", r"the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", r"missing columns timestamp"),
        (b'{"error": "rate limit"}', r"missing columns timestamp"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    refused(tmp_path / "x.csv", message)


def test_a_file_cut_inside_a_character(tmp_path):
    """Found by fuzzing: the head of a file may end so, the file itself may not."""
    path = tmp_path / "x.csv"
    path.write_bytes(GOOD.encode() + b"2024-01-17,11,13,10,12,5\xc2")
    refused(path, r"text in 'volume' in 1 row.*\(row 3, line 4\): '5Â'")
    rows = "".join(f"{1704067200 + 60 * n},10,12,9,11,100\n" for n in range(60_000))
    path.write_bytes(b"date,open,high,low,close,volume\n" + rows.encode() + b"1804067200,11,13,10,12,\xc2\n")
    refused(path, r"x\.csv: not a readable table: Invalid UTF8")


def test_one_endless_line_is_refused_unread(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"1,2,3,4,5,6,7,8," * (1 << 16))
    script = (
        "import resource, sys; from chandler.data import load_bars\n"
        "try: load_bars(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    before = 3 << 30  # of address space: importing alone takes most of it
    script = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({before}, {before}))\n" + script
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=50, env=env
    )
    assert "DataError" in done.stdout, done.stdout + done.stderr
    assert "the first line is longer than 1 MiB" in done.stdout
    packed = tmp_path / "y.csv.gz"
    with path.open("rb") as raw, gzip.open(packed, "wb", compresslevel=1) as file:
        shutil.copyfileobj(raw, file)
    refused(packed, r"y\.csv\.gz: the first line is longer than 1 MiB")


def test_an_endless_line_further_down(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(GOOD + "2024-01-17,11,13,10,12," + "9" * 20_000_000 + "\n")
    refused(path, r"x\.csv: (a line is longer than 4 MiB|not a readable table|.*text in 'volume')")


def test_rows_of_different_lengths_name_the_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(GOOD + "2024-01-17,1,2\n2024-01-18,1,2,1,1,5,7,8\n")
    refused(path, r"2 line\(s\) with another number of fields.*which has 6; the first \(line 4\) has 3.*Correct")
    path.write_text(GOOD + "2024-01-17,'unclosed\"")
    refused(path, r"line\(s\) with another number of fields")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2024-01-17,abc,13,10,12,200", r"text in 'open' in 1 row.*\(row 3, line 4\): 'abc'"),
        ("2024-01-17,0,13,10,12,200", r"'open' is not positive in 1 row.*\(row 3, line 4\): 0\.?0?\. Prices must"),
        ("2024-01-17,-1,13,10,12,200", r"'open' is not positive in 1 row.*\(row 3, line 4\): -1"),
        ("2024-01-17,inf,13,10,12,200", r"x\.csv: .*infinite value in 'open'.*\(row 3, line 4\): inf\. Correct"),
        ("2024-01-17,1e400,13,10,12,200", r"infinite value in 'open'"),
        ("2024-01-17,1e13,13,10,12,200", r"'open' is above 1e\+12"),
        ("2024-01-17,1e-320,13,10,12,200", r"'open' is below 1e-30"),
        ("2024-01-17,11,13,10,12,many", r"text in 'volume' in 1 row.*\(row 3, line 4\): 'many'"),
        ("2024-01-17,11,13,10,12,True", r"text in 'volume'"),
        ("2024-01-17,11,13,10,12,inf", r"infinite value in 'volume'"),
        ("2024-01-17,11,13,10,12,1e39", r"'volume' is beyond what float32 holds"),
        ("2024-01-17,2024-01-01,13,10,12,1", r"text in 'open'"),
        (
            "2024-13-17,11,13,10,12,1",
            r"unreadable timestamp in 'date' in 1 row, first \(row 3, line 4\): '2024-13-17'\. Corr",
        ),
        ("2024-01-17 25:00,11,13,10,12,1", r"unreadable timestamp"),
        ("3024-01-17,11,13,10,12,1", r"unreadable timestamp"),
    ],
)
def test_bad_cells(tmp_path, row, message):
    path = tmp_path / "x.csv"
    path.write_text(GOOD + row + "\n")
    refused(path, message)


def test_mixed_series_and_unsorted_rows(tmp_path):
    rows = [f"2024-01-{day:02d},{p},{p + 1},{p},{p}" for day in range(10, 20) for p in (10, 20)]
    path = tmp_path / "x.csv"
    path.write_text("date,open,high,low,close\n" + "\n".join(rows))
    refused(path, r"the same time again with other prices in 10 rows.*\(row 2, line 3\).*columns=\{'symbol'")
    path.write_text("date,open,high,low,close\n" + "\n".join(rows[::2] + rows[1::2]))
    refused(path, r"time steps back in 1 place, after 2024-01-19 .* \(row 11, line 12\).*need a symbol column")


def test_three_bad_files_of_many_are_named_together_and_can_be_skipped(tmp_path):
    for number in range(300):
        (tmp_path / f"S{number:04d}.csv").write_text(GOOD)
    (tmp_path / "S0007.csv").write_text(GOOD.replace("12,9,11", "12,9,abc"))
    (tmp_path / "S0100.csv").write_bytes(b"\0\1\2" * 100)
    (tmp_path / "S0299.csv").write_text("")
    message = refused(
        tmp_path, r"^3 of 300 files cannot be used:\n- .*S0007\.csv: .*\n- .*S0100\.csv: .*\n- .*S0299\.csv"
    )
    assert message.endswith("leave them out with skip_bad=True.")
    store = load_bars(tmp_path, skip_bad=True)
    assert len(store) == 297
    assert [name in text for name, text in zip(("S0007", "S0100", "S0299"), store.skipped, strict=True)] == [True] * 3
    for path in tmp_path.iterdir():
        path.write_text("")
    message = refused(tmp_path, r"^300 of 300 files cannot be used", skip_bad=True)
    assert message.endswith("skip_bad=True.")
    assert "S0000.csv: " in message
    assert "(and 299 more like it)" in message


def test_symbols_that_come_twice_are_named_together(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("A", "B"):
            (tmp_path / folder / f"{name}.csv").write_text(GOOD)
    refused(tmp_path, r"2 symbols come twice:\n- A: .*one/A\.csv and from .*two/A\.csv\.\n- B: ")
    store = load_bars(tmp_path, skip_bad=True)
    assert store.symbols == ("A", "B")
    assert "A: the symbol comes twice" in store.skipped[0]


def test_an_empty_path_is_not_the_folder_one_stands_in():
    """What an unset variable of a shell makes of `chandler inspect "$DATA"`."""
    with pytest.raises(DataError, match="the path of the data is empty"):
        load_bars("")


def test_an_empty_frame_among_others_is_named():
    frame = pd.DataFrame({"date": ["2024-01-15"], "open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5})
    with pytest.raises(DataError, match=r"^B: there are column names but no rows"):
        load_bars({"A": frame, "B": frame[:0]})


def test_folders_and_archives_without_data(tmp_path):
    (tmp_path / "notes.md").write_text("hello")
    refused(tmp_path, r"no data files in this folder\. Supported are \.csv")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.md", "hello")
    refused(tmp_path / "x.zip", r"x\.zip: no data files in this archive")
    refused(tmp_path / "notes.md", r"notes\.md: not a kind of file that is supported")
    refused("no/such/path.csv", r"no such file or folder")
    refused("a\0b.csv", r"cannot be looked at|no such file")
    refused("x" * 5000, r"cannot be looked at|no such file")
    refused([], r"the list of sources is empty")
    refused("[", r"no such file or folder")


PERMISSIONS = """
import os, sys
from chandler.data import load_bars
from chandler.errors import DataError
load_bars(sys.argv[1])  # what is imported late is imported now: the other user may not reach the interpreter
os.setgid(65534); os.setuid(65534)
for path in sys.argv[2:]:
    try: print(load_bars(path).symbols)
    except DataError as error: print("REFUSED", error)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX")
def test_paths_without_permission(tmp_path):
    (tmp_path / "folder" / "closed").mkdir(parents=True)
    (tmp_path / "folder" / "A.csv").write_text(GOOD)
    (tmp_path / "folder" / "closed" / "B.csv").write_text(GOOD)
    (tmp_path / "open.csv").write_text(GOOD)
    (tmp_path / "C.csv").write_text(GOOD)
    (tmp_path / "D.parquet").write_text(GOOD)
    places = [tmp_path / "C.csv", tmp_path / "D.parquet", tmp_path / "folder", tmp_path / "folder" / "closed" / "B.csv"]
    script = PERMISSIONS
    if os.geteuid() == 0:  # root reads everything, so somebody else has to look
        for place in [tmp_path, *tmp_path.parents]:
            if str(place).startswith("/tmp/"):
                place.chmod(0o755)
    else:
        script = PERMISSIONS.replace("os.setgid(65534); os.setuid(65534)", "")
    for place in (tmp_path / "C.csv", tmp_path / "D.parquet", tmp_path / "folder" / "closed"):
        place.chmod(0)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    try:
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "open.csv"), *map(str, places)],
                              capture_output=True, text=True, env=env)  # fmt: skip
    finally:
        (tmp_path / "folder" / "closed").chmod(0o755)
    lines = done.stdout.splitlines()
    assert "C.csv: cannot be read: Permission denied. Check the file and its permissions." in lines[0]
    assert "D.parquet: cannot be read: Permission denied" in lines[1]
    assert "closed: cannot be listed: Permission denied" in done.stdout
    assert "B.csv: cannot be looked at: Permission denied" in done.stdout
    assert not done.stderr


def test_frames_that_are_none(tmp_path):
    refused(pd.DataFrame(), r"missing columns timestamp")
    refused(pd.DataFrame({"a": [1]}), r"missing columns timestamp.*columns are 'a'")
    refused({"A": 3}, r"A: expected a DataFrame, but got a int")
    refused([[1, 2], [3, 4]], r"row 1 has 2 values")
    refused(b"bytes", r"cannot load bars from a bytes")
    refused(object(), r"cannot load bars from a object")
    frame = pd.DataFrame({"date": ["2024-01-15"], "open": [[1]], "high": [2], "low": [1], "close": [1]})
    refused(frame, r"text in 'open'")


def test_inspection_files_of_deliberate_faults(tmp_path):
    """The kinds of faults that a public indicator library tests itself with, by its own rows."""
    flat = "".join(f"2017-03-{day:02d},225,225,225,225,100000000\n" for day in range(10, 20))
    path = tmp_path / "x.csv"
    path.write_text("date,open,high,low,close,volume\n" + flat + ",245.21,245.26,244.83,245.04,42670820\n")
    refused(path, r"unreadable timestamp in 'date' in 1 row, first \(row 11, line 12\): empty")
    path.write_text("date,open,high,low,close,volume\n" + flat + "2017-03-25,,,,,\n")
    refused(path, r"missing value in 'open' in 1 row.*\(row 11, line 12\): empty\. Drop or fill")
    assert len(load_bars(path, missing="drop")["x"]) == 10
