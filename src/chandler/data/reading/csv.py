"""Delimited text into a table: which line is the header, which delimiter, which column is what.

The rows take a short way or a long one (`rows`). The short one says beforehand what the columns are; anything unusual ends
it, and the long one reads the file again and finds the words for it. Values are checked later, in `validation`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from chandler.data.bars import Decimal
from chandler.data.column_names import is_alias
from chandler.data.columns import (
    FEATURES,
    PRICES,
    RawTable,
    column_notes,
    match_columns,
    require_columns,
    without_twins,
)
from chandler.data.notes import Note
from chandler.data.reading.column_roles import infer_roles, regular_times, resolve_volume_columns
from chandler.data.reading.discovery import Source
from chandler.data.reading.encoding import Encoded, head_of, utf8_bytes
from chandler.data.reading.frames import wide_table
from chandler.data.reading.rows import Layout, parse_text, parse_typed
from chandler.data.reading.times import looks_like_time
from chandler.errors import DataError

_HEADER_LINES = 30
"""How far down a header may stand, below banners of the vendor."""
_ENOUGH = 1 << 16
"""Characters in which a header is looked for."""
_SAMPLE = 200
"""Lines that are looked at to learn the order of columns without a header."""

_CLOCK = r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?"


@dataclass(frozen=True)
class _Header:
    """Where the column names stand: `line` from 0, -1 for none, the `delimiter`, the `names` themselves."""

    line: int
    delimiter: str
    names: list[str]
    notes: tuple[Note, ...] = ()
    roles: Mapping[str, int] | None = None
    """Role -> column, where the names do not tell."""
    lean: bool = False
    """Whether the file is one of LEAN: see `RawTable.lean`."""

    @property
    def ids(self) -> list[str]:
        """Columns by position: vendors repeat names and leave them empty."""
        return [f"c{position}" for position in range(len(self.names))]


def read_text(
    source: Source,
    columns: Mapping[str, str] | None = None,
    *,
    also: Collection[str] = (),
    decimal: Decimal = "auto",
    typed: bool = False,
    threads: bool = True,
) -> RawTable:
    """A CSV, TSV or TXT file (also packed) as a RawTable of its known columns, rows in the order of the file.

    `also`: names of further columns, as text. `typed`: try the short way, in which the CSV engine makes numbers and times
    of the cells (`RawTable.typed` says whether it could); cells then are no text that a message could show. It knows the
    decimal point alone: with `decimal` "," no number is made of a cell here. `threads`: of the engine, for one file.
    Raises DataError for a file that is empty, no text, without the needed columns, or with ragged lines.
    """
    head, encoded = head_of(source)
    lines = (head[:_ENOUGH] if "\n" in head[:_ENOUGH] else head).splitlines()
    if _is_wide(lines):
        return _read_wide(source, encoded, columns, decimal)
    header = _once(source, encoded, _header(source, lines, columns))
    names = dict(zip(header.ids, header.names, strict=True))
    sample = [line for line in lines[header.line + 1 :][:_SAMPLE] if line.strip()]
    first = names_of(sample[0], header.delimiter) if sample else []
    found, day = _dated(source, dict(header.roles or match_columns(header.names, columns, source=str(source))), first)
    told: tuple[str, ...] = ()
    if "timestamp" not in (columns or {}):
        rows = [(*names_of(line, header.delimiter), *[""] * len(header.names)) for line in sample]
        found, told = regular_times(found, header.names, lambda position: pd.Series([row[position] for row in rows]))
    require_columns([*found, "timestamp"] if day else found, header.names, source=str(source), line=header.line + 1)
    roles = {role: header.ids[position] for role, position in found.items()}
    volumes = [key for key, name in names.items() if re.search(r"vol|turnover|成交", name, re.IGNORECASE)]
    further = [key for key, name in names.items() if name in also]
    used = list(dict.fromkeys([*roles.values(), *volumes, *further]))
    texts = [*(roles[role] for role in ("timestamp", "time", "symbol") if role in roles), *further]
    layout = Layout(source, encoded, header.ids, used, roles, texts, header.line + 1, header.delimiter)
    frame = None
    below: tuple[str, ...] = ()
    if typed and not day:
        frame = parse_typed(layout, dict(zip(header.ids, first, strict=False)), threads)
    short = frame is not None
    if frame is None:
        frame, below = parse_text(layout, threads, used if decimal == "," else ())
        if any(_shows_comma(frame[key]) for key in roles.values() if key not in layout.texts):
            # Numbers such as 1.234,5 came as text, but 1.234 beside them as a float: all have to be text.
            frame, below = parse_text(layout, threads, used)
    notes = [encoded.note] if encoded.note else []
    banner = [line.strip() for line in lines[: max(header.line, 0)] if line.strip()]
    if banner:
        notes.append(f"skipped {header.line} line(s) above the header: {banner[-1][:80]!r}")
    if encoded.blanks:
        notes.append("file: columns separated by blanks")
    elif header.delimiter != ",":
        notes.append(f"file: fields separated by {header.delimiter!r}")
    notes += [*told, *below]
    if day:
        if "time" not in roles and 2 * frame[roles["symbol"]].nunique() < len(frame):  # a series, not a day of many
            require_columns(found, header.names, source=str(source), line=header.line + 1)
        if header.lean:  # milliseconds since midnight; the folder is called after the symbol
            frame[roles["time"]] = (
                pd.Timestamp(0) + pd.to_timedelta(frame[roles["time"]].astype("int64"), "ms")
            ).dt.strftime("%H:%M:%S")
            frame, roles = frame.assign(folder=source.path.absolute().parent.name), {**roles, "symbol": "folder"}
        frame, roles, names = _by_name(source, frame, roles, names)
        notes.append("times: no column has the date: taken from the file's name")
    line = _Lines(source, encoded, header.line)
    table = RawTable(
        {str(key): column for key, column in frame.items()},
        roles,
        str(source),
        line,
        (*map(Note, notes), *header.notes),
        names,
        stated_zone=_banner_zone(banner),
        typed=short,
        lean=header.lean,
        written=lambda row: dict(zip(header.names, names_of(line.text(row), header.delimiter), strict=False)),
    )
    return column_notes(resolve_volume_columns(table))


def _dated(source: Source, found: dict[str, int], first: Sequence[str]) -> tuple[dict[str, int], bool]:
    """Role -> column, and whether the date is that of the file's name: no column has it, or one has the time of day only.

    A file of one day is one of many symbols, or has such a column. `first`: the cells of the first row.
    """
    time = found.get("timestamp")
    clock = time is not None and time < len(first) and re.fullmatch(_CLOCK, first[time]) and "time" not in found
    if time is not None and clock and source.day:
        return {role: at for role, at in found.items() if role != "timestamp"} | {"time": time}, True
    return found, bool(time is None and {"symbol", "time"} & set(found) and set(PRICES) <= set(found) and source.day)


def _by_name(
    source: Source, frame: pd.DataFrame, roles: Mapping[str, str], names: Mapping[str, str]
) -> tuple[pd.DataFrame, dict[str, str], dict[str, str]]:
    """Rows, roles and names with the date, and the symbol where no column is one, of the file's name."""
    new = {"timestamp": pd.Timestamp(source.day)} | ({} if "symbol" in roles else {"symbol": source.undated})
    keys = {role: f"{role} by name" for role in new}
    added = {keys[role]: value for role, value in new.items()}
    return frame.assign(**added), {**roles, **keys}, {**names, **dict.fromkeys(added, "the file's name")}


def _banner_zone(banner: list[str]) -> tuple[str, str] | None:
    zone = re.compile(r"\btime(stamp)?s?\b.*\b(UTC|GMT)\b|\b(UTC|GMT)\b.*\btime(stamp)?s?\b", re.IGNORECASE)
    return ("UTC", "because the line above the header says so") if any(map(zone.search, banner)) else None


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
            return replace(bare, line=first - 1)
    return _trailing(best, lines)


def _once(source: Source, encoded: Encoded, header: _Header) -> _Header:
    """The header without names that come twice over equal cells."""

    def equal(one: int, two: int) -> bool:
        keys = [header.ids[one], header.ids[two]]
        layout = Layout(source, encoded, header.ids, keys, {}, keys, header.line + 1, header.delimiter)
        frame, _ = parse_text(layout, threads=False)
        return bool(frame[keys[0]].equals(frame[keys[1]]))

    names, notes = without_twins(header.names, equal)
    return replace(header, names=names, notes=(*header.notes, *notes)) if notes else header


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
    width = len(header.names)
    if rows and all(row.endswith(header.delimiter) and row.count(header.delimiter) == width for row in rows):
        return replace(header, names=[*header.names, ""])
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
    if columns and {"timestamp", *PRICES} <= set(columns):
        asked = match_columns(names, columns, source=str(source))
        return _Header(-1, delimiter, names, (Note("file: no header; columns as asked"),), asked)
    lean = _lean(source, rows)
    if lean:
        note = "file: no header; the columns are time, open, high, low, close, volume, as LEAN has them"
        return _Header(
            -1, delimiter, names, (Note(note),), {lean: 0} | {role: at for at, role in enumerate(FEATURES[:5], 1)}, True
        )
    if not looks_like_time(rows[0][0]):
        if width < 6 or not looks_like_time(rows[0][1]) or not re.fullmatch(r"[A-Za-z][\w.^=/-]*", rows[0][0]):
            return None
        roles, head, start = {"symbol": 0, "timestamp": 1}, "symbol, time", 2
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?(\.\d+)?|\d{6}", rows[0][start]) and width > start + 4:
        roles["time"], start = start, start + 1
    if columns:
        roles |= match_columns(names, columns, source=str(source))
        if set(PRICES) <= set(columns):
            return _Header(-1, delimiter, names, (Note("file: no header; columns as asked"),), roles)
    inferred = infer_roles(rows, start)
    if inferred is None:
        return None
    order = ", ".join(role for role in inferred if role in PRICES) + (", volume" if "volume" in inferred else "")
    kind = " of a Binance archive, amount the eighth" if width == 12 and start == 1 else ""
    shown = f"the columns are {head}, {order}{kind}, as the prices show"
    return _Header(-1, delimiter, names, (Note(f"file: no header; {shown}"),), inferred | roles)


def _lean(source: Source, rows: Sequence[Sequence[str]]) -> str:
    """What the first column of a file of LEAN is: the `timestamp`, 20240102 00:00, or the `time`, in milliseconds since the
    midnight of the day in the file's name; empty for other files.
    """
    if any(len(row) != 6 or not all(cell.isdigit() for cell in row[1:5]) for row in rows):
        return ""
    if all(re.fullmatch(r"\d{8} \d\d:\d\d", row[0]) for row in rows):
        return "timestamp"
    clock = all(re.fullmatch(r"\d{1,5}000|0", row[0]) and int(row[0]) < 86_400_000 for row in rows)
    return "time" if clock and source.day else ""


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


def _read_wide(source: Source, encoded: Encoded, columns: Mapping[str, str] | None, decimal: Decimal) -> RawTable:
    def read(dtype: Any) -> pd.DataFrame:
        content = io.BytesIO(utf8_bytes(source, encoded).read())
        return pd.read_csv(content, header=[0, 1], index_col=0, dtype=dtype, encoding="utf-8")

    try:
        frame = read(str if decimal == "," else {0: str})
        if any(_shows_comma(column) for _, column in frame.items()):
            frame = read(str)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{source}: not a readable table: {error}. Write the file again.") from None
    frame.index.name = "Date"
    table = wide_table(frame, source=str(source), columns=columns)
    alone = table.series(table.roles["symbol"]).nunique() == 1
    line = _Lines(source, encoded, 2) if alone else None
    notes = (Note("file: two lines of column names, one of them the tickers"), *table.notes)
    return replace(table, line=line, notes=notes)


@dataclass(frozen=True)
class _Lines:
    """The line in the file, from 1, of a 0-based row. The file is read again only when a message needs it."""

    source: Source
    encoded: Encoded
    header: int

    def __call__(self, row: int) -> int:
        return self._found(row)[0]

    def text(self, row: int) -> str:
        """The line itself."""
        return self._found(row)[1]

    def _found(self, row: int) -> tuple[int, str]:
        with utf8_bytes(self.source, self.encoded) as stream:
            lines = bytes(stream.read()).splitlines()
        filled = [found for found in enumerate(lines, 1) if found[0] > self.header + 1 and found[1]]
        number, line = filled[row] if row < len(filled) else (self.header + 2 + row, b"")
        return number, line.decode(errors="replace")


def _shows_comma(column: pd.Series) -> bool:
    """Whether a cell may have a decimal comma: one beside a digit, or points between groups of three, 1.234.567."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    return bool(column.dropna().astype("string").str.contains(r"\d,|,\d|\d\.\d{3}\.\d{3}", regex=True).any())
