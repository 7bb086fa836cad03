"""`chandler forecast --journal`, `chandler journal score` and `show`, with chandler-nano; and docs/journal.md as it stands."""

from __future__ import annotations

import re
import shlex
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from chandler import Journal
from tests.shell import chandler

DOC = (Path(__file__).parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")
SMALL = ("--horizon", "3", "--paths", "4", "--lookback", "20", "--device", "cpu", "--calendar", "XNYS")


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The last days of two stocks as a CSV in the working folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with resources.as_file(resources.files("chandler") / "assets" / "bokeh_stocks_1d.csv.gz") as path:
        frame = pd.read_csv(path).query("symbol in ('IBM', 'MSFT')").drop(columns="adj_close")
    frame = frame.groupby("symbol").tail(200)
    frame.to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bars.csv"


def test_from_forecast_to_record(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early = ("forecast", bars, "--end", "2013-02-20", *SMALL, "--journal", "kept")
    assert chandler(*early) == 0
    assert (
        "Journal: kept: 2 forecasts kept; 2 made after the fact: their first bars were over" in capsys.readouterr().out
    )
    assert chandler(*early) == 0
    assert "Journal: kept: 0 forecasts kept; 2 there already" in capsys.readouterr().out
    assert chandler("journal", "show", "kept") == 0
    out = capsys.readouterr().out
    assert "No forecast has been scored yet." in out
    assert "chandler journal score kept DATA" in out
    assert chandler("journal", "score", "kept", bars) == 0
    out = capsys.readouterr().out
    assert "Scored: 2 forecasts, 6 bars" in out
    assert "chandler-nano: 3 bars of 1d, weights" in out
    assert "Page: kept/journal.html" in out
    assert Journal("kept").scores()["id"].nunique() == 2
    assert chandler("journal", "score", "kept", bars, "--symbols", "IBM") == 0
    assert "Scored: 0 forecasts, 0 bars\n" in capsys.readouterr().out


def test_what_cannot_be_is_one_message(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, said in (
        (
            ("journal", "show", "kept"),
            "there is no journal. Keep a forecast first: chandler forecast DATA --journal kept",
        ),
        (("journal", "score", "kept", bars), "there is no journal"),
        (("forecast", bars, *SMALL, "--journal", "."), "no journal.json of chandler's"),
        (("forecast", bars, *SMALL, "--journal", bars), "this is a file"),
    ):
        assert chandler(*command) == 2
        assert said in capsys.readouterr().err
    assert chandler("forecast", bars, *SMALL, "--journal", "kept") == 0
    assert chandler("journal", "score", "kept", "kept/entries") == 2
    assert "could be lost" in capsys.readouterr().err


def test_a_remedy_is_said_as_the_command_takes_it(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chandler("forecast", bars, "--end", "2013-02-20", *SMALL, "--journal", "kept") == 0
    assert chandler("journal", "score", "kept", bars, "--timezone", "America/New_York") == 0
    out = capsys.readouterr().out
    assert "zones differ: the forecast has none, the data have America/New_York; --timezone names it" in out


def test_the_examples_of_the_docs_run(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^chandler .*", DOC, flags=re.M)
    assert len(commands) >= 3
    for command in commands:
        assert chandler(*shlex.split(command)[1:]) == 0, command
    blocks = re.findall(r"```python\n(.*?)```", DOC, flags=re.S)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert blocks
    assert "Page: kept/journal.html" in capsys.readouterr().out
