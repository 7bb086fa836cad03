"""Frames and lists as libraries hand them over, turned into a RawTable: index to columns, wide to long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from chandler.data.columns import (
    PRICES,
    Column,
    RawTable,
    as_series,
    column_notes,
    match_columns,
    require_columns,
    without_twins,
)
from chandler.data.notes import Note
from chandler.data.reading.column_roles import infer_roles, regular_times, resolve_volume_columns
from chandler.data.reading.times import looks_like_time
from chandler.errors import DataError
from chandler.text import listed

_MOMENTS = (int, float, np.number, datetime, np.datetime64)


def frame_table(
    frame: pd.DataFrame, *, source: str = "", timestamps: Any = None, columns: Mapping[str, str] | None = None
) -> RawTable:
    """A frame as a RawTable: its index becomes columns unless it only counts rows.

    Two levels of column names, prices and tickers in either order, become one row per time and ticker.
    Raises DataError for what is no table of bars.
    """
    where = f"{source}: " if source else ""
    if frame.columns.nlevels > 1 and timestamps is None:
        return wide_table(frame, source=source, columns=columns)
    if frame.columns.nlevels > 1:
        raise DataError(f"{where}timestamps= goes with one level of column names; put the times in the index.")
    if timestamps is not None:
        if len(timestamps) != len(frame):
            raise DataError(f"{where}timestamps= has {len(timestamps)} entries for {len(frame)} rows.")
        frame = frame.reset_index(drop=True)
        times = pd.Series(np.asarray(timestamps) if not hasattr(timestamps, "array") else timestamps.array)
        roles = match_columns([str(name) for name in frame.columns], columns, source=source)
        frame = frame.drop(columns=[frame.columns[roles[role]] for role in ("timestamp", "time") if role in roles])
        frame.insert(0, "timestamp", times, allow_duplicates=True)
    names, cells = [str(name) for name in frame.columns], _columns(frame)
    if not isinstance(frame.index, pd.RangeIndex):
        named, levels = _levels(frame.index)
        new = [place for place, name in enumerate(named) if name not in names]
        names, cells = [*(named[place] for place in new), *names], [*(levels[place] for place in new), *cells]
    names, twins = without_twins(names, lambda one, two: as_series(cells[one]).equals(as_series(cells[two])))
    found = match_columns(names, columns, source=source)
    notes: tuple[str, ...] = ()
    if "timestamp" not in (columns or {}) and timestamps is None:
        found, notes = regular_times(found, names, lambda position: as_series(cells[position][:1000]))
    require_columns(found, names, source=source)
    table = RawTable(
        {f"c{position}": column for position, column in enumerate(cells)},
        {role: f"c{position}" for role, position in found.items()},
        source,
        notes=(*twins, *map(Note, notes)),
        names={f"c{position}": name for position, name in enumerate(names)},
    )
    return column_notes(resolve_volume_columns(table))


def _columns(frame: pd.DataFrame) -> list[Column]:
    """The cells of each column. Nothing that is done to a frame as a whole is cheap beside a few hundred rows."""
    if all(kind == np.float64 for kind in frame.dtypes.tolist()):
        return list(frame.to_numpy().T)
    return [column for _, column in frame.reset_index(drop=True).items()]


def _levels(index: pd.Index) -> tuple[list[str], list[Column]]:
    """Names of the levels of an index, empty for none, and their cells; of periods when they begin."""
    names = ["" if name is None else str(name) for name in index.names]
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    levels = [index.get_level_values(place) for place in range(index.nlevels)]
    return names, [level if getattr(level, "freq", None) is None else pd.Series(level) for level in levels]


def wide_table(frame: pd.DataFrame, *, source: str = "", columns: Mapping[str, str] | None = None) -> RawTable:
    """A frame whose columns have two levels, as downloaders of several tickers make them, as a long RawTable.

    The level that holds more price names is the fields. Tickers without a single row are left out, and so are
    the rows that a ticker lacks altogether: joined calendars make them.
    """
    where = f"{source}: " if source else ""
    levels = [frame.columns.get_level_values(number) for number in range(frame.columns.nlevels)]
    if len(levels) != 2:
        raise DataError(f"{where}the frame has {len(levels)} levels of column names; two can be read.")
    known = [len({role for name in set(level) for role in _known(name)}) for level in levels]
    if max(known) < 4:
        require_columns((), [" / ".join(map(str, name)) for name in frame.columns], source=source)
    fields = 0 if known[0] >= known[1] else 1
    parts, empty = [], []
    for ticker in dict.fromkeys(levels[1 - fields]):
        part = frame.loc[:, levels[1 - fields] == ticker]
        part = part.set_axis(part.columns.get_level_values(fields), axis=1).dropna(how="all")
        if not len(part):
            empty.append(ticker)
            continue
        part = part.rename_axis(index=frame.index.name or "Date", columns=None).reset_index()
        part.insert(0, "symbol", str(ticker))
        parts.append(part)
    if not parts:
        raise DataError(f"{where}there are column names but no rows. Give data with at least one row.")
    table = frame_table(pd.concat(parts, ignore_index=True), source=source, columns=columns)
    order = "field first" if fields == 0 else "ticker first"
    notes = (Note(f"columns: two levels of names, {order}: one symbol per ticker", "columns"), *table.notes)
    if empty:
        notes += (Note(f"tickers without a row, left out: {listed(empty, 6)}", "dropped"),)
    return replace(table, notes=notes)


def _known(name: object) -> list[str]:
    return [role for role in match_columns([str(name)]) if role not in ("symbol", "timestamp", "time")]


def rows_table(rows: Sequence[Any], *, source: str = "", columns: Mapping[str, str] | None = None) -> RawTable:
    """Rows as exchanges answer them: lists [ms, open, high, low, close, volume, ...], or one dict per bar.

    Of 12 fields the eighth is the traded value, as Binance answers. Raises DataError, naming the row, for
    rows of other lengths.
    """
    where = f"{source}: " if source else ""
    if isinstance(rows[0], Mapping):
        bad = next((number for number, row in enumerate(rows) if not isinstance(row, Mapping)), None)
        if bad is not None:
            raise DataError(f"{where}row {bad + 1} is no object of named values like the rows before. Correct it.")
        return frame_table(pd.DataFrame(list(rows)), source=source, columns=columns)
    width = len(rows[0])
    if width < 5:
        raise DataError(f"{where}row 1 has {width} values; bars are [time, open, high, low, close, volume].")
    for number, row in enumerate(rows):
        if not isinstance(row, (list, tuple, np.ndarray)) or len(row) != width:
            size = len(row) if hasattr(row, "__len__") else "no"
            raise DataError(f"{where}row {number + 1} has {size} values where row 1 has {width}. Correct it.")
    names, note = _unnamed(rows, where)
    table = frame_table(pd.DataFrame(list(rows), columns=names), source=source, columns=columns)
    return replace(table, notes=(Note(note), *table.notes))


def _unnamed(rows: Sequence[Any], where: str) -> tuple[list[str], str]:
    """Names for the cells of lists, and a note: [time, open, high, low, close, volume] unless the prices say otherwise."""
    roles = infer_roles(rows[:1000], 1, usual=True)
    if roles is None:
        raise DataError(
            f"{where}rows are read as [time, open, high, low, close, volume], but the second price is not the "
            "highest and the third not the lowest. Give dicts or a frame, with the names of the columns."
        )
    names = ["timestamp", *(str(position + 1) for position in range(1, len(rows[0])))]
    for role, position in roles.items():
        names[position] = role
    why = "" if tuple(names[1:5]) == PRICES else ", as the prices show"
    return names, f"columns: lists of [time, {', '.join(names[1:])}]{why}"


def is_rows(source: object) -> bool:
    """Whether a list holds bars (lists of numbers, or dicts with prices) and not sources."""
    if isinstance(source, np.ndarray):
        return source.ndim == 2 and len(source) > 0
    if not isinstance(source, (list, tuple)) or not source:
        return False
    first = source[0]
    if isinstance(first, Mapping):
        return not any(hasattr(value, "columns") or hasattr(value, "values") for value in first.values())
    if not isinstance(first, (list, tuple, np.ndarray)) or not len(first):
        return False
    return isinstance(first[0], _MOMENTS) or (
        isinstance(first[0], str) and len(first) > 4 and looks_like_time(first[0])
    )


def as_pandas(source: Any) -> pd.DataFrame | None:
    """A polars frame or an Arrow table as a pandas frame; None for anything else."""
    if isinstance(source, pd.DataFrame):
        return source
    if type(source).__module__.split(".")[0] == "polars":
        if hasattr(source, "collect"):
            source = source.collect()
        if hasattr(source, "to_arrow") and hasattr(source, "columns"):
            source = source.to_arrow()
    if isinstance(source, (pa.Table, pa.RecordBatch)):
        frame: pd.DataFrame = source.to_pandas()
        return frame
    return None
