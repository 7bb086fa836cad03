"""What the settings say about bars: where they come from, how they are read, cut into windows and split."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from chandler.data import SourceSettings
from chandler.data.datasets import SplitSettings
from chandler.devices import require_name


class ReplaySettings(SourceSettings):
    """A second source of bars, such as some of what the model was pretrained on, against forgetting."""

    share: float = Field(0.2, gt=0, lt=1)
    """Part of every batch that comes from it; the steps of an epoch grow accordingly."""
    stride: int = Field(1, ge=1)
    """Bars between the starts of two of its training windows."""
    split: SplitSettings = Field(default_factory=SplitSettings)
    """Which of its bars are replayed, and which measure what is forgotten."""
    validation_windows: int = Field(1000, ge=1)
    """About so many of its validation windows, evenly spaced, measure what is forgotten."""


class CorpusSource(SourceSettings):
    """One of many sources of a corpus: its bars at their own interval, and at coarser ones."""

    path: str = Field(min_length=1)
    """File, folder, glob or store; relative ones are taken from data.folder."""
    intervals: list[str] = Field(default_factory=list)
    """Coarser bars made as well, such as [15min, 1h, 1D]: each is a series of its own."""
    leave_out: list[str] = Field(default_factory=list)
    """Symbols that are not trained on: held out, or in another source already."""
    weight: float = Field(1.0, gt=0)
    """Of each of its symbols, on top of data.weighting; the share of its class of bars is set by this."""


class DataSettings(SourceSettings):
    """Which bars, cut into which windows."""

    path: str | list[str] = Field(default_factory=list)
    """File, folder, glob, a store made by prepare, "qlib:FOLDER", or a list of them."""
    sources: list[CorpusSource] = Field(default_factory=list)
    """Many sources instead of `path`, each with its own ways of reading and cleaning, for pretraining."""
    folder: str = "."
    """Where relative paths of `sources` are taken from."""

    lookback: int = Field(90, ge=2)
    """Bars that a forecast sees; the scale of a window comes from these alone."""
    horizon: int = Field(10, ge=1)
    """Bars to be forecast."""
    stride: int = Field(1, ge=1)
    """Bars between the starts of two training windows."""
    validation_stride: int = Field(1, ge=1)
    """Bars between the starts of two validation windows; 1 validates on all of them."""
    windows_per_epoch: int | None = Field(100_000, ge=1)
    """At most so many training windows an epoch, drawn anew each time; null: all. Replayed ones come on top."""
    weighting: str | float = "rows"
    """How symbols share the windows of an epoch: by their "rows", "equal", or their rows to a power from 0 (equal)
    to 1 (rows). No window comes twice; a symbol with too few gives all it has."""
    drop_volume: float = Field(0.0, ge=0, le=1)
    """Share of training windows, drawn anew each step, whose volume and amount are missing (0.05 in pretraining)."""
    device: str = "cpu"
    """Where the bars live while windows are cut from them: "cpu" (in memory, or mapped from disk), "cuda" (or
    "cuda:1"), or "auto": the run's device if it is an accelerator with float64 (MPS has none) and a quarter of its free
    memory holds them, else the CPU."""
    replay: ReplaySettings | None = None
    """A share of each batch from other bars; null: none."""
    split: SplitSettings = Field(default_factory=SplitSettings)
    """Where training ends and validation begins."""

    @field_validator("weighting", mode="before")
    @classmethod
    def _weighting(cls, value: object) -> object:
        if isinstance(value, str) and value in ("rows", "equal"):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        raise ValueError('give "rows", "equal" or a number from 0 (equal) to 1 (rows)')

    @field_validator("device")
    @classmethod
    def _place(cls, value: str) -> str:
        return require_name(value)

    @model_validator(mode="after")
    def _somewhere(self) -> DataSettings:
        if not (self.path or self.sources):
            raise ValueError("path is missing; pretraining may give sources instead")
        if self.path and self.sources:
            raise ValueError("give path or sources, not both")
        for source in self.sources:
            if "cleaning" not in source.model_fields_set:
                source.cleaning = self.cleaning
        return self

    @property
    def temperature(self) -> float:
        """`weighting` as a power of a symbol's number of windows."""
        return {"rows": 1.0, "equal": 0.0}[self.weighting] if isinstance(self.weighting, str) else self.weighting


def leaves_bars(split: SplitSettings) -> bool:
    """Whether bars come after those that validate, so that a model can be evaluated on bars that it does not know."""
    if split.walk is not None:
        return True
    return split.val_end is not None if split.train_end else split.train + split.val < 1 - 1e-9
