"""A signal head: what a readout of the predictor's hidden state says of returns to come, and whether that is worth anything.

Read `runner` (the way through), `samples` (windows, dates, three periods), `fit` (ridge, or one hidden layer), `scores` (RankIC by
date, tests, the verdict). The head itself lies with `forecasting`, which applies it.
"""

from chandler.training.signal.runner import SignalResult, fit_signal, plan_signal, signal_lookback, split_moments
from chandler.training.signal.samples import Calendar, Samples, find_samples, split_samples
from chandler.training.signal.scores import Score, ic_series, score, verdict

__all__ = [
    "Calendar",
    "Samples",
    "Score",
    "SignalResult",
    "find_samples",
    "fit_signal",
    "ic_series",
    "plan_signal",
    "score",
    "signal_lookback",
    "split_moments",
    "split_samples",
    "verdict",
]
