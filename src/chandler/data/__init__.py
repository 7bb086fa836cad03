"""Bars in, windows out: reading, validating, storing, splitting and gathering bars. Knows no models."""

from chandler.data.bars import FEATURES, Bars
from chandler.data.calendars import future_timestamps, infer_interval, time_features
from chandler.data.quality import InspectReport, inspect_store
from chandler.data.readers import load_bars
from chandler.data.splits import SplitSettings, split_ranges
from chandler.data.store import BarStore
from chandler.data.windows import WindowBatch, Windows, denormalise, epoch_order, normalise, require_windows

__all__ = [
    "FEATURES",
    "BarStore",
    "Bars",
    "InspectReport",
    "SplitSettings",
    "WindowBatch",
    "Windows",
    "denormalise",
    "epoch_order",
    "future_timestamps",
    "infer_interval",
    "inspect_store",
    "load_bars",
    "normalise",
    "require_windows",
    "split_ranges",
    "time_features",
]
