"""What columns are called: the spellings of each role, and how a name is reduced to one of them.

Names are compared without regard to capitals, spaces and punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

# In order of preference: the first spelling that a table has wins.
COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "timestamp": (
        "timestamp", "timestamps", "datetime", "dateandtime", "datetimeutc", "timestamputc", "date", "tradedate",
        "tradingdate", "calendardate", "tradingday", "mddate",
        "dateutc", "opentime", "opentimeutc", "starttime", "candlebegintime", "bartime", "dtyyyymmdd",
        "日付", "日付け", "日時", "날짜", "일자", "datum", "дата", "fecha", "gmttime",
        "utctime", "localtime", "timegmt", "timeutc", "time", "tradetime", "day", "dt", "ts", "unix", "unixtime",
        "unixtimestamp", "epoch", "t", "ds", "week", "日期", "日期时间", "时间", "交易日期", "交易日",
        "交易时间", "时间戳", "开盘时间",
        "timekey", "tsevent", "windowstart", "begin", "utc", "gmt", "время", "data", "closetime",
    ),
    "time": ("time", "timeofday", "tradetime", "hour", "时间", "交易时间", "時刻", "시간", "uhrzeit", "zeit", "время", "hora",
             "mdentrytime", "mdtime", "updatetime"),
    "symbol": (
        "symbol", "symbols", "ticker", "tic", "code", "tscode", "stockcode", "instrument", "instrumentid",
        "orderbookid", "secid", "security", "asset", "pair", "market", "uniqueid", "itemid", "permno", "股票代码",
        "证券代码", "tickersymbol", "securityid", "sccode", "scripcode",
        "代码", "合约代码", "合约", "品种", "股票", "name", "股票名称", "名称",
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
        "totaltradequantity", "volumeshares", "qty", "quantity", "totalvolume", "tottrdqty", "noofshares", "noofshrs",
        "totalvolumetrade", "totaltradevolume",
        "totaltradingvolume", "tickvolume", "tickvol",
        "v", "成交量", "成交股数", "成交股數", "交易量", "总手", "出来高", "거래량", "stück", "stücke", "volumen", "wolumen",
        "объём", "объем",
    ),
    "amount": (
        "amount", "amt", "quotevolume", "quoteassetvolume", "volumequote", "quotevol", "turnover", "tradedvalue",
        "value", "dollarvolume", "totalturnover", "money", "traderamount", "成交额", "成交金额", "金额", "成交額", "成交金額",
        "总金额", "売買代金", "거래대금", "turnovervalue", "tottrdval", "totalturnoverrs", "totalvaluetrade", "totaltradevalue",
        "totaltradingvalue", "totaltransfervalue", "netturnov", "netturnover", "volumen",
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
DATES = ("date", "tradingday", "日期", "datum", "дата", "fecha", "dtyyyymmdd")
"""Ends of names of columns that have the time of day in another column."""
ROLES = tuple(COLUMN_ALIASES)
PRICES = ("open", "high", "low", "close")
_ALL = frozenset(spelling for spellings in COLUMN_ALIASES.values() for spelling in spellings)
OF_PRICES = frozenset(spelling for role in PRICES for spelling in COLUMN_ALIASES[role])
_ABBREVIATED = {
    "opn": "open", "op": "open", "hgh": "high", "hi": "high", "lw": "low", "lo": "low", "cls": "close", "clsg": "closing",
    "lst": "last", "sttlm": "settlement", "pric": "price", "prc": "price", "px": "price", "trad": "trade", "trd": "trade",
    "tradg": "trading", "dt": "date", "tm": "time", "ttl": "total", "tot": "total", "vol": "volume", "val": "value",
    "qty": "quantity", "trf": "transfer", "tckr": "ticker", "symb": "symbol",
}  # fmt: skip
"""Words as terminals and messages between banks (ISO 20022) shorten them."""
_PRICE = re.compile(r"price|pric|prc|px")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
"""OpngPric is two words, PX_LAST, and MDEntryTime three."""
_STEMS = {
    "timestamp": ("date", "time", "day", "日", "时间", "時刻"),
    "open": ("open", "开", "開", "始", "시", "откр", "ouv", "erster"),
    "high": ("high", "max", "高", "고", "макс", "haut", "hoch"),
    "low": ("low", "min", "低", "안", "저", "安", "мин", "bas", "tief"),
    "close": ("clos", "last", "settle", "final", "收", "終", "终", "종", "закр", "zamkn", "fechamento", "cierre"),
}  # fmt: skip
"""Parts of names that could be a role's: for a proposal."""
_OTHERS = frozenset((
    "prev", "previous", "prv", "prvs", "pre", "adj", "adjusted", "bid", "ask", "limit", "settle", "settlement", "avg",
    "average", "mean", "change", "chg", "diff", "pct", "percent", "return", "ma", "ema", "sma", "yesterday", "interest", "ratio",
    "strike", "underlying", "volume", "number", "count", "id", "list", "expiry", "update", "download", "created", "lot",
))  # fmt: skip
"""Words that make another column of it."""


@lru_cache(maxsize=4096)
def normalized_name(name: str) -> str:
    """A column name reduced to what spellings are compared by: `1. Adj_Close` -> `adjclose`."""
    text = _CHINESE_UNIT.sub("", re.sub(r"^\s*\d+\.\s*", "", name)).casefold()
    return "".join(character for character in text if character.isalnum())


def is_alias(name: str) -> bool:
    """Whether a name could be any role's."""
    return any(spelling in _ALL for spelling in spellings(name))


@lru_cache(maxsize=4096)
def spellings(name: str) -> tuple[str, ...]:
    """What a name is looked up by, the surest first: itself, without its unit, with its abbreviations written out, and
    without the word for a price beside a price's: `OpnPric` is `openprice`, `PX_LAST` `last`.
    """
    own, bare = normalized_name(name), without_unit(name)[0]
    words = _words(bare)
    found = [own, normalized_name(bare), "".join(words)]
    if len(words) == 1 and found[-1] not in OF_PRICES:
        found.pop()
    for text in (normalized_name(bare), "".join(words)):
        for part in (
            _PRICE.sub("", text, count=1) if _PRICE.match(text) else "",
            re.sub(rf"({_PRICE.pattern})$", "", text),
        ):
            if len(part) > 1 and (part in OF_PRICES or part == "volume"):
                found.append(part)
    return tuple(dict.fromkeys(found))


def _words(name: str) -> list[str]:
    return [_ABBREVIATED.get(word, word) for word in (found.casefold() for found in _WORDS.findall(name))]


def candidates(missing: Sequence[str], names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Which names could be of roles that are missing, by a part of theirs; and role -> name where only one could be.

    One that says that it is something else, such as `prevclose`, is listed all the same.
    """
    could = {role: [name for name in names if _has(name, _STEMS[role])] for role in _STEMS}
    taken = {name for role in ("open", "high", "low") for name in could[role]}
    could["close"] = [name for name in could["close"] if name not in taken]
    could["timestamp"] = [name for name in could["timestamp"] if name not in {*taken, *could["close"]}]
    likely = {name for role in missing for name in could[role]}
    own = {role: [name for name in could[role] if not _OTHERS & set(_words(name))] for role in missing}
    if not own.get("close", True):
        own["close"] = [name for name in names if name not in taken and _has(name, ("price", "px"))]
        likely |= set(own["close"])
    single = [found[0] for found in own.values() if len(found) == 1]
    plain = {role: found[0] for role, found in own.items() if len(found) == 1 and single.count(found[0]) == 1}
    return [name for name in names if name in likely], plain


def _has(name: str, stems: Iterable[str]) -> bool:
    return any(_begins(word, stem) for word in _words(name) for stem in stems)


def _begins(word: str, stem: str) -> bool:
    """Short stems are whole words, for `lo` begins too many; those in other scripts may stand anywhere."""
    if not stem.isascii():
        return stem in word
    return word == stem if len(stem) < 3 else word.startswith(stem) or word.endswith(stem)


def without_unit(name: object) -> tuple[str, str]:
    """`Time (EET)` -> `Time`, `eet`: a name without the zone or unit in brackets behind it, and that; "" for none.

    Other brackets, such as `Close (prev)` or `Volume (20d avg)`, make it another column.
    """
    found = re.fullmatch(r"(.*\S)\s*[(\[]\s*([A-Za-z$\u20ac\u00a3\u00a5/_]+)\s*[)\]]\s*", str(name))
    if found is None or (found[2].casefold() not in _UNITS and found[2] not in ZONES):
        return str(name), ""
    return found[1], found[2]
