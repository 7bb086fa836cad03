"""Forecasts traded as a portfolio, on paper: `settings`, `signals` (who forecasts what), `panel` (prices to trade at), `portfolio`
(the rule, day by day), `performance` (what it earned, and luck), `runner`.
"""
