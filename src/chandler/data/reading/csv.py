"""Delimited text into a Table: which line is the header, which delimiter, which column is what.

Values are checked later, in `validation.validate_table`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from chandler.data.columns import PRICES, RawTable, column_notes, is_alias, match_columns, require_columns
from chandler.data.reading.column_roles import resolve_volume_columns
from chandler.data.reading.csv_engine import Layout, has_comma, parse_text, parse_typed
from chandler.data.reading.discovery import Encoded, Source, head_of, utf8_bytes
from chandler.data.reading.frames import wide_table
from chandler.data.reading.timestamps import looks_like_time
from chandler.data.reading.unnamed import as_numbers, behind_prices, price_order
from chandler.errors import DataError

_HEADER_LINES = 30
"""How far down a header may stand, below banners of the vendor."""
_ENOUGH = 1 << 16
"""Characters in which a header is looked for."""
_SAMPLE = 200
"""Lines that are looked at to learn the order of columns without a header."""


@dataclass(frozen=True)
class _Header:
    """Where the column names stand: `line` from 0, -1 for none, the `delimiter`, the `names` themselves."""

    line: int
    delimiter: str
    names: list[str]
    notes: tuple[str, ...] = ()
    roles: Mapping[str, int] | None = None
    """Role -> column, where the names do not tell."""

    @property
    def ids(self) -> list[str]:
        """Columns by position: vendors repeat names and leave them empty."""
        return [f"c{position}" for position in range(len(self.names))]


def read_text(
    source: Source, columns: Mapping[str, str] | None = None, *, typed: bool = False, threads: bool = True
) -> RawTable:
    """A CSV, TSV or TXT file (also packed) as a Table of its known columns, rows in the order of the file.

    `typed`: try the short way, in which the CSV engine makes numbers and times of the cells (`RawTable.typed` says whether
    it could); cells then are no text that a message could show. `threads`: of the engine, for one file.
    Raises DataError for a file that is empty, no text, without the needed columns, or with ragged lines.
    """
    head, encoded = head_of(source)
    lines = (head[:_ENOUGH] if "\n" in head[:_ENOUGH] else head).splitlines()
    if _is_wide(lines):
        return _read_wide(source, encoded, columns)
    header = _header(source, lines, columns)
    names = dict(zip(header.ids, header.names, strict=True))
    found = header.roles or match_columns(header.names, columns, source=str(source))
    require_columns(found, header.names, source=str(source))
    roles = {role: header.ids[position] for role, position in found.items()}
    volumes = [key for key, name in names.items() if re.search(r"vol|turnover|成交", name, re.IGNORECASE)]
    used = list(dict.fromkeys([*roles.values(), *volumes]))
    layout = Layout(source, encoded, header.ids, used, roles, header.line + 1, header.delimiter)
    frame = None
    below: tuple[str, ...] = ()
    if typed:
        first = next((line for line in lines[header.line + 1 :] if line.strip()), "")
        cells = dict(zip(header.ids, names_of(first, header.delimiter), strict=False))
        frame = parse_typed(layout, cells, threads)
    short = frame is not None
    if frame is None:
        frame, below = parse_text(layout, threads)
        if any(has_comma(frame[key]) for role, key in roles.items() if role not in ("timestamp", "time", "symbol")):
            # Numbers such as 1.234,5 came as text, but 1.234 beside them as a float: all have to be text.
            frame, below = parse_text(layout, threads, used)
    notes = [encoded.note] if encoded.note else []
    banner = next((line.strip() for line in reversed(lines[: max(header.line, 0)]) if line.strip()), "")
    if banner:
        notes.append(f"skipped {header.line} line(s) above the header: {banner[:80]!r}")
    if header.delimiter != ",":
        notes.append(f"file: fields separated by {header.delimiter!r}")
    notes += [*header.notes, *below]
    table = RawTable(
        frame,
        roles,
        str(source),
        _Lines(source, encoded, header.line),
        tuple(notes),
        names,
        stated_zone=_banner_zone(lines[: max(header.line, 0)]),
        typed=short,
    )
    return column_notes(resolve_volume_columns(table))


def _banner_zone(banner: list[str]) -> tuple[str, str] | None:
    for line in banner:
        if re.search(r"\btime(stamp)?s?\b.*\b(UTC|GMT)\b|\b(UTC|GMT)\b.*\btime(stamp)?s?\b", line, re.IGNORECASE):
            return "UTC", "because the line above the header says so"
    return None


def _header(source: Source, lines: list[str], columns: Mapping[str, str] | None) -> _Header:
    """The line with the most known column names; else the columns of a file without any."""
    first = next(number for number, line in enumerate(lines) if line.strip())
    best, most = _Header(first, _delimiter(lines[first]), names_of(lines[first], _delimiter(lines[first]))), 1
    for number, line in enumerate(lines[:_HEADER_LINES]):
        if most >= 5:  # a time and four prices: nothing below is a better header
            break
        if len(line) > 65536:
            continue
        for delimiter in ",;\t|":
            if delimiter not in line:
                continue
            names = names_of(line, delimiter)
            if sum(is_alias(name) for name in names) < 2 and not (columns and set(columns.values()) & set(names)):
                continue
            try:
                known = len(match_columns(names))
            except DataError:  # two columns alike: a header all the same, the caller will say so
                known = 2
            known = max(known, len({name for name in (columns or {}).values() if name in names}))
            if known > most:
                best, most = _Header(number, delimiter, names), known
    if most == 1:
        bare = _headless(source, lines[first:], columns)
        if bare is not None:
            return _Header(first - 1, bare.delimiter, bare.names, bare.notes, bare.roles)
    return _trailing(best, lines)


def _delimiter(line: str) -> str:
    return max(",;\t|", key=line.count)


def names_of(line: str, delimiter: str) -> list[str]:
    """The fields of a header line, without quotes and blanks around them."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter))
    except (csv.Error, StopIteration):
        fields = line.split(delimiter)
    return [name.strip().strip('"').strip() for name in fields]


def _trailing(header: _Header, lines: list[str]) -> _Header:
    """Rows that all end in one delimiter more than the header have an empty last column."""
    rows = [line for line in lines[header.line + 1 : header.line + 1 + _SAMPLE] if line.strip()]
    if not rows or not rows[0].endswith(header.delimiter):
        return header
    more = [row for row in rows if row.endswith(header.delimiter) and row.count(header.delimiter) == len(header.names)]
    if len(more) == len(rows):
        return _Header(header.line, header.delimiter, [*header.names, ""], header.notes, header.roles)
    return header


def _headless(source: Source, lines: list[str], columns: Mapping[str, str] | None) -> _Header | None:
    """Roles of a file without column names: a time, four prices that fit open, high, low, close, and volume.

    None where the lines are no such rows, or where the prices do not show which is the high and which the low.
    """
    lines = [line for line in lines[:_SAMPLE] if line.strip()]
    delimiter = _delimiter(lines[0])
    rows = [names_of(line, delimiter) for line in lines]
    width = len(rows[0])
    if any(len(row) != width for row in rows) or width < 5:
        return None
    names = [str(position + 1) for position in range(width)]
    roles, head, start = {"timestamp": 0}, "time", 1
    if not looks_like_time(rows[0][0]):
        if width < 6 or not looks_like_time(rows[0][1]) or not re.fullmatch(r"[A-Za-z][\w.^=/-]*", rows[0][0]):
            return None
        roles, head, start = {"symbol": 0, "timestamp": 1}, "symbol, time", 2
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?(\.\d+)?|\d{6}", rows[0][start]) and width > start + 4:
        roles["time"], start = start, start + 1
    if columns:
        roles |= match_columns(names, columns, source=str(source))
        if set(PRICES) <= set(columns):
            return _Header(-1, delimiter, names, ("file: no header; columns as asked",), roles)
    cells = as_numbers(rows, start)
    order = None if cells is None else price_order(cells[:, :4])
    if cells is None or order is None:
        return None
    roles = {name: start + position for position, name in enumerate(order)} | roles
    extra = behind_prices(cells[:, :4], order, cells[:, 4:])
    kind = ""
    if width == 12 and start == 1:  # kline archives of crypto exchanges
        extra, kind = {"volume": 0, "amount": 2}, " of a Binance archive, amount the eighth"
    roles = {name: start + 4 + position for name, position in extra.items()} | roles
    shown = f"the columns are {head}, {', '.join(order)}{', volume' if extra else ''}{kind}, as the prices show"
    return _Header(-1, delimiter, names, (f"file: no header; {shown}",), roles)


def _is_wide(lines: list[str]) -> bool:
    """A frame with two levels of column names as pandas writes it: Price / Ticker / Date above the rows."""
    if len(lines) < 3:
        return False
    above, second, third = (names_of(line, ",") or [""] for line in lines[:3])
    labels = {name.casefold() for name in (above[0], second[0])}
    return (
        len(above) == len(second) > 2
        and bool(labels & {"ticker", "tickers", "symbol"})
        and third[0].casefold() in ("date", "datetime", "timestamp", "time")
        and not any(third[1:])
    )


def _read_wide(source: Source, encoded: Encoded, columns: Mapping[str, str] | None) -> RawTable:
    try:
        frame = pd.read_csv(
            io.BytesIO(utf8_bytes(source, encoded).read()), header=[0, 1], index_col=0, dtype={0: str}, encoding="utf-8"
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{source}: not a readable table: {error}. Write the file again.") from None
    frame.index.name = "Date"
    table = wide_table(frame, source=str(source), columns=columns)
    alone = table.frame[table.roles["symbol"]].nunique() == 1
    line = _Lines(source, encoded, 2) if alone else None
    notes = ("file: two lines of column names, one of them the tickers", *table.notes)
    return RawTable(table.frame, table.roles, table.source, line, notes, table.names)


@dataclass(frozen=True)
class _Lines:
    """The line in the file, from 1, of a 0-based row. The file is read again only when a message needs it."""

    source: Source
    encoded: Encoded
    header: int

    def __call__(self, row: int) -> int:
        left = row
        with utf8_bytes(self.source, self.encoded) as stream:
            for number, line in enumerate(_lines(stream), 1):
                if number <= self.header + 1 or not line.strip(b"\r\n"):
                    continue
                if left == 0:
                    return number
                left -= 1
        return self.header + 2 + row


def _lines(stream: io.BytesIO | pa.NativeFile) -> list[bytes]:
    return bytes(stream.read()).splitlines()
