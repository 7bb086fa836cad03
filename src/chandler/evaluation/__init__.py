"""Does it beat naive? `walk_forward` forecasts the same windows with all, `baselines` are what has to be beaten, `backtest` trades
forecasts, `tasks` are the paper's; `part_store` keeps finished parts.
"""
