"""Finetune Kronos, the foundation model for market candles, on your own bars; forecast and evaluate with it.

The public names load on first use, so that `import chandler` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from chandler.version import __version__, require_torch

if TYPE_CHECKING:
    from chandler.data import Bars, BarStore, inspect_store, load_bars, prepare
    from chandler.errors import ChandlerError, CheckpointError, ConfigError, DataError, TrainingError
    from chandler.evaluation.backtest import BacktestSettings, backtest
    from chandler.evaluation.walk_forward import EvaluationSettings, calibrate, evaluate
    from chandler.forecasting import Forecast, Forecaster, SignalHead
    from chandler.journal import Journal
    from chandler.nn import Kronos, KronosTokenizer
    from chandler.publishing import push
    from chandler.training import finetune
    from chandler.training.settings import SignalSettings
    from chandler.training.signal import fit_signal

_HOMES = {
    "chandler.data": ("BarStore", "Bars", "inspect_store", "load_bars", "prepare"),
    "chandler.errors": ("ChandlerError", "CheckpointError", "ConfigError", "DataError", "TrainingError"),
    "chandler.evaluation.backtest": ("BacktestSettings", "backtest"),
    "chandler.evaluation.walk_forward": ("EvaluationSettings", "calibrate", "evaluate"),
    "chandler.forecasting": ("Forecast", "Forecaster", "SignalHead"),
    "chandler.journal": ("Journal",),
    "chandler.nn": ("Kronos", "KronosTokenizer"),
    "chandler.publishing": ("push",),
    "chandler.training": ("finetune",),
    "chandler.training.settings": ("SignalSettings",),
    "chandler.training.signal": ("fit_signal",),
}
"""Where the public names are, as type checkers are told above."""

__all__ = [
    "BacktestSettings",
    "BarStore",
    "Bars",
    "ChandlerError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EvaluationSettings",
    "Forecast",
    "Forecaster",
    "Journal",
    "Kronos",
    "KronosTokenizer",
    "SignalHead",
    "SignalSettings",
    "TrainingError",
    "__version__",
    "backtest",
    "calibrate",
    "evaluate",
    "finetune",
    "fit_signal",
    "inspect_store",
    "load_bars",
    "prepare",
    "push",
]

# GNU OpenMP threads spin while they wait for one another. On cores that others use as well, that costs many times the
# work itself: after a short spin they sleep. It is read once, as torch loads, and what the user set stays.
if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            require_torch()
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'chandler' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
