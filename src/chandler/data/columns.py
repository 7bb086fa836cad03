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

from chandler.data.notes import Note
from chandler.errors import DataError
from chandler.text import listed

PRICES = ("open", "high", "low", "close")
FEATURES = (*PRICES, "volume", "amount")
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(len(FEATURES))

# In order of preference: the first spelling that a table has wins.
COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "timestamp": (
        "timestamp", "timestamps", "datetime", "dateandtime", "datetimeutc", "timestamputc", "date", "tradedate",
        "tradingdate", "dateutc", "opentime", "opentimeutc", "starttime", "candlebegintime", "bartime", "dtyyyymmdd",
        "日付", "日付け", "日時", "날짜", "일자", "datum", "дата", "fecha", "gmttime",
        "utctime", "localtime", "timegmt", "timeutc", "time", "tradetime", "day", "dt", "ts", "unix", "unixtime",
        "unixtimestamp", "epoch", "t", "ds", "week", "日期", "日期时间", "时间", "交易日期", "交易日",
        "交易时间", "时间戳", "开盘时间",
        "timekey", "tsevent", "windowstart", "begin", "utc", "gmt", "время", "data", "closetime",
    ),
    "time": ("time", "timeofday", "tradetime", "hour", "时间", "交易时间", "時刻", "시간", "uhrzeit", "zeit", "время", "hora"),
    "symbol": (
        "symbol", "symbols", "ticker", "tic", "code", "tscode", "stockcode", "instrument", "instrumentid",
        "orderbookid", "secid", "security", "asset", "pair", "market", "uniqueid", "itemid", "permno", "股票代码",
        "证券代码", "代码", "合约代码", "合约", "品种", "股票", "name", "股票名称", "名称",
    ),
    "open": (
        "open", "openprice", "opening", "o", "开盘", "开盘价", "今开", "開盤", "開盤價", "始値", "시가", "eröffnung",
        "eröffn", "erster", "ouverture", "ouv", "apertura", "abertura", "otwarcie", "открытие", "откр",
    ),
    "high": (
        "high", "highprice", "highest", "max", "h", "最高", "最高价", "最高價", "高", "高値", "고가", "hoch", "haut",
        "plushaut", "máximo", "máxima", "massimo", "najwyzszy", "najwyższy", "максимум", "макс",
    ),
    "low": (
        "low", "lowprice", "lowest", "min", "l", "最低", "最低价", "最低價", "低", "安値", "저가", "tief", "bas",
        "plusbas", "mínimo", "mínima", "minimo", "najnizszy", "najniższy", "минимум", "мин",
    ),
    "close": (
        "close", "closeprice", "closing", "closelast", "last", "lastprice", "c", "收盘", "收盘价", "最新价", "收盤",
        "收盤價", "終値", "종가", "schluss", "schlusskurs", "clôture", "cierre", "chiusura", "fechamento", "zamkniecie",
        "zamknięcie", "закрытие", "latest", "zuletzt", "dernier", "último", "ultimo", "цена", "settle", "settlement",
        "settlementprice", "price",
    ),
    "adj_close": (
        "adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice", "adjustedcloseprice", "adjlast",
        "adjustmentclose", "調整後終値", "終値調整値", "复权收盘价", "后复权收盘价",
    ),
    "volume": (
        "volume", "vol", "volumes", "basevolume", "volumebase", "tradevolume", "tradedvolume", "sharevolume",
        "totaltradequantity", "volumeshares", "qty", "quantity", "totalvolume", "tottrdqty", "noofshares", "tickvolume", "tickvol",
        "v", "成交量", "成交股数", "成交股數", "交易量", "总手", "出来高", "거래량", "stück", "stücke", "volumen", "wolumen",
        "объём", "объем",
    ),
    "amount": (
        "amount", "amt", "quotevolume", "quoteassetvolume", "volumequote", "quotevol", "turnover", "tradedvalue",
        "value", "dollarvolume", "totalturnover", "money", "traderamount", "成交额", "成交金额", "金额", "成交額", "成交金額",
        "总金额", "売買代金", "거래대금", "turnovervalue", "tottrdval", "totalturnoverrs", "volumen",
    ),
}  # fmt: skip

_CHINESE_UNIT = re.compile(r"[(\uff08](元|港元|美元|千元|万元|亿元|股|千股|万股|手|张|份)[)\uff09]\s*$")
"""Behind a name: 成交量(手). The name is shown as it is; numbers stay as they are."""
ZONES = {
    "UTC": "UTC", "GMT": "UTC", "ET": "America/New_York", "EST": "America/New_York", "EDT": "America/New_York",
    "CET": "Europe/Berlin", "CEST": "Europe/Berlin", "EET": "Europe/Athens", "EEST": "Europe/Athens",
    "MSK": "Europe/Moscow", "JST": "Asia/Tokyo", "KST": "Asia/Seoul", "HKT": "Asia/Hong_Kong", "SGT": "Asia/Singapore",
    "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
}  # fmt: skip
"""Zones by the letters that stand in names of columns, each with its daylight saving. CST and IST are several zones."""
_UNITS = frozenset((
    "usd", "usdt", "usdc", "eur", "gbp", "jpy", "krw", "cny", "rmb", "hkd", "inr", "chf", "aud", "cad", "btc", "eth", "$",
    "\u20ac", "\u00a3", "\u00a5", "shares", "lots", "lot", "contracts", "units", "coins", "quote", "base", "local", "ccy",
))  # fmt: skip
_DATES = ("date", "日期", "datum", "дата", "fecha", "dtyyyymmdd")
"""Ends of names of columns that have the time of day in another column."""
_USEFUL = {"volume": r"vol|qty|quantity|量", "amount": r"amount|turnover|quote.?vol|额", "adj_close": r"adj|split|复权"}
"""Role -> words in names of columns that could have it, of which a person wants to know that they are not used."""
ROLES = tuple(COLUMN_ALIASES)
_ALL = frozenset(spelling for spellings in COLUMN_ALIASES.values() for spelling in spellings)


def normalized_name(name: object) -> str:
    """A column name reduced to what spellings are compared by: `1. Adj_Close` -> `adjclose`."""
    return _plain(str(name))


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    text = _CHINESE_UNIT.sub("", re.sub(r"^\s*\d+\.\s*", "", name)).casefold()
    return "".join(character for character in text if character.isalnum())


def is_alias(name: str) -> bool:
    """Whether a name could be any role's."""
    return normalized_name(name) in _ALL or normalized_name(without_unit(name)[0]) in _ALL


def without_unit(name: object) -> tuple[str, str]:
    """`Time (EET)` -> `Time`, `eet`: a name without the zone or unit in brackets behind it, and that; "" for none.

    Other brackets, such as `Close (prev)` or `Volume (20d avg)`, make it another column.
    """
    found = re.fullmatch(r"(.*\S)\s*[(\[]\s*([A-Za-z$\u20ac\u00a3\u00a5/_]+)\s*[)\]]\s*", str(name))
    if found is None or (found[2].casefold() not in _UNITS and found[2] not in ZONES):
        return str(name), ""
    return found[1], found[2]


@dataclass(frozen=True)
class RawTable:
    """Rows as read, the role of each column, and where the rows came from.

    `roles` maps a role (a key of COLUMN_ALIASES) to a column of `frame`; `line` maps a 0-based row to its line in
    the file, where there is a file. `frame` keeps the order of the source, so that messages can name rows.
    """

    frame: pd.DataFrame
    roles: Mapping[str, str]
    source: str = ""
    line: Callable[[int], int] | None = None
    notes: tuple[Note, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    stated_zone: tuple[str, str] | None = None
    """The zone of naive times and why, where names or banners state one."""
    typed: bool = False
    """Whether the CSV engine made numbers and times of the cells: a message cannot show what was written."""
    written: Callable[[int], Mapping[str, str]] | None = None
    """Column name -> cell of a row of the source, all columns, for messages."""
    rows: np.ndarray | None = None
    """The row of the source that each row was, where some were left out."""

    def column(self, role: str) -> pd.Series | None:
        """The column that has this role, or None."""
        return self.frame[self.roles[role]] if role in self.roles else None

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
        return replace(self, frame=self.frame.iloc[rows], rows=rows if self.rows is None else self.rows[rows])

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
        cells = self.frame.iloc[row]
        return {self.names.get(str(key), str(key)): str(cells[key]) for key in self.frame.columns}


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
    for position, name in enumerate(names):  # `Time (EET)`, `Vol.(BTC)`: only where no column has the plain name
        plain = normalized_name(without_unit(name)[0])
        if plain != normalized_name(name) and plain not in spelt:
            spelt[plain] = [position]
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
    for role, spellings in COLUMN_ALIASES.items():
        if role in found or role in nobody or role == "time":
            continue
        for spelling in spellings:
            free = [position for position in spelt.get(spelling, []) if position not in taken]
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
        and normalized_name(names[found["timestamp"]]).endswith(_DATES)
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
        if plain not in _ALL:
            continue
        first = seen.setdefault(plain, position)
        if first != position and equal(first, position):
            kept[position] = ""
            notes.append(Note(f"columns: {name!r} is there twice, equal in every row: the first was taken", "columns"))
    return kept, tuple(notes)


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
