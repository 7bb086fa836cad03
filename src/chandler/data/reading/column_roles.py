"""Which column is what where names do not tell: columns without names, and several of volume. The rows decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from chandler.data.column_names import COLUMN_ALIASES, normalized_name, spellings
from chandler.data.columns import PRICES, RawTable
from chandler.data.notes import Note
from chandler.data.reading.times import parse_times
from chandler.errors import DataError

_ORDERS = (PRICES, ("low", "high", "open", "close"), ("open", "close", "high", "low"))
"""How exchanges order four prices; the first that fits is taken."""
ANY_ORDER = (*_ORDERS, *permutations(PRICES))
"""For a proposal: of open and close none can tell which is which."""
_FITS = 0.98
_MONEY = ("usd", "usdt", "usdc", "busd", "fdusd", "tusd", "dai", "eur", "gbp", "jpy", "krw", "cny", "rmb", "inr", "try",
         "brl", "aud", "cad", "chf", "rub", "idr", "vnd", "quote")  # fmt: skip
_COINS = frozenset(("btc", "xbt", "eth", "ltc", "xrp", "bch", "bnb", "sol", "doge", "ada", "dot", "trx", "link", "avax", "matic",
          "shib", "etc", "xlm", "xmr", "eos", "atom", "uni", "neo", "dash"))  # fmt: skip
"""Coins known by name. Others are where the file or the symbol is called after them, or where cells show it."""
_STATISTICS = frozenset(("ma", "sma", "ema", "wma", "vwma", "avg", "mean", "prev", "last", "chg", "diff", "delta", "std",
               "rank", "buy", "sell", "bid", "ask", "up", "down"))  # fmt: skip
_IRREGULAR, _REGULAR = 0.2, 0.5
"""Shares of steps of one size between rows, below and above which a column of times is none and is one of bars."""
_RATE = 1e-3
"""A "turnover" this small beside volume x close is the share of stock that changed hands, not money."""


def infer_roles(rows: Sequence[Sequence[Any]], first: int, *, usual: bool = False) -> dict[str, int] | None:
    """Role -> column of rows without names: four prices from column `first` on, and what is behind them.

    None where the prices do not show which is the high and which the low. `usual`: they are open, high, low, close
    then, unless most rows contradict it.
    """
    width = len(rows[0])
    cells = _as_numbers(rows, first)
    order = None if cells is None else price_order(cells[:, :4])
    if order is None:
        if not usual or not (cells is None or _usual_order(cells[:, :4])):
            return None
        order = PRICES
    if width == 12 and first == 1:  # kline archives of crypto exchanges
        behind = {"volume": 0, "amount": 2}
    elif cells is None:
        behind = {"volume": 0} if width > first + 4 else {}
    else:
        behind = _behind_prices(cells[:, :4], order, cells[:, 4:])
    prices = {name: first + position for position, name in enumerate(order)}
    return prices | {name: first + 4 + position for name, position in behind.items()}


def price_order(prices: np.ndarray, orders: Sequence[tuple[str, ...]] = _ORDERS) -> tuple[str, ...] | None:
    """The order of four columns of prices (N, 4): the first of `orders` whose high and low fit 98% of the rows.

    None where none fits, and where flat bars alone prove nothing.
    """
    for order in orders:
        opens, highs, lows, closes = (prices[:, order.index(name)] for name in PRICES)
        upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
        fits = (highs >= upper).mean() > _FITS and (lows <= lower).mean() > _FITS
        if fits and ((highs > upper).any() or (lows < lower).any()):
            return order
    return None


def _usual_order(prices: np.ndarray) -> bool:
    """Whether half of the rows (N, 4) could be open, high, low, close."""
    opens, highs, lows, closes = prices.T
    return bool(((highs >= np.maximum(opens, closes)) & (lows <= np.minimum(opens, closes))).mean() >= 0.5)


def _behind_prices(prices: np.ndarray, order: Sequence[str], rest: np.ndarray) -> dict[str, int]:
    """Role -> position in `rest` (N, K), the columns behind the prices (N, 4): volume, and amount where there is one.

    The first is volume, or the mean price where it always lies between low and high and more columns follow, as
    Kraken answers. The amount is the column that is volume x price.
    """
    if not rest.shape[1]:
        return {}
    high, low, close = (prices[:, order.index(name)] for name in ("high", "low", "close"))
    traded = rest[:, 0] != 0
    mean = rest.shape[1] > 2 and traded.any() and bool(((rest[:, 0] >= low) & (rest[:, 0] <= high))[traded].all())
    found = {"volume": int(mean)}
    value = rest[:, found["volume"]] * close
    for position in range(found["volume"] + 1, rest.shape[1]):
        both = (value > 0) & (rest[:, position] > 0)
        if both.any() and 0.8 < np.median(rest[both, position] / value[both]) < 1.25:
            return {**found, "amount": position}
    return found


def _as_numbers(rows: Sequence[Sequence[Any]], first: int) -> np.ndarray | None:
    """The cells from column `first` on, (N, K) float64, NaN where no number; None where a price is none."""

    def number(cell: Any) -> float:
        try:
            return float(str(cell).replace(",", "."))
        except ValueError:
            return np.nan

    cells = np.array([[number(cell) for cell in row[first:]] for row in rows])
    return cells if cells.shape[1] >= 4 and np.isfinite(cells[:, :4]).all() else None


def regular_times(
    found: Mapping[str, int], names: Sequence[str], cells: Callable[[int], pd.Series]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Role -> column with the regular one of several columns of times, and a note where that is another than before.

    A time of download, or one date in every row, has no steps of one size, unlike the times of bars. `cells`: the first
    rows of a column. Raises nothing: what cannot be read is no column of times.
    """
    roles, taken = dict(found), found.get("timestamp")
    known = COLUMN_ALIASES["timestamp"]
    places = {
        min(known.index(one) for one in spellings(name) if one in known): position
        for position, name in reversed([*enumerate(names)])
        if position not in found.values() and set(spellings(name)) & set(known)
    }
    if taken is None or not places or "time" in found:
        return roles, ()
    symbols = cells(found["symbol"]) if "symbol" in found else None
    if _share_of_steps(cells(taken), symbols) < _IRREGULAR:
        for _, position in sorted(places.items()):
            if _share_of_steps(cells(position), symbols) >= _REGULAR:
                note = f"times: from {names[position]!r}, whose steps are regular; those of {names[taken]!r} are not"
                return roles | {"timestamp": position}, (note,)
    return roles, ()


def _share_of_steps(cells: pd.Series, symbols: pd.Series | None) -> float:
    """The share of steps from row to row that have the most common size, of one symbol; 1 of less than ten, 0 of no times."""
    if symbols is not None:
        cells = cells[(symbols == symbols.iloc[0]).to_numpy()]
    if len(cells) <= 10:
        return 1.0
    try:
        ticks = parse_times(cells.reset_index(drop=True)).index
    except DataError:
        return 0.0
    if ticks.isna().any():
        return 0.0
    sizes = pd.Series(np.abs(np.diff(ticks.asi8)))
    return float(sizes[sizes > 0].value_counts().max() / len(sizes)) if (sizes > 0).any() else 0.0


def resolve_volume_columns(table: RawTable) -> RawTable:
    """The table with volume and amount on the columns that hold them; notes say what was not plain from names.

    Handles `volume_<coin>` beside `volume` or `volume_<money>`, a volume of zeros beside a tick volume, and
    a turnover that is a rate.
    """
    return _ticks(_rate(_by_coin(table)))


def _taken(table: RawTable, note: str, **roles: str) -> RawTable:
    """The table with columns (role -> column) taken as the note says."""
    return replace(table, roles={**table.roles, **roles}, notes=(*table.notes, Note(note, "swapped")))


def _by_coin(table: RawTable) -> RawTable:
    """Volumes named after what they count. Any other word behind `volume` (ma, prev, buy, z, 1) makes it no volume."""
    volume, no_amount = table.roles.get("volume"), "amount" not in table.roles
    other = {role: key for role, key in table.roles.items() if role != "volume"}.values()
    units = {key: _unit(name) for key, name in table.names.items() if key not in other and key in table.columns}
    money = [key for key, unit in units.items() if unit in _MONEY]
    named = _called(table)
    coins = [
        key
        for key, unit in units.items()
        if unit not in ("", *_MONEY, *_STATISTICS)
        and (unit in _COINS or unit in named or any(_is_value(table, key, one) for one in money))
    ]
    names = table.names
    if volume is None and len(coins) == 1 and len(money) <= 1:
        both = money and no_amount
        note = f"took {names[coins[0]]!r} as volume" + (f"; took {names[money[0]]!r} as amount" if both else "")
        return _taken(table, note, volume=coins[0], **({"amount": money[0]} if both else {}))
    if volume is None and len(coins) == 2 and no_amount:
        for base, quote in (coins, coins[::-1]):
            if _is_value(table, base, quote):
                note = f"{names[quote]!r} is {names[base]!r} x price: took the first as amount, the second as volume"
                return _taken(table, note, volume=base, amount=quote)
    if volume is not None and no_amount:
        for key in (key for key in (*coins, *money) if key != volume):
            own, new = repr(names[volume]), repr(names[key])
            if _is_value(table, key, volume):
                note = f"{own} is {new} x price: took {new} as volume and {own} as amount"
                return _taken(table, note, volume=key, amount=volume)
            if _is_value(table, volume, key):
                return _taken(table, f"{new} is {own} x price: took it as amount", amount=key)
    if volume is None and money and not coins and no_amount:
        return _taken(table, f"took {names[money[0]]!r} as amount", amount=money[0])
    return table


def _called(table: RawTable) -> str:
    """What the file and the first row's symbol are called, in small letters."""
    symbol = table.column("symbol")
    first = "" if symbol is None or not len(symbol) else str(symbol.iloc[0])
    return f"{table.source.rpartition('/')[2]} {first}".casefold()


def _unit(name: str) -> str:
    """`usdt` of `Volume USDT`, `volume_usdt` or `Vol.(USDT)`; empty where more or less than one word follows."""
    found = re.fullmatch(r"vol(?:ume)?s?[ _(.-]+([a-z0-9]*[a-z][a-z0-9]*)\)?", name.strip().casefold())
    return found[1] if found else ""


def _numbers(table: RawTable, key: str) -> np.ndarray:
    column = table.series(key)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    return np.full(len(column), np.nan)


def _is_value(table: RawTable, units: str, value: str) -> bool:
    """Whether `value` is `units` x price: within the bar's low and high in all but a few rows.

    Near a price of 1 any two volumes look so: nothing is concluded there.
    """
    coin, money, low, high = (_numbers(table, key) for key in (units, value, table.roles["low"], table.roles["high"]))
    both = (coin > 0) & (money > 0) & (low > 0)
    if not both.any() or 0.5 < np.median(high[both]) < 2:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        price = money[both] / coin[both]
        return bool(((price >= 0.99 * low[both]) & (price <= 1.01 * high[both])).mean() > _FITS)


def _rate(table: RawTable) -> RawTable:
    amount, volume = table.roles.get("amount"), table.roles.get("volume")
    if amount is None or volume is None or normalized_name(table.names.get(amount, "")) not in ("turnover", "value"):
        return table
    units, money, price = (_numbers(table, key) for key in (volume, amount, table.roles["close"]))
    both = (units > 0) & (money > 0) & (price > 0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rate = both.any() and np.median(money[both] / (units[both] * price[both])) < _RATE
    if rate:
        note = f"{table.named('amount')!r} is far below volume x price: a rate, not taken as amount"
        return replace(table.without("amount"), notes=(*table.notes, Note(note, "swapped")))
    return table


def _ticks(table: RawTable) -> RawTable:
    volume = table.roles.get("volume")
    ticks = [
        key for key, name in table.names.items() if normalized_name(name) in ("tickvol", "tickvolume") and key != volume
    ]
    if volume is None or not ticks or ticks[0] not in table.columns:
        return table
    if not np.nan_to_num(_numbers(table, volume)).any() and np.nan_to_num(_numbers(table, ticks[0])).any():
        return _taken(
            table, f"{table.names[volume]!r} is all 0: took {table.names[ticks[0]]!r} as volume", volume=ticks[0]
        )
    return table
