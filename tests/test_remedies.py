"""A remedy that a message offers has been tried: what the command says is typed after it, and the command works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from chandler.cli.remedies import as_typed
from chandler.data import PRICES
from tests.data.reading.test_wrong_data import doubled, rows
from tests.shell import chandler

WINDOWS = ("--lookback", "20", "--horizon", "4")


def wrong_order() -> pd.DataFrame:
    return rows(count=200)[["time", "open", "close", "high", "low", "volume"]].set_axis(
        ["time", "open", "high", "low", "close", "volume"], axis=1
    )


def block_deals() -> pd.DataFrame:
    frame = rows(freq="D", count=200).assign(SctySrs="EQ")
    return doubled(frame, range(0, 200, 9), close=1.01, low=1.0, SctySrs="BL")


def gaps() -> pd.DataFrame:
    frame = rows(count=200)
    frame.loc[[40, 41], "close"] = float("nan")
    return frame


def shuffled() -> pd.DataFrame:
    return pd.concat([rows(count=200).iloc[100:], rows(count=200).iloc[:100]])


def both_ways() -> pd.DataFrame:
    frame = rows("2024-01-01", count=11, freq="D")
    times = [f"0{day}/0{month}/2024" for month in range(1, 6) for day in range(1, 10)]
    return pd.concat([frame] * 5).iloc[: len(times)].assign(time=times)


def clocks_back() -> pd.DataFrame:
    """Hours of Chicago's market in local time: 01:00 came twice on 3 November."""
    moments = pd.date_range("2024-10-30", periods=200, freq="h", tz="America/New_York")
    return rows(count=200).assign(time=moments.tz_localize(None).astype(str))


def nanos() -> pd.DataFrame:
    frame = rows(count=200, level=150.0)
    return frame.assign(**{name: (frame[name].round(2) * 1e9).round().astype("int64") for name in PRICES})


def other_names() -> pd.DataFrame:
    return rows(count=200).set_axis(
        ["SessionTime", "OpenAuction", "DayHigh", "DayLow", "ClosingAuction", "volume"], axis=1
    )


BROKEN: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "columns": (wrong_order, "--column open="),
    "names": (other_names, "--column timestamp=SessionTime"),
    "scale": (nanos, "--price-scale 1000000000"),
    "rows": (block_deals, "--where SctySrs=EQ"),
    "missing": (gaps, "--missing drop"),
    "sort": (shuffled, "--sort"),
    "date": (both_ways, "--date-format %d/%m/%Y"),
    "zone": (clocks_back, "--timezone America/New_York"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_the_remedy_that_is_offered_works(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, remedy = BROKEN[kind]
    make().to_csv(tmp_path / "bars.csv", index=False)
    capfd.readouterr()
    assert chandler("inspect", tmp_path / "bars.csv", *WINDOWS) == 2
    told = capfd.readouterr().err
    assert remedy in told
    assert not re.search(r"\b(columns|where|missing|unsorted|date_format|timezone|price_scale)=", told), told
    line = re.search(re.escape(remedy.split()[0]) + r"(?:(?! or | \(|,|;|\. |\.$|: ).)*", told, re.M)
    assert line, told
    options = shlex.split(line[0])
    assert chandler("inspect", tmp_path / "bars.csv", *WINDOWS, *options) in (0, 1), capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "typed", "by_yaml"),
    [
        ("columns={'close': 'Px Last'}", "--column 'close=Px Last'", "--set 'data.columns.close=Px Last'"),
        ("columns={'symbol': ...}", "--column symbol=NAME", "--set data.columns.symbol=NAME"),
        ("columns={'symbol': ''}", "--column symbol=", "--set data.columns.symbol="),
        ("where={'SctySrs': 'EQ'}", "--where SctySrs=EQ", "--set data.where.SctySrs=EQ"),
        ('unsorted="sort" (--sort)', "--sort", "--set data.unsorted=sort"),
        ("join=True (--join)", "--join", "--set data.join=true"),
        ('pass missing="drop".', "pass --missing drop.", "pass --set data.missing=drop."),
        ("date_format='%d/%m/%Y'", "--date-format %d/%m/%Y", "--set data.date_format=%d/%m/%Y"),
        ("price_scale=10000, or", "--price-scale 10000, or", "--set data.price_scale=10000, or"),
        ("a column {'close'} of no option", "a column {'close'} of no option", "a column {'close'} of no option"),
    ],
)
def test_options_are_said_as_the_command_takes_them(said: str, typed: str, by_yaml: str) -> None:
    assert as_typed(said, "inspect") == typed
    assert as_typed(said, "finetune") == by_yaml
