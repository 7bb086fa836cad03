"""Forecasts that were asked for: `request` says what one is, `folder` keeps requests and answers in files, `desk` takes them
in, hands them to the warm child, many symbols in parts, and tells what became of them; `table` is the answer a row a symbol.
"""

from chandler.serving.forecasts.desk import ForecastDesk
from chandler.serving.forecasts.folder import Kept, paths_of
from chandler.serving.forecasts.request import ForecastRequest
from chandler.serving.forecasts.table import COLUMNS, csv_lines, rows, write_parquet

__all__ = [
    "COLUMNS",
    "ForecastDesk",
    "ForecastRequest",
    "Kept",
    "csv_lines",
    "paths_of",
    "rows",
    "write_parquet",
]
