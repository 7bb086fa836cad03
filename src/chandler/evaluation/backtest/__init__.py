"""Forecasts traded as a portfolio, on paper: `settings`, `signals` (who forecasts what), `panel` (prices to trade at), `portfolio`
(the rule, day by day), `performance` (what it earned, and luck), `runner`.
"""

from chandler.evaluation.backtest.panel import Panel
from chandler.evaluation.backtest.performance import permutation_test
from chandler.evaluation.backtest.portfolio import CostSettings, Curve, PortfolioSettings, simulate
from chandler.evaluation.backtest.runner import BACKTEST, backtest, load_backtest
from chandler.evaluation.backtest.settings import BacktestSettings
from chandler.evaluation.backtest.signals import score

__all__ = [
    "BACKTEST",
    "BacktestSettings",
    "CostSettings",
    "Curve",
    "Panel",
    "PortfolioSettings",
    "backtest",
    "load_backtest",
    "permutation_test",
    "score",
    "simulate",
]
