"""Bars in, windows out: reading, validating, storing, splitting and gathering bars. Knows no models and no torch.

The way through: `Bars` (bars) are one symbol's rows. `load_bars` (reading) makes them of files and frames, `read_qlib`
(qlib) of Qlib folders; a `BarStore` (store) holds those of many symbols, and `prepare` grows one on disk. `SourceSettings`
(sources) say all of this in YAML. `Windows` (datasets) are what training and evaluation see; calendars say what comes
after a bar; inspection tells what is wrong with a store.
"""

from chandler.data.bars import Bars, moment_of, tick_of
from chandler.data.calendars import (
    Schedule,
    calendar_names,
    fit_schedule,
    future_timestamps,
    infer_interval,
    time_features,
)
from chandler.data.columns import AMOUNT, CLOSE, FEATURES, HIGH, LOW, OPEN, PRICES, VOLUME
from chandler.data.datasets import (
    CleaningReport,
    CleaningSettings,
    SplitSettings,
    WalkForwardSettings,
    WindowBatch,
    Windows,
    clean_rows,
    clean_store,
    denormalise,
    epoch_order,
    normalise,
    require_windows,
    resample_bars,
    resample_store,
    split_ranges,
    walk_forward,
)
from chandler.data.inspection import InspectReport, inspect_store
from chandler.data.notes import Finding, Note, note_lines
from chandler.data.parallel import cores
from chandler.data.prepare import Progress, prepare
from chandler.data.qlib import read_qlib, write_qlib
from chandler.data.reading import OF_FILES, ReadingOptions, is_store, load_bars, opened
from chandler.data.sources import InspectSettings, SourceSettings, load_clean, load_source
from chandler.data.store import BarStore

__all__ = [
    "AMOUNT",
    "CLOSE",
    "FEATURES",
    "HIGH",
    "LOW",
    "OF_FILES",
    "OPEN",
    "PRICES",
    "VOLUME",
    "BarStore",
    "Bars",
    "CleaningReport",
    "CleaningSettings",
    "Finding",
    "InspectReport",
    "InspectSettings",
    "Note",
    "Progress",
    "ReadingOptions",
    "Schedule",
    "SourceSettings",
    "SplitSettings",
    "WalkForwardSettings",
    "WindowBatch",
    "Windows",
    "calendar_names",
    "clean_rows",
    "clean_store",
    "cores",
    "denormalise",
    "epoch_order",
    "fit_schedule",
    "future_timestamps",
    "infer_interval",
    "inspect_store",
    "is_store",
    "load_bars",
    "load_clean",
    "load_source",
    "moment_of",
    "normalise",
    "note_lines",
    "opened",
    "prepare",
    "read_qlib",
    "require_windows",
    "resample_bars",
    "resample_store",
    "split_ranges",
    "tick_of",
    "time_features",
    "walk_forward",
    "write_qlib",
]
