"""Files, folders and frames in, one BarStore out. Every check of values is in `validation.validate_table`.

One bad file does not hide the others: all files are read, and one error names every one that cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

from chandler.data.bars import Bars, TableKeywords, register_frame_reader
from chandler.data.columns import RawTable
from chandler.data.parallel import map_threads
from chandler.data.qlib import PREFIX, read_qlib, require_qlib
from chandler.data.reading.csv import read_text
from chandler.data.reading.discovery import (
    COLUMNAR,
    ROWS,
    SUFFIXES,
    TEXT,
    Source,
    by_threads,
    find_files,
    worker_count,
)
from chandler.data.reading.formats import read_columnar, read_json
from chandler.data.reading.frames import as_pandas, frame_table, is_rows, rows_table
from chandler.data.reading.merging import merge_files, symbol_of
from chandler.data.reading.options import (
    OF_FILES,
    OF_TABLES,
    LeftOut,
    ReadingKeywords,
    ReadingOptions,
    takes_options,
)
from chandler.data.reading.validation import NoSuchRowsError, validate_table
from chandler.data.store import META, BarStore, no_such_symbol
from chandler.errors import DataError
from chandler.text import count

SHOWN = 20
"""Bad files that one message lists; of more it says how many."""


@takes_options
def load_bars(source: Any, **options: Unpack[ReadingKeywords]) -> BarStore:
    """All bars of a source, validated.

    `source`: a file (CSV, TSV or TXT, JSON lines, also gzipped; JSON, Parquet, Feather, Arrow; a zip of these);
    a folder of them (with its subfolders); a glob; a folder written by `BarStore.save` or `chandler prepare`;
    "qlib:FOLDER"; a pandas or polars frame or Arrow table, with or without a symbol column, also with two levels
    of columns; rows [ms, open, high, low, close, volume] or dicts; a dict symbol -> frame; Bars; a BarStore; or a
    list of any of these. A file without a symbol column is one symbol, named after the file, or after its folder where
    that is called `symbol=AAPL`.

    `symbols` picks symbols.
    `columns` maps canonical names (timestamp, time, symbol, open, high, low, close, volume, amount, adj_close)
    to those in the data, "" to none of them; columns of a file without header are called "1", "2", ...
    `where`: only rows whose cell in a column (by its name in the data) is this text: {"SctySrs": "EQ"}.
    `timezone` is the zone of times that state none, and the zone that others are converted to; a column called `Gmt time`
    or a banner that says UTC states one.
    `date_format` is a strptime pattern, for dates that read both ways.
    `decimal` is "." or ",", for numbers that read both ways.
    `price_scale`: what prices are divided by, where they are written as whole numbers (10000: 4721500 is 472.15);
    1 says that they are right as they are.
    `adjust`: "auto" scales prices by adj_close / close and volume by the inverse, where there is an adj_close; "none".
    `missing`: rows with a price that is missing, 0 or negative are errors, or left out with "drop", as vendors write 0
    where nothing traded; "split" leaves them out too, and no window crosses the place (`Bars.segments`).
    `unsorted`: a symbol's rows run forward or, newest first, backward in time; others are errors, or sorted with "sort".
    `join`: one symbol in several files is joined, where their times do not overlap. Pieces of exchange archives
    (BTCUSDT-1m-2024-01.zip) are joined in any case.
    `skip_bad`: files that cannot be used are left out; `BarStore.skipped` holds a message for each, and for files
    of a folder that could hold bars and are of no kind that is read (.xlsx, .bz2).
    `start`, `end`: dates or times of the local wall clock, year first (2024-06-30 09:30, 2024-06, 2024), both inclusive.
    `market`, `freq`: of a qlib folder, its instrument list and its bars ("day", "1min").
    Of a qlib folder, and of bars that were read before, the options that say how a table is read are refused.

    What was decided in reading is in `BarStore.notes`. Raises DataError, naming file, row and remedy, for
    whatever cannot be used; where several files are bad, one error names them all.
    """
    return _Loader(ReadingOptions(**options)).load(source)


def read_frame(frame: Any, symbol: str, source: str, timestamps: Any, options: TableKeywords) -> Bars:
    """The bars of a frame of one symbol: see `Bars.from_frame`."""
    for name in options.keys() - TableKeywords.__annotations__.keys():
        raise TypeError(f"from_frame() got an unexpected keyword argument {name!r}")
    converted = as_pandas(frame)
    if converted is None:
        raise DataError(f"expected a frame, but got a {type(frame).__name__}: see load_bars for other sources.")
    table = frame_table(converted, source=source, timestamps=timestamps, columns=options.get("columns"))
    bars = validate_table(table, ReadingOptions(**options), symbol, single=bool(symbol))
    if len(bars) > 1:
        raise DataError(
            f"{source + ': ' if source else ''}the frame holds {len(bars)} symbols "
            f"({', '.join(one.symbol for one in bars[:3])}): use load_bars(frame), or pick one."
        )
    return bars[0]


register_frame_reader(read_frame)


def read_file(
    source: Source, options: ReadingOptions, *, threads: bool = True, left: dict[str, LeftOut] | None = None
) -> list[Bars]:
    """The bars of one file that the options ask for; the symbols of others go into `left`. `threads`: of the CSV engine.

    DataError, and no other error, where that fails.
    """
    symbol = symbol_of(source)
    try:
        # A decimal comma is of what was written: 1.234 must not become a number before.
        table = _table(source, options, threads, typed=options.date_format is None and options.decimal != ",")
        if table.typed:
            try:
                return validate_table(table, options, symbol, left)
            except NoSuchRowsError:
                raise
            except DataError:
                pass  # the long way finds the words for it, in what was written
            table = _table(source, options, threads)
        return validate_table(table, options, symbol, left)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{source}: too big for the memory there is. Split the file.") from error
    except Exception as error:  # a file must not end in a traceback, whatever is in it
        raise DataError(
            f"{source}: cannot be understood: {type(error).__name__}: {str(error)[:200]}. "
            "Check the file, or give columns= and date_format=."
        ) from error


def read_market(folder: str | Path, options: ReadingOptions) -> list[Bars]:
    """The bars of a Qlib folder that the options ask for."""
    o = options
    return read_qlib(folder, market=o.market, start=o.start, end=o.end, freq=o.freq, adjust=o.adjust)


@dataclass
class _Loader:
    """One call of load_bars: yields bars, gathers the messages of files that are bad."""

    options: ReadingOptions
    problems: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    files: int = 0
    left: dict[str, LeftOut] = field(default_factory=dict)
    """Symbols that have no row among those asked for."""
    unmatched: list[str] = field(default_factory=list)
    """A message for each table without a row that `where` asks for."""

    def load(self, source: Any) -> BarStore:
        o = self.options
        if (o.market, o.freq) != ("all", "day"):
            several = source if isinstance(source, (list, tuple)) else [source]
            paths = [str(one) if isinstance(one, (str, Path)) else f"a {type(one).__name__}" for one in several]
            require_qlib(paths or ["an empty list"], o.market, o.freq)
        if isinstance(source, (str, Path)) and is_store(source):
            o.refuse(OF_FILES, f"{source}: a store")
            source = BarStore.open(source)
        elif isinstance(source, BarStore):
            o.refuse(OF_FILES, "a BarStore")
        if isinstance(source, BarStore) and (o.symbols, o.start, o.end) == (None, None, None):
            return source
        chosen = [one for found in self.bars(source) for one in o.select([found], self.left)]
        bars = merge_files(chosen, o.join, self.problems if o.skip_bad else None)
        if self.problems and (not o.skip_bad or not bars):
            raise problems_error(self.problems, self.files)
        there = {one.symbol: one for one in bars}
        for symbol in o.symbols or ():
            if symbol not in there and self.left.get(symbol) is None:
                raise no_such_symbol(symbol, sorted({*there, *self.left}))
        dated = {symbol: ends for symbol, ends in self.left.items() if ends and symbol not in there}
        between = f"between start={o.start} and end={o.end}"
        if not bars and dated:
            begin, finish = min(ends[0] for ends in dated.values()), max(ends[1] for ends in dated.values())
            raise DataError(f"no rows {between}; the data goes from {begin} to {finish}.")
        if not bars and self.unmatched:
            more = len(self.unmatched) - 1
            raise DataError(self.unmatched[0] + (f" {count(more, 'other table')} have none either." if more else ""))
        if not bars:
            raise DataError("nothing to load: the list of sources is empty.")
        if o.symbols is not None:
            bars = [there[symbol] for symbol in o.symbols if symbol in there]
        store = BarStore.from_bars(bars)
        told = [f"{symbol}: no row {between}; its rows go from {a} to {b}" for symbol, (a, b) in dated.items()]
        earlier = source.skipped if isinstance(source, BarStore) else ()
        return replace(store, skipped=(*earlier, *self.problems, *told, *self.passed))

    def bars(self, source: Any) -> Iterable[Bars]:
        if isinstance(source, Bars):
            self.options.refuse(OF_FILES, f"{source.symbol}: Bars")
            yield source
        elif isinstance(source, BarStore):
            self.options.refuse(OF_FILES, "a BarStore")
            yield from source
        elif isinstance(source, Mapping):
            for symbol, frame in source.items():
                yield from self.named(str(symbol), frame)
        elif isinstance(source, str) and source.startswith(PREFIX):
            self.options.refuse(OF_TABLES, f"{source}: a Qlib folder")
            yield from read_market(source.removeprefix(PREFIX), self.options)
        elif isinstance(source, (str, Path)):
            yield from self.path(str(source))
        elif (table := self.table(source)) is not None:
            yield from self.validated(table)
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
            yield from self.bars(replace(frame, symbol=symbol))
            return
        table = self.table(frame, symbol)
        if table is None:
            raise DataError(f"{symbol}: expected a DataFrame, but got a {type(frame).__name__}.")
        # The key names the symbol, whatever a symbol column inside calls it.
        yield from self.validated(replace(table, source=""), symbol, single=True)

    def validated(self, table: RawTable, symbol: str = "", *, single: bool = False) -> list[Bars]:
        try:
            return validate_table(table, self.options, symbol, self.left, single=single)
        except NoSuchRowsError as none:
            self.unmatched.append(f"{symbol}: {none}" if symbol else str(none))
            return []

    def table(self, source: Any, name: str = "") -> RawTable | None:
        """Rows or a frame as a table; None for anything else."""
        if is_rows(source):
            return rows_table(source, source=name, columns=self.options.columns)
        frame = as_pandas(source)
        return None if frame is None else frame_table(frame, source=name, columns=self.options.columns)

    def path(self, text: str) -> Iterable[Bars]:
        if is_store(text):
            self.options.refuse(OF_FILES, f"{text}: a store")
            yield from BarStore.open(text)
            return
        sources, problems, passed = find_files(text)
        self.problems += problems
        self.passed += passed
        self.files += len(sources) + len(problems)
        threads = worker_count(sources) if by_threads(sources) else 1

        def read(source: Source) -> list[Bars] | DataError:
            try:
                return read_file(source, self.options, threads=threads == 1, left=self.left)
            except DataError as error:
                return error

        for result in map_threads(read, sources, threads):
            if isinstance(result, NoSuchRowsError):
                self.unmatched.append(str(result))
            elif isinstance(result, DataError):
                self.problems.append(str(result))
            else:
                yield from result


def problems_error(problems: Sequence[str], files: int) -> DataError:
    """One error for all bad files: the message itself of a single file, a list of messages otherwise."""
    if files <= 1 and len(problems) == 1:
        return DataError(problems[0])
    alike: dict[str, list[str]] = {}
    for one in problems:  # FILE: SYMBOL: what is wrong with it (where, which numbers)
        alike.setdefault(re.sub(r"^[^:]*: |\(.*?\)|[\d.,:]+", "", one.partition(": ")[2]), []).append(one)
    lines = [
        f"- {found[0]}" + (f" (and {len(found) - 1:,} more like it)" if found[1:] else "") for found in alike.values()
    ]
    shown = "\n".join(lines[:SHOWN])
    more = f"\n... and {len(lines) - SHOWN:,} more." if len(lines) > SHOWN else ""
    return DataError(
        f"{len(problems):,} of {files:,} files cannot be used:\n{shown}{more}\n"
        "Correct them, or leave them out with skip_bad=True."
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
        if not text.startswith(PREFIX) and not is_store(text):
            found += [one.path for one in find_files(text).sources]
    return found


def is_store(path: str | Path) -> bool:
    """Whether a folder is a store, saved whole or prepared."""
    try:
        return (Path(path).expanduser() / META).is_file()
    except (OSError, ValueError):
        return False


def _table(source: Source, options: ReadingOptions, threads: bool, typed: bool = False) -> RawTable:
    columns = options.columns
    if source.suffix in TEXT:
        also, decimal = options.where or (), options.decimal
        return read_text(source, columns, also=also, decimal=decimal, typed=typed, threads=threads)
    if source.suffix in ROWS:
        return read_json(source, columns)
    if source.suffix in COLUMNAR:
        return read_columnar(source, columns)
    raise DataError(f"{source}: not a kind of file that is supported: {', '.join(SUFFIXES)}.")
