"""How a forecast is made: what travels together from a call, a command or an evaluation to the engine, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from chandler.errors import ConfigError
from chandler.forecasting.engine import Overflow, Sampling, require_int
from chandler.forecasting.preprocessing import MIN_HISTORY
from chandler.settings import Precision


@dataclass(frozen=True)
class ForecastSettings:
    """The settings of `Forecaster.forecast`, which says what they mean. Impossible values raise ConfigError."""

    paths: int = 100
    sampling: Sampling = field(default_factory=Sampling)
    lookback: int | None = None
    """Rows of history; None for the forecaster's own."""
    overflow: Overflow = "exact"
    precision: Precision = "float32"
    memory_budget: int | None = None
    """Bytes for caches; None for a quarter of what is free, half on an accelerator."""
    calendar: str | None = None
    """None for the forecaster's own."""
    repair: bool = False
    calibrated: bool = False
    anchor: bool = True
    """Whether paths begin at the last close rather than at what the tokens have of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", require_int("paths", self.paths, 1))
        if self.lookback is not None:
            object.__setattr__(self, "lookback", require_int("lookback", self.lookback, MIN_HISTORY))
        if self.overflow not in get_args(Overflow):
            raise ConfigError(f'overflow is "exact", "block" or "trim", found {self.overflow!r}.')
        if self.precision not in get_args(Precision):
            raise ConfigError(f'precision is "float32", "bfloat16" or "int8", found {self.precision!r}.')
