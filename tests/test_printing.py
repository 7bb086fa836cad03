"""Commands end well on streams that cannot encode what they say, and when nobody reads on."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler import load_bars
from chandler.printing import Patient, printable
from chandler.progress import Progress
from chandler.training.logging.console import RunProgress
from tests.shell import chandler

ASSET = Path(__file__).parents[1] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
NAME = "平安银行《000001》"
CODES = r"\u5e73\u5b89\u94f6\u884c"


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A file with a Chinese name in a folder with a Chinese name."""
    frame = pd.read_csv(ASSET).query("symbol == 'IBM'").drop(columns=["symbol", "adj_close"]).tail(300)
    (tmp_path / "行情 数据").mkdir()
    path = tmp_path / "行情 数据" / f"{NAME}日线.csv"
    frame.to_csv(path, index=False)
    return path


class Narrow:
    """Within the block, stdout and stderr raise on what their encoding lacks; then `said` is what was printed."""

    def __init__(self, encoding: str) -> None:
        self.raw = io.BytesIO()
        self.stream = io.TextIOWrapper(self.raw, encoding=encoding, errors="strict", write_through=True)

    def __enter__(self) -> None:
        self.before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = self.stream

    def __exit__(self, *error: object) -> None:
        sys.stdout, sys.stderr = self.before

    @property
    def said(self) -> str:
        return self.raw.getvalue().decode(self.stream.encoding)


@pytest.fixture(params=["cp1252", "latin-1", "cp437", "ascii"])
def narrow(request: pytest.FixtureRequest) -> Narrow:
    """The usual stdout of a redirect on Windows, and others like it."""
    return Narrow(request.param)


def run(encoding: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "chandler", *map(str, arguments)],
        capture_output=True, timeout=300, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip


def test_signs_become_ascii_and_letters_code_points() -> None:
    assert printable("\N{MINUS SIGN}3.2% · 平安 é → …", "ascii") == r"-3.2% . \u5e73\u5b89 \xe9 -> ..."
    assert printable("\N{MINUS SIGN}3.2% é", "cp1252") == "-3.2% é"
    assert printable("平安 \N{MINUS SIGN}3", "gbk") == "平安 -3"
    assert (
        printable("平安 \N{MINUS SIGN}3", "utf-8") == printable("平安 \N{MINUS SIGN}3", None) == "平安 \N{MINUS SIGN}3"
    )
    assert printable("x\udcff", "utf-8") == r"x\udcff"  # a file name that is no text
    assert printable("é", "no-such-encoding") == r"\xe9"


def test_commands_end_well_where_their_output_cannot_be_encoded(narrow: Narrow, bars: Path) -> None:
    out = bars.parent / "预测 结果.csv"
    asked = ["forecast", bars, "--horizon", "3", "--paths", "2", "--lookback", "32", "--device", "cpu", "--out", out]
    with narrow:
        assert chandler("inspect", bars, "--lookback", "20", "--horizon", "5") == 0
        assert chandler(*asked) == 0
        assert chandler("inspect", bars.parent / "无.csv") == 2
    assert len(pd.read_csv(out)) == 6
    for part in (CODES, "Paths: ", r"\u9884\u6d4b \u7ed3\u679c.csv", r"\u65e0.csv: no such file"):
        assert part in narrow.said


def test_json_stays_json(narrow: Narrow, bars: Path) -> None:
    with narrow:
        assert chandler("inspect", bars, "--lookback", "20", "--horizon", "5", "--json") == 0
    assert NAME in json.dumps(json.loads(narrow.said), ensure_ascii=False)


def test_the_minus_sign_of_a_backtest_is_no_error(narrow: Narrow, tmp_path: Path) -> None:
    store = load_bars(ASSET)
    rows = [(t, bars.symbol, v) for bars in store
            for t, v in zip(bars.timestamps[-30:], np.cos(np.arange(30) + len(bars)), strict=True)]  # fmt: skip
    pd.DataFrame(rows, columns=["date", "symbol", "score"]).to_parquet(tmp_path / "信号.parquet")
    asked = ["backtest", ASSET, "--signals", tmp_path / "信号.parquet", "--out", tmp_path / "o", "--set", "random=0"]
    with narrow:
        assert chandler(*asked, "--set", "portfolio.costs.buy=900") == 0  # a loss for sure
    assert re.search(r"[ (]-\d+\.\d%", narrow.said)


@pytest.mark.slow
def test_a_process_with_a_narrow_stdout(bars: Path) -> None:
    """As the shell starts it: the streams of the interpreter itself."""
    done = run("cp1252", "inspect", bars, "--lookback", "20", "--horizon", "5")
    assert (done.returncode, done.stderr) == (0, b"")
    assert CODES in done.stdout.decode("cp1252")
    done = run("ascii", "inspect", bars.parent / "无.csv")
    assert done.returncode == 2
    assert CODES in done.stderr.decode("ascii")


def test_progress_of_a_library_call_is_printed_as_the_stream_can(narrow: Narrow) -> None:
    with narrow:
        for shown in (RunProgress(), Progress()):
            shown.note("data[微调] \N{MINUS SIGN}1")
    assert narrow.said.count(r"data[\u5fae\u8c03] -1") == 2


@pytest.mark.parametrize("name", ["model [/1]", "a[bold]b", "X:100:Y"])
def test_a_name_is_no_markup_and_no_emoji(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    text = io.StringIO()
    with Progress(Console(file=text, force_terminal=True, width=80)).track(name, 2, 0) as report:
        report(1)
    assert name in text.getvalue()
    for shown in (RunProgress(), Progress(), Progress(Console())):
        shown.note(f"{name}: read")
    assert "".join(capsys.readouterr()).count(f"{name}: read") == 3


def test_a_reader_who_has_gone_does_not_end_the_work(bars: Path) -> None:
    """`chandler forecast ... | head -1`: the table is written all the same."""
    out = bars.parent / "f.csv"
    arguments = [
        "forecast",
        bars,
        "--horizon",
        "3",
        "--paths",
        "2",
        "--lookback",
        "32",
        "--device",
        "cpu",
        "--out",
        out,
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "chandler", *map(str, arguments)], stdout=writing,
                          stderr=subprocess.PIPE, timeout=300)  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(pd.read_csv(out)) == 6


def test_output_that_is_lost_is_told() -> None:
    """A full disk is no reader who has gone: the exit code and stderr say so."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as stream:
        done = subprocess.run([sys.executable, "-m", "chandler", "--version"], stdout=stream,
                              stderr=subprocess.PIPE, timeout=300)  # fmt: skip
    assert done.returncode == 1
    assert b"chandler: the output could not be written (No space left on device)." in done.stderr


def test_a_patient_stream_is_text_and_goes_by_its_own_encoding(narrow: Narrow) -> None:
    stream: Any = Patient(narrow.stream)
    assert stream.write("平\n") == 2
    with pytest.raises(TypeError):
        stream.write(b"bytes")
    assert not stream.isatty()
    assert narrow.said == r"\u5e73" + "\n"
