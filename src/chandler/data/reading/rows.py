"""The rows of a delimited text by Arrow's engine: a short way, which knows beforehand what the columns are, and a long one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from chandler.data.reading.discovery import Source
from chandler.data.reading.encoding import Encoded, utf8_bytes
from chandler.errors import DataError
from chandler.text import count

_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
_EPOCH = re.compile(r"[1-9]\d{7}|[1-9]\d{9,18}")
_BLOCK = 4 << 20
"""Bytes that are split and converted at a time."""


@dataclass(frozen=True)
class Layout:
    """Where the rows of a text file are, and which of its columns matter."""

    source: Source
    encoded: Encoded
    ids: Sequence[str]
    """All columns."""
    used: Sequence[str]
    roles: Mapping[str, str]
    """Role -> column."""
    texts: Sequence[str]
    """The columns of times and symbols, and those by which rows are chosen."""
    skip: int
    """Lines above the rows."""
    delimiter: str

    def parse(
        self,
        columns: Sequence[str],
        types: Mapping[str, pa.DataType],
        threads: bool,
        ragged: Callable[[pacsv.InvalidRow], str] | None = None,
        **convert: Any,
    ) -> pa.Table:
        """These columns, of these types where given. ArrowException as the engine raises it."""
        return pacsv.read_csv(
            utf8_bytes(self.source, self.encoded),
            read_options=pacsv.ReadOptions(
                column_names=self.ids, skip_rows=self.skip, use_threads=threads, block_size=_BLOCK
            ),
            parse_options=pacsv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=ragged),
            convert_options=pacsv.ConvertOptions(include_columns=columns, column_types=types, **convert),
        )


def parse_typed(layout: Layout, first: Mapping[str, str], threads: bool) -> pd.DataFrame | None:
    """The short way; None where a cell is not what its column seems to be. `first`: column -> cell of the first row.

    Times come as datetime64[us] or int64, symbols as text, all else as float64, NaN where empty.
    """
    roles = layout.roles
    types = dict.fromkeys(layout.used, pa.float64()) | dict.fromkeys(layout.texts, pa.string())
    if "time" not in roles:
        types[roles["timestamp"]] = _kind_of_time(first.get(roles["timestamp"], ""))
    try:
        # One spelling of an empty cell: the search for many others in every cell costs a tenth of the time.
        table = layout.parse(layout.used, types, threads, null_values=[""], strings_can_be_null=True)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if not table.num_rows or table.column(roles["timestamp"]).null_count:
        return None
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    return frame


def _kind_of_time(cell: str) -> pa.DataType:
    """What the first time looks like; a number with a zero in front is a date as somebody wrote it."""
    if _ISO.fullmatch(cell):
        return pa.timestamp("us")  # in ns, Arrow wraps years such as 3024 round
    return pa.int64() if _EPOCH.fullmatch(cell) else pa.string()


def parse_text(layout: Layout, threads: bool, text: Sequence[str] = ()) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The long way: columns of times, symbols and `text` as strings (008 is a symbol), the others as what they are.

    With notes on what stands below the rows and is none: a line of words, empty rows. Raises DataError for lines of
    another number of fields, and for what is no table.
    """
    source, used = layout.source, layout.used
    text = [*layout.texts, *text]
    ragged: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def parse(columns: Sequence[str], threads: bool, empty: bool = True) -> pa.Table:
        types = dict.fromkeys(text, pa.string())
        return layout.parse(columns, types, threads, note, strings_can_be_null=empty)

    try:
        table = parse(used, threads)
        if ragged:  # only one thread counts rows
            ragged.clear()
            parse(used, threads=False)
        frame = _arrow_frame(table)
        symbol = layout.roles.get("symbol")
        if symbol and frame[symbol].isna().any():  # a ticker may be called NA
            frame[symbol] = parse([symbol], threads, empty=False).column(0).to_pandas()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if "Empty CSV" in str(error):
            return pd.DataFrame({name: [] for name in used}), ()
        if "straddling" in str(error):
            raise DataError(f"{source}: a line is longer than {_BLOCK >> 20} MiB. Write one line per bar.") from None
        raise DataError(f"{source}: not a readable table: {error}. Write the file again.") from None
    notes: tuple[str, ...] = ()
    if ragged and _is_footer(layout, ragged):
        notes = (f"left out {len(ragged)} line(s) below the rows: {ragged[-1].text.strip()[:60]!r}",)
    elif ragged:
        worst = ragged[0]
        line = f" (line {worst.number})" if worst.number else ""
        raise DataError(
            f"{source}: {len(ragged):,} line(s) with another number of fields than the header, which has "
            f"{worst.expected_columns}; the first{line} has {worst.actual_columns}: {worst.text[:80]!r}. "
            "Correct these lines."
        )
    filled = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
    if len(filled) and (empty := len(frame) - int(filled[-1]) - 1):
        frame = frame.iloc[:-empty]
        notes += (f"left out {count(empty, 'empty row')} at the end",)
    return frame, notes


def _is_footer(layout: Layout, ragged: Sequence[pacsv.InvalidRow]) -> bool:
    """Whether these lines are words of the vendor below all rows. A row that was cut short begins with a time."""
    if len(ragged) > 12 or any(row.actual_columns > 1 or re.match(r'[\s"]*[-+\d]', row.text) for row in ragged):
        return False
    with utf8_bytes(layout.source, layout.encoded) as stream:
        last = bytes(stream.read()).rstrip().splitlines()[-len(ragged) :]
    return [line.strip() for line in last] == [row.text.strip().encode() for row in ragged]


def _arrow_frame(table: pa.Table) -> pd.DataFrame:
    """Columns of numbers and of text; whatever else a reader made of them is text again."""
    frame: pd.DataFrame = table.to_pandas()
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_null(kind):
            frame[name] = np.full(len(frame), np.nan)
        elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind)):
            frame[name] = table.column(name).cast(pa.string()).to_pandas()  # a date in a price is text
    return frame
