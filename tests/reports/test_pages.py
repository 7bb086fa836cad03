"""Every page: text of the data stays text, a typed context says what will be on it, and one style sheet serves all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.reports.drawn import STYLE, drawn

from chandler.errors import ConfigError
from chandler.reports import write_report
from chandler.reports.backtest import backtest_page
from chandler.reports.generation import generation_page
from chandler.reports.render import Cell, Table, render

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
        "random": {"draws": 2, "annual_excess": [0.01, -0.03]}, "luck": {"share": 0.5, "low": -0.03, "high": 0.01},
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
    assert page.numbers.rows[0][1][:3] == ["+10.0%", "\N{MINUS SIGN}2.0%", "\N{MINUS SIGN}5.0% to +1.0%"]
    assert {len(cells) for _, cells in page.numbers.rows} == {len(page.numbers.head) - 1}
    assert [len(drawn(chart.figure).data) for chart in (page.growth, page.relative)] == [2, 2]


@pytest.mark.parametrize("draws", [0, 2])
def test_luck_is_shown_where_there_is_any(draws: int) -> None:
    told = summary(random={"draws": draws, "annual_excess": [0.01, -0.03][:draws]})
    html = render("backtest", backtest_page(told, SETTINGS, {"model": daily(1.1)}, pd.DataFrame(), "b"))
    assert ("What luck does" in html) == bool(draws)


def test_the_page_of_a_generation_task_needs_no_script() -> None:
    one = {
        "discriminative": 0.25,
        "discriminative_low": 0.2,
        "discriminative_high": 0.3,
        "tstr_mae": 0.5,
        "tstr_rank_ic": -0.1,
    }
    names = ("shuffled_bars", "past_stretch", EVIL)
    result = {
        "results": [{"name": name, **one} for name in names], "models": [EVIL], "seen": False, "notes": [], "windows": 50,
        "test_windows": 15, "lookback": 20, "horizon": 4, "symbols": 5,
        "real": {"mae": 0.4, "rank_ic": 0.2, "no_change_mae": 0.6},
    }  # fmt: skip
    page = generation_page(result, "g")
    assert page.numbers.rows[2] == (EVIL, ["0.250", "0.200 to 0.300", "0.5000", "\N{MINUS SIGN}0.100"])
    html = render("generation", page)
    assert "the first 70% of the windows train" in html
    assert "<script" not in html
    assert EVIL not in html


def test_a_cell_is_escaped_and_its_note_stands_beside_it() -> None:
    made = Table(["", "Inside", "Width"], [("a < b", [Cell("<i>", "mark better", "(1 & 2)"), "3"])], ["50% band"])
    page = generation_page(
        {"results": [], "models": [], "seen": False, "notes": [], "windows": 2, "test_windows": 1, "lookback": 1, "horizon": 1,
         "symbols": 1, "real": {"mae": 1.0, "rank_ic": 0.0, "no_change_mae": 1.0}}, "g",
    )  # fmt: skip
    html = render("generation", type(page)(**{**vars(page), "numbers": made}))
    assert (
        '<th scope="row">a &lt; b</th><td><span class="mark better">&lt;i&gt;</span> <small>(1 &amp; 2)</small></td>'
        in html
    )
    assert '<th scope="colgroup" colspan="2">50% band</th>' in html


def test_every_class_of_the_templates_has_a_style() -> None:
    style = STYLE.read_text()
    used = set()
    for template in STYLE.parent.glob("*.j2"):
        for names in re.findall(r'class="([a-z ]+)"', template.read_text()):
            used |= set(names.split())
    assert {"verdict", "legend", "sortable", "facts", "scroll"} <= used
    assert {name for name in used if f".{name}" not in style} <= {"history"}  # the plain candle


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "curve.parquet").write_text("")
    with pytest.raises(ConfigError, match="no finished backtest to report"):
        write_report(tmp_path)
