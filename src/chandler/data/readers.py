"""Files, folders and frames in, one BarStore out. Every check of values is in `bars.read_table`."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

from chandler.data.bars import Adjust, Bars, Missing, read_table
from chandler.data.columns import Table, frame_table, listed
from chandler.data.store import META, BarStore
from chandler.data.textfiles import read_text
from chandler.errors import DataError

TEXT = (".csv", ".tsv", ".txt")
BINARY = (".parquet", ".pq", ".feather", ".arrow")
SUFFIXES = (*TEXT, *(suffix + ".gz" for suffix in TEXT), *BINARY)


@dataclass(frozen=True)
class _Options:
    columns: Mapping[str, str] | None
    timezone: str | None
    date_format: str | None
    adjust: Adjust
    missing: Missing

    def read(self, table: Table, symbol: str) -> list[Bars]:
        return read_table(
            table,
            symbol=symbol,
            timezone=self.timezone,
            date_format=self.date_format,
            adjust=self.adjust,
            missing=self.missing,
        )


def load_bars(
    source: Any,
    *,
    symbols: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
    start: Any = None,
    end: Any = None,
) -> BarStore:
    """All bars of a source, validated.

    `source`: a CSV, TSV, TXT (also .gz), Parquet or Feather file; a folder of them (with its subfolders); a
    glob; a folder written by `BarStore.save`; a frame, with or without a symbol column; a dict symbol ->
    frame; Bars; a BarStore; or a list of any of these. A file without a symbol column is one symbol, named
    after the file.
    `symbols` picks symbols. `columns` maps canonical names (timestamp, time, symbol, open, high, low, close,
    volume, amount, adj_close) to those in the data. `timezone` is the zone of naive times, and the zone that
    others are converted to. `date_format` is a strptime pattern. `adjust`, `missing`: see `read_table`.
    `start`, `end`: dates or times of the local wall clock, both inclusive.

    Raises DataError, naming file, row and remedy, for whatever cannot be used.
    """
    store = _load(source, _Options(columns, timezone, date_format, adjust, missing))
    if symbols is not None:
        if isinstance(symbols, str):
            symbols = [symbols]
        store = store.select(symbols)
    if start is not None or end is not None:
        store = _between(store, start, end)
    return store


def _load(source: Any, options: _Options) -> BarStore:
    if isinstance(source, BarStore):
        return source
    if isinstance(source, (str, Path)) and (Path(source) / META).is_file():
        return BarStore.open(source)
    bars = list(_bars(source, options))
    if not bars:
        raise DataError("nothing to load: the list of sources is empty.")
    return BarStore.from_bars(bars)


def _bars(source: Any, options: _Options) -> Iterable[Bars]:
    if isinstance(source, Bars):
        yield source
    elif isinstance(source, BarStore):
        yield from source
    elif isinstance(source, pd.DataFrame):
        yield from options.read(frame_table(source, columns=options.columns), "")
    elif isinstance(source, Mapping):
        for symbol, frame in source.items():
            yield from _named_frame(str(symbol), frame, options)
    elif isinstance(source, (str, Path)):
        yield from _path(str(source), options)
    elif isinstance(source, Iterable):
        for one in source:
            yield from _bars(one, options)
    else:
        raise DataError(
            f"cannot load bars from a {type(source).__name__}. "
            "Give a file, folder, glob, DataFrame, dict of DataFrames, Bars or a list of these."
        )


def _named_frame(symbol: str, frame: Any, options: _Options) -> Iterable[Bars]:
    if isinstance(frame, Bars):
        yield replace(frame, symbol=symbol)
        return
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{symbol}: expected a DataFrame, but got a {type(frame).__name__}.")
    table = frame_table(frame, source=symbol, columns=options.columns)
    # The key names the symbol: a symbol column inside has no say.
    yield from options.read(replace(table.without("symbol"), source=""), symbol)


def _path(source: str, options: _Options) -> Iterable[Bars]:
    path = Path(source).expanduser()
    if path.is_dir():
        if (path / META).is_file():
            yield from BarStore.open(path)
            return
        files = sorted(file for file in path.rglob("*") if file.is_file() and _suffix(file))
        if not files:
            raise DataError(f"{path}: no data files in this folder. Supported are {', '.join(SUFFIXES)}.")
    elif path.exists():
        files = [path]
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if not files:
            there = listed(sorted(file.name for file in path.parent.iterdir()), 6) if path.parent.is_dir() else ""
            hint = f"In {path.parent} there are {there}." if there else "Check the path."
            raise DataError(f"{path}: no such file or folder. {hint}")
    for file in files:
        table = read_text(file, options.columns) if _suffix(file) in TEXT else _read_binary(file, options)
        yield from options.read(table, _stem(file))


def _suffix(path: Path) -> str:
    """`.csv` of `a.csv.gz`; empty where the file is none of ours."""
    name = path.name.lower()
    return next((suffix.removesuffix(".gz") for suffix in SUFFIXES if name.endswith(suffix)), "")


def _stem(path: Path) -> str:
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _read_binary(path: Path, options: _Options) -> Table:
    suffix = _suffix(path)
    if not suffix:
        raise DataError(f"{path}: not a kind of file that is supported: {', '.join(SUFFIXES)}.")
    try:
        frame = parquet.read_table(path).to_pandas() if suffix in BINARY[:2] else feather.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: unreadable as {suffix[1:]}: {error}. Write the file again.") from None
    return frame_table(frame, source=str(path), columns=options.columns)


def _between(store: BarStore, start: Any, end: Any) -> BarStore:
    """Rows from `start` to `end` of the local wall clock; a plain date as `end` takes the whole day."""
    try:
        first = None if start is None else pd.Timestamp(start)
        last = None if end is None else pd.Timestamp(end)
    except (ValueError, TypeError) as error:
        raise DataError(f"start and end must be dates such as '2024-06-30': {error}.") from None
    if last is not None and last == last.normalize() and last.tz is None:
        last += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    kept = []
    for bars in store:
        lo = 0 if first is None else _position(bars.timestamps, first, "left")
        hi = len(bars) if last is None else _position(bars.timestamps, last, "right")
        if hi > lo:
            kept.append(bars.slice(lo, hi))
    if not kept:
        begin, finish = min(bars.timestamps[0] for bars in store), max(bars.timestamps[-1] for bars in store)
        raise DataError(f"no rows between start={start} and end={end}; the data goes from {begin} to {finish}.")
    return BarStore.from_bars(kept)


def _position(index: pd.DatetimeIndex, moment: pd.Timestamp, side: Any) -> int:
    if moment.tz is None:
        index = index.tz_localize(None)
    elif index.tz is None:
        moment = moment.tz_localize(None)
    return int(index.searchsorted(moment, side=side))
