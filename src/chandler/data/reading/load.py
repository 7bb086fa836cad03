"""Files, folders and frames in, one BarStore out. Every check of values is in `validation.validate_table`.

One bad file does not hide the others: all files are read, and one error names every one that cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chandler.data.bars import Adjust, Bars, Decimal, Missing, Unsorted
from chandler.data.columns import RawTable
from chandler.data.parallel import by_threads, map_threads, worker_count
from chandler.data.qlib import PREFIX, read_qlib
from chandler.data.reading.csv import read_text
from chandler.data.reading.discovery import COLUMNAR, ROWS, SUFFIXES, TEXT, Source, find_files
from chandler.data.reading.formats import read_columnar, read_json
from chandler.data.reading.frames import as_pandas, frame_table, is_rows, rows_table
from chandler.data.reading.merging import archive_symbol, merge_files
from chandler.data.reading.selection import Selection
from chandler.data.reading.validation import validate_table
from chandler.data.store.store import META, BarStore
from chandler.errors import DataError

SHOWN = 20
"""Bad files that one message lists; of more it says how many."""


@dataclass(frozen=True)
class ReadOptions:
    """How tables are read: see `load_bars`. Plain values, so that other processes can be told."""

    columns: Mapping[str, str] | None = None
    timezone: str | None = None
    date_format: str | None = None
    adjust: Adjust = "auto"
    missing: Missing = "error"
    decimal: Decimal = "auto"
    unsorted: Unsorted = "error"

    def read(self, table: RawTable, symbol: str) -> list[Bars]:
        """The bars of a table; `symbol` names rows that name none."""
        return validate_table(
            table,
            symbol=symbol,
            timezone=self.timezone,
            date_format=self.date_format,
            adjust=self.adjust,
            missing=self.missing,
            decimal=self.decimal,
            unsorted=self.unsorted,
        )

    def read_source(self, source: Source, *, threads: bool = True) -> list[Bars]:
        """The bars of one file. DataError, and no other error, where that fails. `threads`: of the CSV engine."""
        symbol = _symbol(source)
        try:
            table = _table(source, self.columns, threads, typed=self.date_format is None)
            if table.typed:
                with suppress(DataError):  # the long way finds the words for it, in what was written
                    return self.read(table, symbol)
                table = _table(source, self.columns, threads)
            return self.read(table, symbol)
        except DataError:
            raise
        except Exception as error:  # a file must not end in a traceback, whatever is in it
            raise DataError(
                f"{source}: cannot be understood: {type(error).__name__}: {str(error)[:200]}. "
                "Check the file, or give columns= and date_format=."
            ) from error


def load_bars(
    source: Any,
    *,
    symbols: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
    decimal: Decimal = "auto",
    adjust: Adjust = "auto",
    missing: Missing = "error",
    unsorted: Unsorted = "error",
    join: bool = False,
    skip_bad: bool = False,
    start: Any = None,
    end: Any = None,
    market: str = "all",
    freq: str = "day",
) -> BarStore:
    """All bars of a source, validated.

    `source`: a file (CSV, TSV or TXT, JSON lines, also gzipped; JSON, Parquet, Feather, Arrow; a zip of these);
    a folder of them (with its subfolders); a glob; a folder written by `BarStore.save` or `chandler prepare`;
    "qlib:FOLDER"; a pandas or polars frame or Arrow table, with or without a symbol column, also with two levels
    of columns; rows [ms, open, high, low, close, volume] or dicts; a dict symbol -> frame; Bars; a BarStore; or a
    list of any of these. A file without a symbol column is one symbol, named after the file.

    `symbols` picks symbols.
    `columns` maps canonical names (timestamp, time, symbol, open, high, low, close, volume, amount, adj_close)
    to those in the data; columns of a file without header are called "1", "2", ...
    `timezone` is the zone of naive times, and the zone that others are converted to.
    `date_format` is a strptime pattern, for dates that read both ways.
    `decimal` is "." or ",", for numbers that read both ways.
    `adjust`, `missing`, `unsorted`: see `validate_table`.
    `join`: one symbol in several files is joined, where their times do not overlap. Pieces of exchange archives
    (BTCUSDT-1m-2024-01.zip) are joined in any case.
    `skip_bad`: files that cannot be used are left out; `BarStore.skipped` holds a message for each.
    `start`, `end`: dates or times of the local wall clock, both inclusive.
    `market`, `freq`: of a qlib folder, its instrument list and its bars ("day", "1min").

    What was decided in reading is in `BarStore.notes`. Raises DataError, naming file, row and remedy, for
    whatever cannot be used; where several files are bad, one error names them all.
    """
    options = ReadOptions(columns, timezone, date_format, adjust, missing, decimal, unsorted)
    loader = _Loader(options, market, freq, start, end)
    store = loader.load(source, join, skip_bad)
    if symbols is not None:
        if isinstance(symbols, str):
            symbols = [symbols]
        store = store.select(symbols)
    if start is not None or end is not None:
        store = _between(store, start, end)
    return store


@dataclass
class _Loader:
    """One call of load_bars: yields bars, gathers the messages of files that are bad."""

    options: ReadOptions
    market: str
    freq: str
    start: Any
    end: Any

    def __post_init__(self) -> None:
        self.problems: list[str] = []
        self.files = 0

    def load(self, source: Any, join: bool, skip_bad: bool) -> BarStore:
        if isinstance(source, BarStore):
            return source
        if isinstance(source, (str, Path)) and _is_store(source):
            return BarStore.open(source)
        bars = merge_files(list(self.bars(source)), join, self.problems if skip_bad else None)
        if self.problems and (not skip_bad or not bars):
            raise problems_error(self.problems, self.files)
        if not bars:
            raise DataError("nothing to load: the list of sources is empty.")
        store = BarStore.from_bars(bars)
        return replace(store, skipped=tuple(self.problems)) if self.problems else store

    def bars(self, source: Any) -> Iterable[Bars]:
        if isinstance(source, Bars):
            yield source
        elif isinstance(source, BarStore):
            yield from source
        elif isinstance(source, Mapping):
            for symbol, frame in source.items():
                yield from self.named(str(symbol), frame)
        elif isinstance(source, str) and source.startswith(PREFIX):
            folder = source.removeprefix(PREFIX)
            yield from read_qlib(
                folder, market=self.market, start=self.start, end=self.end, freq=self.freq, adjust=self.options.adjust
            )
        elif isinstance(source, (str, Path)):
            yield from self.path(str(source))
        elif is_rows(source):
            yield from self.options.read(rows_table(source, columns=self.options.columns), "")
        elif (frame := as_pandas(source)) is not None:
            yield from self.options.read(frame_table(frame, columns=self.options.columns), "")
        elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
            for one in source:
                yield from self.bars(one)
        else:
            raise DataError(
                f"cannot load bars from a {type(source).__name__}. "
                "Give a file, folder, glob, DataFrame, dict of DataFrames, Bars or a list of these."
            )

    def named(self, symbol: str, frame: Any) -> Iterable[Bars]:
        if isinstance(frame, Bars):
            yield replace(frame, symbol=symbol)
            return
        if is_rows(frame):
            table = rows_table(frame, source=symbol, columns=self.options.columns)
        else:
            converted = as_pandas(frame)
            if converted is None:
                raise DataError(f"{symbol}: expected a DataFrame, but got a {type(frame).__name__}.")
            table = frame_table(converted, source=symbol, columns=self.options.columns)
        # The key names the symbol: a symbol column inside has no say.
        yield from self.options.read(replace(table.without("symbol"), source=""), symbol)

    def path(self, text: str) -> Iterable[Bars]:
        if _is_store(text):
            yield from BarStore.open(text)
            return
        found = find_files(text)
        self.problems += found.problems
        self.files += len(found.sources) + len(found.problems)
        threads = worker_count(found.sources) if by_threads(found.sources) else 1

        def read(source: Source) -> list[Bars] | DataError:
            try:
                return self.options.read_source(source, threads=threads == 1)
            except DataError as error:
                return error

        for result in map_threads(read, found.sources, threads):
            if isinstance(result, DataError):
                self.problems.append(str(result))
            else:
                yield from result


def problems_error(problems: Sequence[str], files: int) -> DataError:
    """One error for all bad files: the message itself of a single file, a list of messages otherwise."""
    if files <= 1 and len(problems) == 1:
        return DataError(problems[0])
    shown = "\n".join(f"- {one}" for one in problems[:SHOWN])
    more = f"\n... and {len(problems) - SHOWN:,} more." if len(problems) > SHOWN else ""
    return DataError(
        f"{len(problems):,} of {files:,} files cannot be used:\n{shown}{more}\n"
        "Correct them, or leave them out with skip_bad=True (--skip-bad)."
    )


def opened(source: str | Sequence[str]) -> list[Path]:
    """The files and folders that `load_bars` opens of a path or of several, so that nobody writes over them.

    Raises DataError where there are none.
    """
    found: list[Path] = []
    for text in [source] if isinstance(source, str) else source:
        path = Path(text.removeprefix(PREFIX)).expanduser()
        if path.exists():
            found.append(path)
        if not text.startswith(PREFIX) and not _is_store(text):
            found += [one.path for one in find_files(text).sources]
    return found


def _is_store(path: str | Path) -> bool:
    try:
        return (Path(path).expanduser() / META).is_file()
    except (OSError, ValueError):
        return False


def _table(source: Source, columns: Mapping[str, str] | None, threads: bool, typed: bool = False) -> RawTable:
    if source.suffix in TEXT:
        return read_text(source, columns, typed=typed, threads=threads)
    if source.suffix in ROWS:
        return read_json(source, columns)
    if source.suffix in COLUMNAR:
        return read_columnar(source, columns)
    raise DataError(f"{source}: not a kind of file that is supported: {', '.join(SUFFIXES)}.")


def _symbol(source: Source) -> str:
    return archive_symbol(source.stem) or source.stem


def _between(store: BarStore, start: Any, end: Any) -> BarStore:
    """The store's rows from `start` to `end`; DataError where there are none."""
    kept = Selection(start=start, end=end).of(store)
    if not kept:
        ends = [(str(bars.timestamps[0]), str(bars.timestamps[-1])) for bars in store if len(bars)]
        begin, finish = min(one for one, _ in ends), max(one for _, one in ends)
        raise DataError(f"no rows between start={start} and end={end}; the data goes from {begin} to {finish}.")
    return replace(BarStore.from_bars(kept), skipped=store.skipped)
