"""Bars that are offered: bundled ones, files of folders, uploads. `registry` knows them, `offered` finds files, `reading` has a
child process make mapped stores of them, `candles` cuts what a chart shows, `coarser` keeps bars at longer intervals.
"""

from chandler.serving.sources.candles import DAY, Candles, candles, chart_seconds, ends, row_at, step_seconds
from chandler.serving.sources.coarser import CoarserBars
from chandler.serving.sources.offered import upload_name
from chandler.serving.sources.reading import ReadingSettings, child_environment
from chandler.serving.sources.registry import Source, SourceRegistry, summary

__all__ = [
    "DAY",
    "Candles",
    "CoarserBars",
    "ReadingSettings",
    "Source",
    "SourceRegistry",
    "candles",
    "chart_seconds",
    "child_environment",
    "ends",
    "row_at",
    "step_seconds",
    "summary",
    "upload_name",
]
