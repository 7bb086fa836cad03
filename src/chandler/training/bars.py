"""The bars that a run trains on: read, resampled and cleaned as its settings say."""

from __future__ import annotations

from chandler.data.cleaning import CleaningReport, clean_store
from chandler.data.readers import load_bars
from chandler.data.resample import resample_store
from chandler.data.store import BarStore
from chandler.training.data_settings import SourceSettings


def load_clean(source: SourceSettings) -> tuple[BarStore, CleaningReport | None]:
    """The store, its segments those that pass the rules, and what was removed; None where no rule is on.

    Raises DataError for data that cannot be used.
    """
    d = source
    store = load_bars(
        d.path,
        symbols=d.symbols,
        columns=d.columns,
        timezone=d.timezone,
        date_format=d.date_format,
        adjust=d.adjust,
        missing=d.missing,
        decimal=d.decimal,
        unsorted=d.unsorted,
        join=d.join,
        market=d.market,
        freq=d.freq,
        start=d.start,
        end=d.end,
    )
    if d.resample is not None:
        store = resample_store(store, d.resample, d.calendar)
    if not d.cleaning.enabled and d.max_gap is None:
        return store, None
    return clean_store(store, d.cleaning, max_gap=d.max_gap, calendar=d.calendar)
