"""What can be said of a signal head: what it predicts, from which dates it learns, and what it is held against."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from chandler.settings import Moment, StrictModel


class SignalSettings(StrictModel):
    """A small readout of the predictor's hidden state that orders symbols by their return to come; docs/signal.md."""

    enabled: bool = False
    """Train one after the predictor's stage of a run."""
    horizon: int | None = Field(None, ge=1)
    """Bars ahead, of the common calendar; null: data.horizon of the run."""
    delay: int = Field(0, ge=0)
    """Bars from the signal to the close that its return begins at: 1 leaves out what nobody can earn, the bounce of a last
    price between bid and ask."""
    lookback: int | None = Field(None, ge=2)
    """Bars that the predictor sees; null: as many as in its forecasts."""
    every: int | None = Field(None, ge=1)
    """Bars between two dates; null: the horizon, so that no two returns overlap."""
    val_start: Moment | None = None
    """First date that chooses; null: as the run's split has it, else the last quarter of the dates before the test."""
    test_start: Moment | None = None
    """First date of the test, which chose nothing; null: as the run's split has it, else the first that the model does not
    know of the last fifth of the dates."""
    hidden: int = Field(0, ge=0, le=4096)
    """Units of a hidden layer; 0: a linear readout."""
    least: int = Field(5, ge=2)
    """Symbols that a date must have to be ordered. Where most dates have fewer, returns are judged along time."""
    seeds: int = Field(3, ge=1, le=20)
    """Heads that are fitted, each on dates of its own draw; their mean is the head."""
    seed: int = Field(0, ge=0)
    """The first of them, and that of the paths."""
    momentum: int = Field(20, ge=1)
    """Bars of past return whose winners are expected to win, to be held against; at most those that the predictor sees."""
    reversal: int = Field(5, ge=1)
    """The same whose losers are."""
    paths: int = Field(10, ge=1)
    """Sampled futures of each forecast whose mean return is held against it."""
    path_dates: int = Field(12, ge=0)
    """So many dates of the test are forecast for that; 0: none."""
    memory_budget: int | None = Field(None, ge=1)
    """Bytes for what is embedded at a time; null: a quarter of what is free, half on an accelerator."""

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, given: Any) -> Any:
        """`signal: true` is `signal: {enabled: true}`."""
        return {"enabled": given} if isinstance(given, bool) else given
