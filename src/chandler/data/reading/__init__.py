"""Files, folders, frames and rows in, validated bars out.

The way through: `load_bars` (load, with the options of options) finds files (discovery) and opens text (encoding); csv,
formats and frames make raw tables of them and say which column is what (column_roles); every table goes through
validation, which reads its numbers and timestamps and makes Bars; merging settles symbols that come in several files.
"""

from chandler.data.reading.discovery import STOCKS, SUFFIXES, Source, by_threads, find_files, worker_count
from chandler.data.reading.load import is_store, load_bars, opened, problems_error, read_file, read_market
from chandler.data.reading.merging import Piece, archive_symbol, refuse_strangers
from chandler.data.reading.options import OF_FILES, OF_TABLES, ReadingKeywords, ReadingOptions, takes_options
from chandler.data.reading.times import read_times
from chandler.data.reading.validation import NoSuchRowsError

__all__ = [
    "OF_FILES",
    "OF_TABLES",
    "STOCKS",
    "SUFFIXES",
    "NoSuchRowsError",
    "Piece",
    "ReadingKeywords",
    "ReadingOptions",
    "Source",
    "archive_symbol",
    "by_threads",
    "find_files",
    "is_store",
    "load_bars",
    "opened",
    "problems_error",
    "read_file",
    "read_market",
    "read_times",
    "refuse_strangers",
    "takes_options",
    "worker_count",
]
