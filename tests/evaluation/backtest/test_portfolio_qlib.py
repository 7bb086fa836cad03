"""The same signals through pyqlib's TopkDropoutStrategy and SimulatorExecutor give the same curve, bar by bar."""

from __future__ import annotations

import numpy as np
import pytest
from tests.qlib_answers import RULES, SOURCES, portfolio, signals

from chandler.evaluation.backtest.performance import equal_weight
from chandler.evaluation.backtest.portfolio import PortfolioSettings, simulate


@pytest.mark.parametrize("source", SOURCES)
def test_pyqlib_agrees_bar_by_bar(source: str) -> None:
    _, panels, scores = signals()
    answers = portfolio(source)
    assert len(answers) == 744  # 248 days by three rules
    for number, rule in enumerate(RULES):
        panel, settings = panels[rule["data"]], {key: value for key, value in rule.items() if key != "data"}
        theirs = answers[answers["rule"] == number]
        ours = simulate(
            panel, scores[rule["data"]], PortfolioSettings(**settings, one_price=False), equal_weight(panel)
        )
        daily = ours.daily.iloc[1:-1]
        assert theirs["datetime"].tolist() == daily["timestamp"].tolist()
        assert theirs["names"].tolist() == daily["names"].tolist()
        np.testing.assert_allclose(theirs["account"] / 1e6, daily["value"], rtol=1e-6)
        np.testing.assert_allclose(theirs["turnover"], daily["turnover"], atol=1e-6)
        np.testing.assert_allclose(theirs["cost"], daily["cost"], atol=1e-8)
        np.testing.assert_allclose(theirs["return"] - theirs["cost"], daily["return"], atol=1e-6)
        if rule["data"] == "whole":  # qlib gives no return on the bar after a suspension
            np.testing.assert_allclose(theirs["bench"], daily["benchmark_return"], atol=1e-6)
        assert len(ours.trades) > 50
