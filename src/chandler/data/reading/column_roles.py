"""Which of several volume columns counts units and which counts money: names propose, the rows decide."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from chandler.data.columns import RawTable, normalized_name

MONEY = ("usd", "usdt", "usdc", "busd", "fdusd", "tusd", "dai", "eur", "gbp", "jpy", "krw", "cny", "rmb", "inr", "try",
         "brl", "aud", "cad", "chf", "rub", "idr", "vnd", "quote")  # fmt: skip
_RATE = 1e-3
"""A "turnover" this small beside volume x close is the share of stock that changed hands, not money."""


def resolve_volume_columns(table: RawTable) -> RawTable:
    """The table with volume and amount on the columns that hold them; notes say what was not plain from names.

    Handles `volume_<coin>` beside `volume` or `volume_<money>`, a volume of zeros beside a tick volume, and
    a turnover that is a rate.
    """
    table = _by_coin(table)
    table = _rate(table)
    return _ticks(table)


def _by_coin(table: RawTable) -> RawTable:
    roles = dict(table.roles)
    named = {key: name for key, name in table.names.items() if re.match(r"vol(ume)?s?[ _(.-]+\w", name.casefold())}
    named = {key: name for key, name in named.items() if key not in roles.values() or roles.get("volume") == key}
    coins = [key for key, name in named.items() if _unit(name) not in ("", *MONEY)]
    money = [key for key, name in named.items() if _unit(name) in MONEY]
    if not coins and not money:
        return table
    volume = roles.get("volume")
    if volume is None and len(coins) == 1 and len(money) <= 1:
        roles["volume"] = coins[0]
        notes = [f"took {named[coins[0]]!r} as volume"]
        if money and "amount" not in roles:
            roles["amount"] = money[0]
            notes.append(f"took {named[money[0]]!r} as amount")
        return replace(table, roles=roles, notes=(*table.notes, "; ".join(notes)))
    candidates = [key for key in (*coins, *money) if key != volume]
    if volume is None and len(coins) == 2 and "amount" not in roles:
        for base, quote in ((coins[0], coins[1]), (coins[1], coins[0])):
            if _is_value(table, base, quote):
                note = f"{named[quote]!r} is {named[base]!r} x price: took the first as amount, the second as volume"
                return replace(table, roles={**roles, "volume": base, "amount": quote}, notes=(*table.notes, note))
    if volume is not None and "amount" not in roles:
        for key in candidates:
            if _is_value(table, key, volume):
                note = (
                    f"{table.names[volume]!r} is {named[key]!r} x price: took {named[key]!r} as volume and "
                    f"{table.names[volume]!r} as amount"
                )
                return replace(table, roles={**roles, "volume": key, "amount": volume}, notes=(*table.notes, note))
            if _is_value(table, volume, key):
                note = f"{named[key]!r} is {table.names[volume]!r} x price: took it as amount"
                return replace(table, roles={**roles, "amount": key}, notes=(*table.notes, note))
    if volume is None and money and not coins and "amount" not in roles:
        note = f"took {named[money[0]]!r} as amount"
        return replace(table, roles={**roles, "amount": money[0]}, notes=(*table.notes, note))
    return table


def _unit(name: str) -> str:
    """`usdt` of `Volume USDT` or `volume_usdt`."""
    return re.sub(r"^vol(ume)?s?", "", normalized_name(name))


def _numbers(table: RawTable, key: str) -> np.ndarray:
    column = table.frame[key]
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    return np.full(len(column), np.nan)


def _ratio(table: RawTable, units: str, value: str) -> float:
    """The median of value / (units x close); NaN where nothing can be compared."""
    if units not in table.frame or value not in table.frame:
        return np.nan
    coin, money, price = (_numbers(table, key) for key in (units, value, table.roles["close"]))
    both = (coin > 0) & (money > 0) & (price > 0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return float(np.median(money[both] / (coin[both] * price[both]))) if both.any() else np.nan


def _is_value(table: RawTable, units: str, value: str) -> bool:
    return bool(0.8 < _ratio(table, units, value) < 1.25)


def _rate(table: RawTable) -> RawTable:
    amount, volume = table.roles.get("amount"), table.roles.get("volume")
    if amount is None or volume is None or normalized_name(table.names.get(amount, "")) not in ("turnover", "value"):
        return table
    if _ratio(table, volume, amount) < _RATE:
        note = f"{table.named('amount')!r} is far below volume x price: a rate, not taken as amount"
        return replace(table.without("amount"), notes=(*table.notes, note))
    return table


def _ticks(table: RawTable) -> RawTable:
    volume = table.roles.get("volume")
    ticks = [
        key for key, name in table.names.items() if normalized_name(name) in ("tickvol", "tickvolume") and key != volume
    ]
    if volume is None or not ticks or ticks[0] not in table.frame:
        return table
    if not np.nan_to_num(_numbers(table, volume)).any() and np.nan_to_num(_numbers(table, ticks[0])).any():
        note = f"{table.names[volume]!r} is all 0: took {table.names[ticks[0]]!r} as volume"
        return replace(table, roles={**table.roles, "volume": ticks[0]}, notes=(*table.notes, note))
    return table
