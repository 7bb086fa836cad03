"""A source of bars as settings describe it: which bars, how they are read, resampled and cleaned."""

from __future__ import annotations

from pydantic import Field, field_validator

from chandler.data.bars import Adjust, Decimal, Missing, Unsorted
from chandler.data.calendars import resolve_calendar
from chandler.data.datasets import CleaningReport, CleaningSettings, SplitSettings, clean_store, resample_store
from chandler.data.reading import ReadingKeywords, load_bars
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.settings import Moment, StrictModel


class SourceSettings(StrictModel):
    """Which bars, and how they are read."""

    path: str | list[str]
    """File, folder, glob, a store made by prepare, "qlib:FOLDER", "chandler-stocks" (bundled), or a list of them."""
    market: str = "all"
    """Of a qlib folder: the instrument list, such as csi300."""
    freq: str = "day"
    """Of a qlib folder: the bars, such as day or 1min."""
    start: Moment | None = None
    """Only rows from this date or time on."""
    end: Moment | None = None
    """Only rows up to this date or time, inclusive."""
    symbols: list[str] | None = None
    """Only these symbols."""
    columns: dict[str, str] | None = None
    """Canonical name -> name in the file, where the usual spellings do not fit; "" takes the role from every column."""
    where: dict[str, str] | None = None
    """Only rows whose cell in a column is this text: {SctySrs: EQ}."""
    timezone: str | None = None
    """Zone of timestamps that carry none; others are converted to it."""
    date_format: str | None = None
    """strptime format, where the file is ambiguous."""
    decimal: Decimal = "auto"
    """Decimal sign of numbers, where the file is ambiguous."""
    price_scale: float | None = Field(None, gt=0)
    """What prices are divided by, where the file has them as whole numbers; 1: they are right as they are."""
    unsorted: Unsorted = "error"
    """What to do with rows whose time steps back: stop, or sort them."""
    join: bool = False
    """Files of one symbol follow one another: put them together."""
    adjust: Adjust = "auto"
    """Scale prices by an adjusted close, where there is one."""
    missing: Missing = "error"
    """What to do with rows whose prices are missing: stop, leave them out, or leave them out and let no window
    cross the place."""
    resample: str | None = None
    """Make coarser bars first, such as 15min, 1h, 1D, counted from the opening of each session."""
    calendar: str | None = None
    """When the market trades: an exchange (XNYS, XSHG, ...), 24/7, 24/5; null: learned from the bars. Holes, whole
    coarser bars, and the forecasts to come go by it."""
    max_gap: int | None = Field(None, ge=0)
    """No window crosses a hole of more missing bars than this; null: holes are not looked for."""
    cleaning: CleaningSettings = Field(default_factory=CleaningSettings)
    """The paper's rules for jumps, illiquid and stagnant stretches; off unless cleaning.enabled. One of data.sources
    that does not give its own has those of data."""

    @field_validator("calendar")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            return None if value is None else resolve_calendar(value)
        except DataError as error:
            raise ValueError(str(error).rstrip(".")) from None


class InspectSettings(SourceSettings):
    """What a preflight report goes by: the keys of a run's `data:` that say which rows are windows of which part."""

    lookback: int = Field(90, ge=2)
    """Bars that a forecast sees."""
    horizon: int = Field(10, ge=1)
    """Bars to forecast."""
    split: SplitSettings = Field(default_factory=SplitSettings)
    """Where training ends and validation begins."""


def load_source(source: SourceSettings, *, skip_bad: bool = False) -> BarStore:
    """The bars that settings name, read and resampled. `skip_bad`: see `load_bars`.

    Raises DataError for data that cannot be used.
    """
    options = source.model_dump(include=set(ReadingKeywords.__annotations__))
    store = load_bars(source.path, **options, skip_bad=skip_bad)
    return store if source.resample is None else resample_store(store, source.resample, source.calendar)


def load_clean(source: SourceSettings) -> tuple[BarStore, CleaningReport | None]:
    """The store, its segments those that pass the rules, and what was removed; None where no rule is on.

    Raises DataError for data that cannot be used.
    """
    store = load_source(source)
    if not source.cleaning.enabled and source.max_gap is None:
        return store, None
    return clean_store(store, source.cleaning, max_gap=source.max_gap, calendar=source.calendar)
