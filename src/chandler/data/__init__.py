"""Bars in, windows out: reading, validating, storing, splitting and gathering bars. Knows no models."""

from chandler.data.bars import FEATURES, Bars
from chandler.data.calendars.exchanges import calendar_names
from chandler.data.calendars.schedule import Schedule, fit_schedule, future_timestamps
from chandler.data.calendars.time_features import infer_interval, time_features
from chandler.data.datasets.cleaning import CleaningReport, CleaningSettings, clean_rows, clean_store
from chandler.data.datasets.resampling import resample_bars, resample_store
from chandler.data.datasets.splits import SplitSettings, WalkForwardSettings, split_ranges, walk_forward
from chandler.data.datasets.windows import WindowBatch, Windows, denormalise, epoch_order, normalise, require_windows
from chandler.data.inspection import InspectReport, inspect_store
from chandler.data.prepare import prepare
from chandler.data.qlib import read_qlib, write_qlib
from chandler.data.reading.load import load_bars
from chandler.data.store.store import BarStore

__all__ = [
    "FEATURES",
    "BarStore",
    "Bars",
    "CleaningReport",
    "CleaningSettings",
    "InspectReport",
    "Schedule",
    "SplitSettings",
    "WalkForwardSettings",
    "WindowBatch",
    "Windows",
    "calendar_names",
    "clean_rows",
    "clean_store",
    "denormalise",
    "epoch_order",
    "fit_schedule",
    "future_timestamps",
    "infer_interval",
    "inspect_store",
    "load_bars",
    "normalise",
    "prepare",
    "read_qlib",
    "require_windows",
    "resample_bars",
    "resample_store",
    "split_ranges",
    "time_features",
    "walk_forward",
    "write_qlib",
]
