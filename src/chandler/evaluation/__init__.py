"""Does it beat naive? `walk_forward` forecasts the same windows with all, `baselines` are what has to be beaten, `backtest` trades
forecasts, `tasks` are the paper's. Each hands out what others use.
"""
