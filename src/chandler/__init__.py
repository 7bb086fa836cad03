"""Finetune Kronos, the foundation model for market candles, on your own bars; forecast and evaluate with it.

The public names load on first use, so that `import chandler` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from chandler.version import __version__

if TYPE_CHECKING:
    from chandler.data.bars import Bars
    from chandler.data.reading.load import load_bars
    from chandler.data.store.store import BarStore
    from chandler.errors import ChandlerError, CheckpointError, ConfigError, DataError, TrainingError
    from chandler.forecasting.forecast import Forecast
    from chandler.forecasting.forecaster import Forecaster
    from chandler.nn.predictor import Kronos
    from chandler.nn.tokenizer import KronosTokenizer
    from chandler.training.run import finetune

_HOMES = {
    "Bars": "chandler.data.bars",
    "BarStore": "chandler.data.store.store",
    "ChandlerError": "chandler.errors",
    "CheckpointError": "chandler.errors",
    "ConfigError": "chandler.errors",
    "DataError": "chandler.errors",
    "Forecast": "chandler.forecasting.forecast",
    "Forecaster": "chandler.forecasting.forecaster",
    "Kronos": "chandler.nn.predictor",
    "KronosTokenizer": "chandler.nn.tokenizer",
    "TrainingError": "chandler.errors",
    "finetune": "chandler.training.run",
    "load_bars": "chandler.data.reading.load",
}

__all__ = [
    "BarStore",
    "Bars",
    "ChandlerError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Forecast",
    "Forecaster",
    "Kronos",
    "KronosTokenizer",
    "TrainingError",
    "__version__",
    "finetune",
    "load_bars",
]


# GNU OpenMP threads spin while they wait for one another. On cores that others use as well, that costs many times the
# work itself: after a short spin they sleep. It is read once, as torch loads, and what the user set stays.
if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'chandler' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
