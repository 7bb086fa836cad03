"""Tables of the kinds that users bring, each with known bars: the right bars come out, or one message.

`make test` reads a few hundred of them, `make soak` a thousand (CHANDLER_TEST_TABLES): the same first ones, and more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler.data import FEATURES, PRICES, load_bars
from chandler.errors import DataError

NAMES = {
    "time": ["time", "Date", "datetime", "Timestamp", "日期", "Datum", "Time (UTC)", "open_time"],
    "open": ["open", "Open", "o", "Open Price", "开盘", "<OPEN>", "Open (USD)"],
    "high": ["high", "High", "h", "High Price", "最高", "<HIGH>", "High (USD)"],
    "low": ["low", "Low", "l", "Low Price", "最低", "<LOW>", "Low (USD)"],
    "close": ["close", "Close", "c", "Close Price", "收盘", "<CLOSE>", "Close (USD)", "Close/Last"],
    "volume": ["volume", "Volume", "v", "Vol", "成交量", "<VOL>", "Volume (shares)"],
    "symbol": ["symbol", "Ticker", "code", "name"],
}
STATISTICS = [
    "Volume MA", "volume_sma_20", "Vol EMA", "prev volume", "volume_change", "volume_zscore", "Avg Volume", "Volume Buy",
    "close_ma", "prev close", "Open change", "52w high", "low_yesterday", "rsi", "trades", "vwap_dev", "volume.1",
]  # fmt: skip
TABLES = int(os.environ.get("CHANDLER_TEST_TABLES", "250"))
EACH = 50
"""Tables of one seed."""
FREQUENCIES = ["D", "h", "5min", "min"]


@dataclass(frozen=True)
class Case:
    """Tables that belong together, what they are made of, and how they are read."""

    tables: dict[str, pd.DataFrame]
    """File name -> table. `time`, `open`, ... are the columns that the bars are in."""
    options: dict[str, Any] = field(default_factory=dict)
    must_refuse: bool = False
    """Whether no reading of the tables is right without being told more."""


def bars(rng: np.random.Generator, count: int) -> pd.DataFrame:
    """One symbol's bars as a vendor rounds them."""
    level = 10 ** rng.uniform(-2, 4.5)
    sigma = 10 ** rng.uniform(-3.5, -1.7)
    close = level * np.exp(np.cumsum(rng.normal(0, sigma, count)))
    opens = np.append(level, close[:-1]) * np.exp(rng.normal(0, sigma / 5, count))
    spread = np.abs(rng.normal(0, sigma, (2, count))) + sigma / 10
    start = pd.Timestamp("2023-01-02") + pd.Timedelta(int(rng.integers(0, 600)), "D")
    frame = pd.DataFrame({"time": pd.date_range(start, periods=count, freq=str(rng.choice(FREQUENCIES)))})
    frame["open"], frame["close"] = opens, close
    frame["high"], frame["low"] = np.maximum(opens, close) * (1 + spread[0]), np.minimum(opens, close) * (1 - spread[1])
    frame["volume"] = rng.integers(100, 10**6, count).astype(float)
    return frame[["time", "open", "high", "low", "close", "volume"]]


def statistic(rng: np.random.Generator, case: Case) -> Case:
    """Columns that are made of a volume or a price, somewhere among the others."""
    tables = {}
    for name, table in case.tables.items():
        new = table.copy()
        for word in rng.choice(STATISTICS, 2, replace=False):
            base = new["volume" if "vol" in word.lower() else "close"]
            new.insert(
                int(rng.integers(0, new.shape[1] + 1)),
                str(word),
                base.rolling(5, min_periods=1).mean() * rng.uniform(0.5, 1.5),
            )
        tables[name] = new
    return replace(case, tables=tables)


def reorder(rng: np.random.Generator, case: Case) -> Case:
    """The columns in another order, names and all."""
    return replace(
        case, tables={name: table[list(rng.permutation(table.columns))] for name, table in case.tables.items()}
    )


def mishead(rng: np.random.Generator, case: Case) -> Case:
    """The prices stand under one another's names."""
    wrong = [("open", "close", "high", "low"), ("high", "low", "open", "close"), ("low", "high", "close", "open")]
    order = dict(zip(PRICES, wrong[int(rng.integers(3))], strict=True))
    return replace(
        case, tables={name: table.rename(columns=order) for name, table in case.tables.items()}, must_refuse=True
    )


def repeat(rng: np.random.Generator, case: Case) -> Case:
    """Some rows are there twice, equal."""
    tables = {}
    for name, table in case.tables.items():
        rows = rng.choice(len(table), 3, replace=False)
        tables[name] = pd.concat([table, table.iloc[rows]]).sort_index(kind="stable").reset_index(drop=True)
    return replace(case, tables=tables)


def disagree(rng: np.random.Generator, case: Case) -> Case:
    """One row is there twice, with another price or volume."""
    name = str(rng.choice(list(case.tables)))
    table = case.tables[name]
    row = table.iloc[[int(rng.integers(len(table)))]].copy()
    row["volume" if rng.random() < 0.5 else "close"] *= 1.001
    row["high"] *= 1.01
    new = pd.concat([table, row]).sort_index(kind="stable").reset_index(drop=True)
    return replace(case, tables={**case.tables, name: new}, must_refuse=True)


def shuffle(rng: np.random.Generator, case: Case) -> Case:
    """Rows in any order: sorted when asked, else refused."""
    tables = {name: table.sample(frac=1, random_state=int(rng.integers(2**31))) for name, table in case.tables.items()}
    asked = bool(rng.random() < 0.5)
    return replace(
        case,
        tables=tables,
        options={**case.options, **({"unsorted": "sort"} if asked else {})},
        must_refuse=case.must_refuse or not asked,
    )


def newest_first(rng: np.random.Generator, case: Case) -> Case:
    return replace(case, tables={name: table.iloc[::-1] for name, table in case.tables.items()})


def constant_name(rng: np.random.Generator, case: Case) -> Case:
    """A column that could be the symbol and is the same in every file, whatever the file is called."""
    if len(case.tables) == 1:
        return case
    tables = {name: table.assign(symbol="2781") for name, table in case.tables.items()}
    asked = bool(rng.random() < 0.5)
    join = {"join": True} if rng.random() < 0.5 else {}
    return replace(
        case,
        tables=tables,
        options={**case.options, **({"columns": {"symbol": ""}} if asked else join)},
        must_refuse=case.must_refuse or not asked,
    )


def repeated_header(rng: np.random.Generator, case: Case) -> Case:
    """The line of names once more between the rows."""
    tables = {}
    for name, table in case.tables.items():
        cut = int(rng.integers(5, len(table) - 5))
        names = pd.DataFrame([list(table.columns)], columns=table.columns)
        tables[name] = pd.concat([table.iloc[:cut].astype(object), names, table.iloc[cut:].astype(object)])
    return replace(case, tables=tables)


def weekday(rng: np.random.Generator, case: Case) -> Case:
    """The day of the week beside the date."""

    def spelt(times: pd.Series) -> pd.Series:
        text = times.dt.strftime("%Y-%m-%d %H:%M:%S")
        return text + times.dt.strftime(" %a") if rng.random() < 0.5 else times.dt.strftime("%a ") + text

    if any(table["time"].dtype == object for table in case.tables.values()):
        return case
    return replace(case, tables={name: table.assign(time=spelt(table["time"])) for name, table in case.tables.items()})


def upside_down(rng: np.random.Generator, case: Case) -> Case:
    """A tenth of the bars have high and low exchanged."""
    tables = {}
    for name, table in case.tables.items():
        new = table.copy()
        some = rng.random(len(new)) < 0.1
        some[:5] = True
        new.loc[some, ["high", "low"]] = new.loc[some, ["low", "high"]].to_numpy()
        tables[name] = new
    return replace(case, tables=tables, must_refuse=True)


KINDS: list[Callable[[np.random.Generator, Case], Case]] = [
    statistic, reorder, mishead, repeat, disagree, shuffle, newest_first, constant_name, weekday, upside_down,
]  # fmt: skip


def written(rng: np.random.Generator, case: Case, folder: Path) -> None:
    """Under names that vendors use, the same in all files."""
    spelt = {role: str(rng.choice(names)) for role, names in NAMES.items()}
    separator = str(rng.choice([",", ";", "\t"]))
    for name, table in case.tables.items():
        table.rename(columns=spelt).to_csv(folder / f"{name}.csv", index=False, sep=separator, float_format="%.10g")


def drawn(rng: np.random.Generator) -> list[Callable[[np.random.Generator, Case], Case]]:
    """What is done to a table."""
    kinds = [KINDS[one] for one in sorted(rng.choice(len(KINDS), int(rng.integers(1, 3)), replace=False))]
    return [*kinds, repeated_header] if rng.random() < 0.1 else kinds


@pytest.mark.parametrize("seed", range(-(-TABLES // EACH)))
def test_the_right_bars_or_one_message(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    refusals, met = 0, Counter[str]()
    for number in range(EACH):
        folder = tmp_path / str(number)
        folder.mkdir()
        truth = {
            name: bars(rng, int(rng.integers(40, 120))) for name in ("Bitcoin", "Ether", "Solana")[: rng.integers(1, 4)]
        }
        case = Case(dict(truth))
        kinds = drawn(rng)
        for kind in kinds:
            case = kind(rng, case)
        met.update(kind.__name__ for kind in kinds)
        written(rng, case, folder)
        what = f"seed {seed}, table {number}: {', '.join(kind.__name__ for kind in kinds)}"
        if case.must_refuse:
            refusals += 1
            with pytest.raises(DataError) as refused:
                print(what, load_bars(folder, **case.options))
            assert len(str(refused.value)) < 1500, what
            continue
        store = load_bars(folder, **case.options)
        assert store.symbols == tuple(sorted(truth)), what
        for symbol, expected in truth.items():
            found = store[symbol]
            assert found.timestamps.tz_localize(None).equals(pd.DatetimeIndex(expected["time"]).as_unit("ns")), what
            np.testing.assert_allclose(found.values[:, :5], expected[list(FEATURES[:5])], rtol=1e-7, err_msg=what)
    assert 5 < refusals < 45
    assert set(met) == {kind.__name__ for kind in (*KINDS, repeated_header)}, "each seed brings every kind"
