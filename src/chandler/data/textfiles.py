"""Delimited text into a Table: which line is the header, which delimiter, which column is what.

Values are checked later, in `bars.read_table`.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from chandler.data.columns import Table, match_columns, require_columns
from chandler.errors import DataError

_HEADER_LINES = 10
"""How far down a header may stand, below banners of the vendor."""


@dataclass(frozen=True)
class _Header:
    """Where the column names stand: `line` from 0, the `delimiter`, the `names` themselves."""

    line: int
    delimiter: str
    names: list[str]

    @property
    def ids(self) -> list[str]:
        """Columns by position: vendors repeat names and leave them empty."""
        return [f"c{position}" for position in range(len(self.names))]


def read_text(path: Path, columns: Mapping[str, str] | None = None) -> Table:
    """A CSV, TSV or TXT file (also gzipped) as a Table of its known columns, rows in the order of the file.

    Raises DataError for a file that is empty, not UTF-8, without the needed columns, or with ragged lines.
    """
    content = _content(path)
    if not content.strip():
        raise DataError(f"{path}: the file is empty. Give a header line and at least one row.")
    try:
        head = content[:65536].decode("utf-8-sig", errors="strict" if len(content) <= 65536 else "ignore")
    except UnicodeDecodeError as error:
        problem = f"{error.reason} at byte {error.start}"
        raise DataError(f"{path}: not UTF-8 text ({problem}). Save it as UTF-8.") from None
    header = _header(head, columns)
    names = dict(zip(header.ids, header.names, strict=True))
    found = match_columns(header.names, columns, source=str(path))
    require_columns(found, header.names, source=str(path))
    roles = {role: header.ids[position] for role, position in found.items()}
    coins = [key for key, name in names.items() if name.casefold().replace(" ", "_").startswith("volume_")]
    text = [roles[role] for role in ("timestamp", "time", "symbol") if role in roles]
    frame = _parse(path, content, header, [*roles.values(), *coins], text)
    notes: tuple[str, ...] = ()
    banner = head.splitlines()[header.line - 1].strip() if header.line else ""
    if banner:
        notes = (f"skipped {header.line} line(s) above the header: {banner[:80]!r}",)
    if len(coins) == 1 and _is_traded_value(frame, roles, coins[0]):
        notes += (
            f"{names[roles['volume']]!r} is {names[coins[0]]!r} x price: "
            f"took {names[coins[0]]!r} as volume and {names[roles['volume']]!r} as amount",
        )
        roles = {**roles, "volume": coins[0], "amount": roles["volume"]}
    return Table(frame, roles, str(path), _Lines(path, header.line), notes, names)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}. Check the file and its permissions.") from None


def _header(head: str, columns: Mapping[str, str] | None) -> _Header:
    """The line with the most known column names; the first line where none has two."""
    lines = head.splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip())
    best, most = _Header(first, ",", _names(lines[first], ",")), 1
    for number, line in enumerate(lines[:_HEADER_LINES]):
        for delimiter in ",;\t|":
            names = _names(line, delimiter)
            try:
                known = len(match_columns(names))
            except DataError:  # two columns alike: a header all the same, the caller will say so
                known = 2
            known = max(known, len({name for name in (columns or {}).values() if name in names}))
            if known > most:
                best, most = _Header(number, delimiter, names), known
    return best


def _names(line: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"').strip() for name in line.split(delimiter)]


def _parse(path: Path, content: bytes, header: _Header, used: list[str], text: list[str]) -> pd.DataFrame:
    """The used columns; those of `text` stay strings: 008 is a symbol, 09:30-05:00 keeps its offset."""
    ragged: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def parse(threads: bool) -> pa.Table:
        return pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(column_names=header.ids, skip_rows=header.line + 1, use_threads=threads),
            parse_options=pacsv.ParseOptions(delimiter=header.delimiter, invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(dict.fromkeys(used)),
                column_types=dict.fromkeys(text, pa.string()),
                strings_can_be_null=True,
            ),
        )

    try:
        table = parse(threads=True)
        if ragged:  # only one thread counts rows
            ragged.clear()
            parse(threads=False)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return pd.DataFrame({name: [] for name in used})
        raise DataError(f"{path}: not a readable table: {error}. Write the file again.") from None
    if ragged:
        worst = ragged[0]
        where = f"(line {worst.number})" if worst.number else ""
        raise DataError(
            f"{path}: {len(ragged)} line(s) with another number of fields than the header, which has "
            f"{worst.expected_columns}; the first {where} has {worst.actual_columns}: {worst.text[:80]!r}. "
            "Correct these lines."
        )
    return _frame(table)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_null(kind):
            frame[name] = np.full(len(frame), np.nan)
        elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind)):
            frame[name] = table.column(name).cast(pa.string()).to_pandas()  # a date in a price is text
    return frame


def _is_traded_value(frame: pd.DataFrame, roles: Mapping[str, str], coins: str) -> bool:
    """Whether `volume` is money beside a `volume_<coin>`, as crypto vendors write it; the rows decide."""
    if "volume" not in roles or "amount" in roles:
        return False
    columns = [frame[name] for name in (coins, roles["volume"], roles["close"])]
    if not all(pd.api.types.is_numeric_dtype(column.dtype) for column in columns):
        return False
    coin, money, price = (column.to_numpy(np.float64) for column in columns)
    both = (coin > 0) & (money > 0) & (price > 0)
    return bool(both.any() and 0.8 < np.median(money[both] / (coin[both] * price[both])) < 1.25)


@dataclass(frozen=True)
class _Lines:
    """The line in the file, from 1, of a 0-based row. The file is read again only when a message needs it."""

    path: Path
    header: int

    def __call__(self, row: int) -> int:
        lines = enumerate(_content(self.path).split(b"\n")[self.header + 1 :], self.header + 2)
        filled = [number for number, line in lines if line.strip(b"\r")]
        return filled[row] if row < len(filled) else self.header + 2 + row
