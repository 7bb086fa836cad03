"""The settings of a backtest: which bars, where the signals come from, how they are traded and held against what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from chandler.data import SourceSettings
from chandler.evaluation.backtest.performance import EQUAL
from chandler.evaluation.backtest.portfolio import PortfolioSettings
from chandler.evaluation.walk_forward import SAMPLING, trained_windows
from chandler.settings import Moment, Precision, StrictModel

_PAPER = SAMPLING["investment"]


class BacktestSettings(StrictModel):
    """One simulated portfolio, beside a benchmark and signals that know nothing."""

    task: Literal["investment"] = "investment"
    """What this file describes."""
    out: str = "runs/backtest"
    """The folder of the backtest."""
    data: SourceSettings
    """Which bars, and how they are read: the universe to choose from."""
    model: str | None = None
    """Run folder, released predictor, or TOKENIZER+PREDICTOR, whose forecasts make the signals."""
    signals: str | None = None
    """Instead of a model: a CSV or Parquet file of timestamp, symbol, score."""
    head: str | None = None
    """A folder with the signal head (chandler signal) of the model: its scores are traded, nothing is forecast."""
    every: int = Field(1, ge=1)
    """Bars between two signals of the model."""
    start: Moment | None = None
    """First day or time that may be forecast and traded; null: the first that the model was not trained or validated
    on. Signals of a file begin where they begin."""
    end: Moment | None = None
    """Last day or time; null: the last of the data."""
    lookback: int | None = Field(None, ge=2)
    """Bars of history of every forecast (a head has its own); left out, those that a run was trained with. null, and of other
    models: as the paper for the interval of the bars (daily: 90)."""
    horizon: int | None = Field(None, ge=1)
    """Bars ahead, over which the forecast close is averaged; left out and null as for lookback (daily: 10)."""
    paths: int = Field(_PAPER.paths, ge=1)
    """Sampled futures per forecast; their mean is the signal."""
    temperature: float = Field(_PAPER.temperature, gt=0)
    top_p: float = Field(_PAPER.top_p, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    anchor: bool = True
    """Paths begin at the last close, not at what the tokens have of it; see docs/forecasting.md."""
    overflow: Literal["exact", "block", "trim"] = "exact"
    """What happens when history and horizon exceed the model's context; see docs/forecasting.md."""
    precision: Precision = "float32"
    device: str = "auto"
    seed: int = Field(0, ge=0)
    """Of the paths, of the random signals and of the bootstrap."""
    chunk: int = Field(256, ge=1)
    """About so many forecasts at a time are written as one part: what an interruption costs."""
    portfolio: PortfolioSettings = Field(default_factory=PortfolioSettings)
    """The rule of trading."""
    allow_left_out: bool = False
    """Go on although more than 5% of the signals in the period fit no bar or no symbol of the data."""
    benchmark: str = EQUAL
    """equal: all symbols with a score, equally weighted anew on every bar, without costs; or one symbol."""
    momentum: int | None = Field(20, ge=1)
    """Bars of past return whose winners are held, as a signal to compare with; null: none."""
    reversal: int | None = Field(5, ge=1)
    """The same whose losers are held; null: none."""
    random: int = Field(100, ge=0)
    """So many random signals show what luck does with the same rule; 0: none."""
    bars_per_year: float | None = Field(None, gt=0)
    """For annual numbers; null: measured on the calendar of the data."""

    @model_validator(mode="after")
    def _sensible(self) -> BacktestSettings:
        if (self.model is None) == (self.signals is None):
            what = "neither" if self.model is None else "both"
            raise ValueError(f"signals come from a model or from a file: give model or signals, found {what}")
        if self.head is not None and self.model is None:
            raise ValueError("a signal head reads a model: give model as well as head, and no signals")
        if self.head is not None and (self.lookback is not None or self.horizon is not None):
            raise ValueError("a signal head has its own lookback and horizon: leave them out")
        return self

    def as_trained(self) -> BacktestSettings:
        """The same with the window of the model's run where it is left out."""
        left = {"lookback", "horizon"} - self.model_fields_set
        if not left or self.model is None or self.head is not None:
            return self
        found = [dict(zip(("lookback", "horizon"), one, strict=True)) for one in trained_windows([self.model])]
        return self.model_copy(update={key: window[key] for window in found for key in left})
