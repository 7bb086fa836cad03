"""The page of a backtest, and its verdict in words: no more than interval and random signals allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.reports.drawn import drawn

from chandler.errors import ConfigError
from chandler.reports import write_report
from chandler.reports.backtest import backtest_page, backtest_verdict, headline, verdict_lines
from chandler.reports.render import render, terminal_text

EVIL = "<b>&\"'</script>"


def summary(signal: str = "model", **more: Any) -> dict[str, Any]:
    result = {
        "annual_return": 0.1, "annual_excess": -0.02, "annual_excess_low": -0.05, "annual_excess_high": 0.01,
        "annual_excess_before_costs": 0.0, "annual_volatility": 0.2, "information_ratio": -0.1, "max_drawdown": 0.3,
        "turnover": 0.4, "annual_cost": 0.02, "trades": 12, "blocked": 1, "bars": 300, "final_value": 1.1,
        "benchmark_final_value": 1.2, "benchmark_annual_return": 0.12,
    }  # fmt: skip
    return {
        "signal": signal, "kind": "model", "source": "somewhere", "symbols": 5, "interval": "1 days 00:00:00",
        "first_signal": "2012-01-03", "last_signal": "2012-10-01", "last_bar": "2012-10-31", "signal_bars": 20, "scores": 100,
        "k": 2, "n_drop": 1, "benchmark": "equal", "bars_per_year": 252.0, "persistence": 0.9, "results": {signal: result},
        "random": {"draws": 2, "annual_excess": [0.01, -0.03]},
        "notes": [], "formulas": {"turnover": "bought + sold"}, "lookback": 20, "horizon": 3, **more,
    }  # fmt: skip


SETTINGS = {
    "portfolio": {"hold": 5, "costs": {"buy": 15, "sell": 15, "least": 0}, "limit": None, "one_price": True},
    "every": 10, "paths": 2, "temperature": 1.0, "top_p": 0.9, "seed": 0,
}  # fmt: skip


def daily(value: float) -> pd.DataFrame:
    times = pd.bdate_range("2012-01-03", periods=5)
    return pd.DataFrame({"timestamp": times, "value": np.linspace(1, value, 5), "benchmark": np.linspace(1, 1.2, 5)})


def test_a_backtest_with_hostile_names_is_text() -> None:
    told = summary(EVIL, source=EVIL, notes=[EVIL])
    page = backtest_page(told, SETTINGS, {EVIL: daily(1.1)}, pd.DataFrame(), EVIL)
    html = render("backtest", page)
    assert EVIL not in html
    assert html.count("&lt;b&gt;&amp;&#34;&#39;&lt;/script&gt;") >= 4  # title, heading, source, note
    assert page.how[0] == ("Rule", "hold 2 of 5, replace at most 1 a bar, hold at least 5 bars")
    [table] = re.findall("(?s)<caption>.*?</table>", html)
    assert "<td>+10.0%</td><td>\N{MINUS SIGN}2.0%</td><td>\N{MINUS SIGN}5.0% to +1.0%</td>" in table
    rows = re.findall("(?s)<tr>.*?</tr>", table)
    assert {len(re.findall("<t[dh]", row)) for row in rows} == {11}
    assert len(rows) == 3  # the head, the signal, the benchmark
    assert [len(drawn(chart.figure).data) for chart in (page.growth, page.relative)] == [2, 2]
    assert page.growth.figure["data"][-1]["name"] == "&lt;b&gt;&amp;\"'&lt;/script&gt;"


@pytest.mark.parametrize("draws", [0, 2])
def test_luck_is_shown_where_there_is_any(draws: int) -> None:
    told = summary(random={"draws": draws, "annual_excess": [0.01, -0.03][:draws]})
    html = render("backtest", backtest_page(told, SETTINGS, {"model": daily(1.1)}, pd.DataFrame(), "b"))
    assert ("What luck does" in html) == ("The grey band holds" in html) == bool(draws)


def told(low: float | None, high: float | None, random: list[float], actual: float = 0.05) -> dict[str, Any]:
    own = summary()["results"]["model"]
    own |= {"annual_excess": actual, "annual_excess_low": low, "annual_excess_high": high}
    return summary(results={"model": own}, random={"draws": len(random), "annual_excess": random})


@pytest.mark.parametrize(
    ("low", "high", "random", "text"),
    [
        (0.01, 0.2, [], "beat the benchmark in this period, after costs."),
        (0.01, 0.2, [-0.1] * 19, "beat the benchmark in this period, after costs."),
        (
            0.01,
            0.2,
            [-0.1] * 18,
            "beat the benchmark in this period, after costs, but 18 random signals cannot tell that from chance.",
        ),
        (
            0.01,
            0.2,
            [-0.1] * 18 + [0.1],
            "beat the benchmark in this period, after costs, but 1 of 19 random signals did as well or better.",
        ),
        (-0.1, 0.2, [0.1] * 30, "shows no difference from the benchmark, after costs."),
        (
            -0.2,
            -0.1,
            [-0.1] * 15 + [0.1] * 5,
            "lost to the benchmark in this period, after costs; 15 of 20 random signals lost as well.",
        ),
        (
            -0.2,
            -0.1,
            [0.1] * 20,
            "lost to the benchmark in this period, after costs, and did worse than chance explains.",
        ),
        (None, None, [0.1] * 20, "was too short-lived to say anything."),
    ],
)
def test_the_headline_claims_no_more_than_interval_and_luck_allow(
    low: float | None, high: float | None, random: list[float], text: str
) -> None:
    assert headline(told(low, high, random)) == f"The model's portfolio {text}"


@pytest.mark.parametrize(
    ("random", "text"),
    [
        ([-0.1] * 18, "too few random signals to tell, it takes 19."),
        ([-0.1] * 19, "few do so by chance."),
        ([0.1] * 10 + [-0.1] * 10, "chance can explain the result."),
        ([0.1] * 20, "worse than chance explains."),
        ([0.05] * 20, "chance can explain the result."),
    ],
)
def test_the_line_of_luck_says_what_its_count_says(random: list[float], text: str) -> None:
    said = dict(verdict_lines(told(0.01, 0.2, random)))["Luck"]
    as_good = sum(one >= 0.05 for one in random)
    assert said.startswith(f"{as_good} of {len(random)} random signals did as well or better")
    assert said.endswith(f"a year): {text}")


def test_what_is_said_to_a_terminal_is_what_stands_on_the_page() -> None:
    told = summary(random={"draws": 0, "annual_excess": []}, seen=["trained"], notes=["signals: 2 of 3"])
    page = backtest_page(told, SETTINGS, {"model": daily(1.1)}, pd.DataFrame(), "b")
    assert [about for about, _ in page.lines] == ["Seen before!", "Above benchmark", "In all", "Risk", "Length"]
    assert page.lines[0][1] == "signals: 2 of 3"
    assert page.lines[1][1].startswith("\N{MINUS SIGN}2.0% a year after costs, 95% interval")
    assert terminal_text(page.headline, page.lines[2:3]) == (
        "The model's portfolio shows no difference from the benchmark, after costs.\n"
        "In all: 1 became 1.100, in the benchmark 1.200."
    )


def test_a_backtest_of_one_bar_has_no_placeholders(tmp_path: Path) -> None:
    """No interval, a return beyond all numbers, no fall, and no random signals."""
    own = told(None, None, [])["results"]["model"]
    own |= {
        "bars": 1.0,
        "annual_return": None,
        "annual_volatility": None,
        "information_ratio": None,
        "max_drawdown": 0.0,
    }
    one = summary(results={"model": own}, random={"draws": 0, "annual_excess": []}, signal_bars=1, scores=1)
    page = backtest_page(one, SETTINGS | {"every": 1}, {"model": daily(1.1)}, pd.DataFrame(), "b")
    lines = dict(page.lines)
    assert lines["Above benchmark"].startswith("+5.0% a year after costs, no interval;")
    assert lines["Risk"] == "Volatility - a year, deepest fall 0.0%, information ratio -."
    assert lines["Length"].startswith("1 bar, 0.0 years")
    html = render("backtest", page)
    assert not re.search(r"- to -|\N{MINUS SIGN}0\.0%|\b1 (bars|scores)\b", html)
    assert "grey band" not in html
    (tmp_path / "summary.json").write_text(json.dumps(one))
    verdict = backtest_verdict(tmp_path)
    assert verdict.table is not None
    assert verdict.table.loc["model", ["Return", "Deepest fall"]].tolist() == ["-", "0.0%"]


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "curve.parquet").write_text("")
    with pytest.raises(ConfigError, match="no finished backtest to report"):
        write_report(tmp_path)
