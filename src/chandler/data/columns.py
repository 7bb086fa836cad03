"""A raw table as somebody wrote it, and which of its columns is which.

Column names are matched without regard to capitals, spaces and punctuation; nothing is converted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from chandler.errors import DataError

PRICES = ("open", "high", "low", "close")
FEATURES = (*PRICES, "volume", "amount")

# In order of preference: the first spelling that a table has wins.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "timestamp": (
        "timestamp", "timestamps", "datetime", "dateandtime", "date", "tradedate", "tradingdate", "opentime",
        "starttime", "candlebegintime", "bartime", "gmttime", "utctime", "localtime", "time", "tradetime",
        "day", "dt", "ts", "unix", "unixtime", "epoch", "t", "ds", "日期", "时间", "交易日期", "closetime",
    ),
    "time": ("time", "timeofday", "tradetime", "时间"),
    "symbol": (
        "symbol", "symbols", "ticker", "tic", "code", "tscode", "stockcode", "instrument", "instrumentid",
        "orderbookid", "secid", "security", "asset", "pair", "market", "uniqueid", "itemid", "股票代码",
        "代码", "name",
    ),
    "open": ("open", "openprice", "opening", "o", "开盘", "开盘价"),
    "high": ("high", "highprice", "h", "最高", "最高价"),
    "low": ("low", "lowprice", "l", "最低", "最低价"),
    "close": ("close", "closeprice", "closing", "last", "c", "收盘", "收盘价"),
    "adj_close": ("adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice"),
    "volume": ("volume", "vol", "volumes", "tradevolume", "tickvolume", "tickvol", "v", "成交量"),
    "amount": (
        "amount", "amt", "turnover", "quotevolume", "quoteassetvolume", "volumequote", "tradedvalue", "value",
        "dollarvolume", "volumeusd", "volumeusdt", "totalturnover", "money", "成交额",
    ),
}  # fmt: skip

ROLES = tuple(SPELLINGS)


def plain(name: object) -> str:
    """A column name reduced to what spellings are compared by: `1. Adj_Close` -> `adjclose`."""
    text = re.sub(r"^\s*\d+\.\s*", "", str(name)).casefold()
    return "".join(character for character in text if character.isalnum())


@dataclass(frozen=True)
class Table:
    """Rows as read, the role of each column, and where the rows came from.

    `roles` maps a role (a key of SPELLINGS) to a column of `frame`; `line` maps a 0-based row to its line in
    the file, where there is a file. `frame` keeps the order of the source, so that messages can name rows.
    """

    frame: pd.DataFrame
    roles: Mapping[str, str]
    source: str = ""
    line: Callable[[int], int] | None = None
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def column(self, role: str) -> pd.Series | None:
        """The column that has this role, or None."""
        return self.frame[self.roles[role]] if role in self.roles else None

    def without(self, role: str) -> Table:
        """The table with that role taken from its column."""
        return replace(self, roles={key: name for key, name in self.roles.items() if key != role})

    def named(self, role: str) -> str:
        """What the user calls the column of this role."""
        column = self.roles.get(role, role)
        return self.names.get(column, column) or "the unnamed column"

    def at(self, row: int) -> str:
        """`row 118, line 119`: a place that can be looked up; rows count from 1 and leave out the header."""
        return f"row {row + 1}" + (f", line {self.line(row)}" if self.line else "")


def match_columns(
    names: Sequence[str], columns: Mapping[str, str] | None = None, *, source: str = ""
) -> dict[str, int]:
    """Role -> position of its column in `names`. `columns` (role -> name) goes before any spelling.

    An unnamed column serves as the timestamp where no other column does. Raises DataError where `columns`
    names an unknown role or an absent column, and where two columns have the same spelling.
    """
    where = f"{source}: " if source else ""
    spelt: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        spelt.setdefault(plain(name), []).append(position)
    found: dict[str, int] = {}
    for role, name in (columns or {}).items():
        if role not in ROLES:
            raise DataError(f"{where}columns= maps {role!r}, which is none of {', '.join(ROLES)}.")
        if name not in names:
            raise DataError(
                f"{where}columns= says that {role!r} is in column {name!r}, but there is no such column. "
                f"The columns are {listed(names)}."
            )
        found[role] = list(names).index(name)
    taken = set(found.values())
    for role, spellings in SPELLINGS.items():
        if role in found or role == "time":
            continue
        for spelling in spellings:
            free = [position for position in spelt.get(spelling, []) if position not in taken]
            if len(free) > 1:
                both = " and ".join(repr(str(names[position])) for position in free[:2])
                raise DataError(
                    f"{where}columns {both} could both be {role!r}. "
                    f"Say which one, columns={{{role!r}: ...}}, or rename one of them."
                )
            if free:
                found[role] = free[0]
                taken.add(free[0])
                break
    if "timestamp" not in found and len(spelt.get("", [])) == 1 and spelt[""][0] not in taken:
        found["timestamp"] = spelt[""][0]
        taken.add(spelt[""][0])
    if "time" not in found and "timestamp" in found and plain(names[found["timestamp"]]).endswith(("date", "日期")):
        for spelling in SPELLINGS["time"]:
            free = [position for position in spelt.get(spelling, []) if position not in taken]
            if free:
                found["time"] = free[0]
                break
    return found


def require_columns(found: Iterable[str], names: Sequence[str], *, source: str = "") -> None:
    """Raise DataError, naming what is missing and what is there, unless timestamp and prices are found."""
    found = set(found)
    missing = [role for role in ("timestamp", *PRICES) if role not in found]
    if not missing:
        return
    where = f"{source}: " if source else ""
    headless = sum(bool(re.fullmatch(r"\s*[-+]?[\d.,:/eE\s-]+", str(name))) for name in names) > len(names) / 2
    hint = "The first line looks like data: put a line of column names above it. " if headless else ""
    word = "columns" if len(missing) > 1 else "column"
    raise DataError(
        f"{where}missing {word} {', '.join(missing)}; the columns are {listed(names)}. {hint}"
        f"Rename columns or say which is which, for example columns={{{missing[0]!r}: 'name in the data'}}."
    )


def listed(names: Sequence[object], limit: int = 12) -> str:
    """Names for a message, cut after `limit`."""
    shown = ", ".join(repr(str(name)) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def frame_table(
    frame: pd.DataFrame, *, source: str = "", timestamps: Any = None, columns: Mapping[str, str] | None = None
) -> Table:
    """A frame as a Table: its index becomes columns unless it only counts rows."""
    where = f"{source}: " if source else ""
    if frame.columns.nlevels > 1:
        raise DataError(
            f"{where}the frame has {frame.columns.nlevels} levels of column names. Make one row per "
            "symbol and time, for example frame.stack(level=1).reset_index(), or pass {symbol: frame}."
        )
    if timestamps is not None:
        if len(timestamps) != len(frame):
            raise DataError(f"{where}timestamps= has {len(timestamps)} entries for {len(frame)} rows.")
        frame = frame.reset_index(drop=True)
        times = pd.Series(np.asarray(timestamps) if not hasattr(timestamps, "array") else timestamps.array)
        roles = match_columns([str(name) for name in frame.columns], columns, source=source)
        frame = frame.drop(columns=[frame.columns[roles[role]] for role in ("timestamp", "time") if role in roles])
        frame.insert(0, "timestamp", times, allow_duplicates=True)
    elif not isinstance(frame.index, pd.RangeIndex):
        index = frame.index.to_frame(index=False)
        index.columns = ["" if name is None else str(name) for name in frame.index.names]
        new = ~index.columns.isin([str(name) for name in frame.columns])
        frame = pd.concat([index.loc[:, new], frame.reset_index(drop=True)], axis=1)
    names = [str(name) for name in frame.columns]
    frame = frame.set_axis([f"c{position}" for position in range(len(names))], axis=1)
    found = match_columns(names, columns, source=source)
    require_columns(found, names, source=source)
    return Table(
        frame,
        {role: f"c{position}" for role, position in found.items()},
        source,
        names={f"c{position}": name for position, name in enumerate(names)},
    )
