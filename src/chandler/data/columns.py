"""A raw table as somebody wrote it, and which of its columns is which.

Column names are matched without regard to capitals, spaces and punctuation; nothing is converted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from chandler.data.column_names import (
    COLUMN_ALIASES,
    DATES,
    OF_PRICES,
    ROLES,
    ZONES,
    candidates,
    is_alias,
    normalized_name,
    spellings,
    without_unit,
)
from chandler.data.column_names import PRICES as PRICES
from chandler.data.notes import Note
from chandler.errors import DataError
from chandler.text import listed

FEATURES = (*PRICES, "volume", "amount")
_CHART = ("time", *PRICES)
"""How TradingView begins the columns of a chart; those behind them are indicators, whatever they are called."""
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(len(FEATURES))

_USEFUL = {"volume": r"vol|qty|quantity|量", "amount": r"amount|turnover|quote.?vol|额", "adj_close": r"adj|split|复权"}
"""Role -> words in names of columns that could have it, of which a person wants to know that they are not used."""


Column = pd.Series | pd.Index | np.ndarray
"""The cells (N,) of a column. Those of an index stay one, without a `freq`, and float64 may be an array: to make a Series of
them costs more than to read a few hundred rows."""


def as_series(column: Column) -> pd.Series:
    """The cells (N,) of a column as a Series."""
    return column if isinstance(column, pd.Series) else pd.Series(column)


@dataclass(frozen=True)
class RawTable:
    """Rows as read, the role of each column, and where the rows came from.

    `columns` maps a key to the cells of a column, in the order of the source, so that messages can name rows. `roles`
    maps a role (a key of COLUMN_ALIASES) to a key; `line` maps a 0-based row to its line in the file, where there is one.
    """

    columns: Mapping[str, Column]
    roles: Mapping[str, str]
    source: str = ""
    line: Callable[[int], int] | None = None
    notes: tuple[Note, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    stated_zone: tuple[str, str] | None = None
    """The zone of naive times and why, where names or banners state one."""
    typed: bool = False
    """Whether the CSV engine made numbers and times of the cells: a message cannot show what was written."""
    lean: bool = False
    """Whether it is laid out as QuantConnect's LEAN does, which multiplies prices by 10,000."""
    written: Callable[[int], Mapping[str, str]] | None = None
    """Column name -> cell of a row of the source, all columns, for messages."""
    rows: np.ndarray | None = None
    """The row of the source that each row was, where some were left out."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def series(self, key: str) -> pd.Series:
        """The cells (N,) of a column."""
        return as_series(self.columns[key])

    def column(self, role: str) -> pd.Series | None:
        """The column that has this role, or None."""
        return self.series(self.roles[role]) if role in self.roles else None

    def without(self, role: str) -> RawTable:
        """The table with that role taken from its column."""
        return replace(self, roles={key: name for key, name in self.roles.items() if key != role})

    def named(self, role: str) -> str:
        """What the user calls the column of this role."""
        column = self.roles.get(role, role)
        return self.names.get(column, column) or "the unnamed column"

    def only(self, kept: np.ndarray) -> RawTable:
        """The table with the rows that a mask (N,) keeps."""
        if kept.all():
            return self
        rows = np.flatnonzero(kept)
        columns = {
            key: column.iloc[rows].reset_index(drop=True) if isinstance(column, pd.Series) else column[rows]
            for key, column in self.columns.items()
        }
        return replace(self, columns=columns, rows=rows if self.rows is None else self.rows[rows])

    def origin(self, row: int) -> int:
        """The row of the source, from 0."""
        return row if self.rows is None else int(self.rows[row])

    def at(self, row: int) -> str:
        """`row 118, line 119`: a place that can be looked up; rows count from 1 and leave out the header."""
        place = self.origin(row)
        return f"row {place + 1}" + (f", line {self.line(place)}" if self.line else "")

    def cells(self, row: int) -> dict[str, str]:
        """Column name -> cell as it was written, of all columns that can still be told."""
        if self.written is not None:
            return dict(self.written(self.origin(row)))
        cells = pd.DataFrame({key: self.series(key).iloc[[row]] for key in self.columns}).iloc[0]
        return {self.names.get(key, key): str(cells[key]) for key in self.columns}


def match_columns(
    names: Sequence[str], columns: Mapping[str, str] | None = None, *, source: str = ""
) -> dict[str, int]:
    """Role -> position of its column in `names`. `columns` (role -> name) goes before any spelling; an empty name takes
    the role away from every column.

    Date and time of day may stand in two columns. An unnamed column serves as the timestamp where no other
    column does. Raises DataError where `columns` names an unknown role or an absent column, and where two
    columns have the same spelling.
    """
    try:
        return dict(_match(tuple(names), tuple((columns or {}).items())))
    except DataError as error:
        raise DataError(f"{source}: {error}" if source else str(error)) from None


@lru_cache(maxsize=256)  # the files of a folder have the same columns
def _match(names: tuple[str, ...], columns: tuple[tuple[str, str], ...]) -> dict[str, int]:
    spelt: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        spelt.setdefault(normalized_name(name), []).append(position)
    exact = set(spelt)
    for position, name in enumerate(names):  # `Time (EET)`, `Vol.(BTC)`: only where no column has the plain name
        for reduced in spellings(name)[1:]:
            if reduced not in exact and (reduced in OF_PRICES or reduced not in spelt):
                spelt.setdefault(reduced, []).append(position)
    found: dict[str, int] = {}
    nobody = set()
    for role, name in columns:
        if role not in ROLES:
            raise DataError(f"columns= maps {role!r}, which is none of {', '.join(ROLES)}.")
        if not name:
            nobody.add(role)
            continue
        if name not in names:
            raise DataError(
                f"columns= says that {role!r} is in column {name!r}, but there is no such column. "
                f"The columns are {listed(names)}."
            )
        found[role] = names.index(name)
    taken = set(found.values())
    for role, known in COLUMN_ALIASES.items():
        if role in found or role in nobody or role == "time":
            continue
        for spelling in known:
            free = [position for position in spelt.get(spelling, []) if position not in taken]
            if names[:5] == _CHART and free and free[0] < 5 and names.count(names[free[0]]) == 1:
                free = free[:1]
            if len(free) > 1:
                both = " and ".join(repr(str(names[position])) for position in free[:2])
                raise DataError(
                    f"columns {both} could both be {role!r}. "
                    f"Say which one, columns={{{role!r}: {names[free[0]]!r}}}, or rename one of them."
                )
            if free:
                found[role] = free[0]
                taken.add(free[0])
                break
    if not {"timestamp"} & {*found, *nobody} and len(spelt.get("", [])) == 1 and spelt[""][0] not in taken:
        found["timestamp"] = spelt[""][0]
        taken.add(spelt[""][0])
    if (
        not {"time"} & {*found, *nobody}
        and "timestamp" in found
        and normalized_name(names[found["timestamp"]]).endswith(DATES)
    ):
        for spelling in COLUMN_ALIASES["time"]:
            free = [position for position in spelt.get(spelling, []) if position not in taken]
            if free:
                found["time"] = free[0]
                break
    return found


def without_twins(names: Sequence[str], equal: Callable[[int, int], bool]) -> tuple[list[str], tuple[Note, ...]]:
    """Names of columns, empty for one that repeats another in name and in every cell; and notes that say so.

    `equal`: whether the cells of two columns are the same; asked of those that share the spelling of a role.
    """
    kept, notes, seen = list(names), list[Note](), dict[str, int]()
    for position, name in enumerate(names):
        plain = normalized_name(name)
        if not is_alias(name):
            continue
        first = seen.setdefault(plain, position)
        if first != position and equal(first, position):
            kept[position] = ""
            notes.append(Note(f"columns: {name!r} is there twice, equal in every row: the first was taken", "columns"))
    return kept, tuple(notes)


def require_columns(found: Iterable[str], names: Sequence[str], *, source: str = "", line: int = 0) -> None:
    """Raise DataError unless timestamp and prices are found: what is missing, what is there, which names could be it.

    `line`: where in the file the names stand, from 1; 0 for no file.
    """
    found = set(found)
    missing = [role for role in ("timestamp", *PRICES) if role not in found]
    if not missing:
        return
    where = f"{source}: " if source else ""
    word = "columns" if len(missing) > 1 else "column"
    told = f"{where}missing {word} {', '.join(missing)}; the columns are {listed(names)}"
    told += f" (line {line})." if line else "."
    if sum(bool(re.fullmatch(r"\s*[-+]?[\d.,:/eE\s-]+", str(name))) for name in names) > len(names) / 2:
        first = {role: str(number) for number, role in enumerate(("timestamp", *PRICES), 1)}
        raise DataError(
            f"{told} The first line looks like data: put a line of column names above it, or number the columns, "
            f"for example columns={first}."
        )
    free = [name for name in map(str, names) if name and not (is_alias(name) and set(match_columns([name])) & found)]
    likely, plain = candidates(missing, free)
    if likely and len(names) > 12:
        told += f" Of these could be meant: {listed(likely, len(likely))}."
    if missing == ["timestamp"] and "symbol" in found:
        told += " The date of a file of one day can be in its name, as in prices_2024-01-02.csv."
    pairs = ", ".join(f"{role!r}: {plain[role]!r}" if role in plain else f"{role!r}: ..." for role in missing)
    raise DataError(f"{told} Rename columns or say which is which, columns={{{pairs}}}.")


def column_notes(table: RawTable) -> RawTable:
    """The table with a note that says which column became what and which are not used, and its stated zone."""
    taken = [f"{role} from {table.named(role)!r}" for role in ROLES if role in table.roles]
    rest = [name for column, name in table.names.items() if column not in table.roles.values() and name]
    notes = [Note(f"columns: {', '.join(taken)}" + (f"; not used: {listed(rest, 8)}" if rest else ""), "columns")]
    for role, words in _USEFUL.items():
        useful = [name for name in rest if role not in table.roles and re.search(words, name.casefold())]
        if useful:
            notes.append(Note(f"columns: no {role}, and {listed(useful, 3)} not used", "unused"))
    zone = table.stated_zone
    name = table.named("timestamp")
    stated = ZONES.get(without_unit(name)[1]) or (
        "UTC" if re.search(r"(?<![a-z])(utc|gmt)(?![a-z])", name.casefold()) else None
    )
    if zone is None and stated:
        zone = (stated, f"because the column is called {name!r}")
    return replace(table, notes=(*table.notes, *notes), stated_zone=zone)
