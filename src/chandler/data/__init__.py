"""Bars in, windows out: reading, validating, storing, splitting and gathering bars. Knows no models."""

from chandler.data.bars import FEATURES, Bars
from chandler.data.calendars import future_timestamps, infer_interval, time_features
from chandler.data.cleaning import CleaningReport, CleaningSettings, clean_rows, clean_store
from chandler.data.prepare import prepare
from chandler.data.qlib import read_qlib, write_qlib
from chandler.data.quality import InspectReport, inspect_store
from chandler.data.readers import load_bars
from chandler.data.resample import resample_bars, resample_store
from chandler.data.schedule import Schedule, fit_schedule
from chandler.data.sessions import calendar_names
from chandler.data.splits import SplitSettings, WalkSettings, split_ranges, walk_forward
from chandler.data.store import BarStore
from chandler.data.windows import WindowBatch, Windows, denormalise, epoch_order, normalise, require_windows

__all__ = [
    "FEATURES",
    "BarStore",
    "Bars",
    "CleaningReport",
    "CleaningSettings",
    "InspectReport",
    "Schedule",
    "SplitSettings",
    "WalkSettings",
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
