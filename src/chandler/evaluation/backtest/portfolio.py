"""Top-k dropout in return space: what a portfolio is worth, bar by bar, that trades a signal at the next open.

The rule is that of qlib's TopkDropoutStrategy, so that results compare; docs/backtest.md says where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from chandler.errors import ConfigError, DataError
from chandler.evaluation.backtest.panel import Array, Mask, Panel
from chandler.settings import StrictModel

DAILY = ["timestamp", "value", "return", "benchmark", "benchmark_return", "excess", "turnover", "cost", "cash",
         "names", "blocked"]  # fmt: skip
TRADES = ["timestamp", "signal_time", "symbol", "side", "price", "shares", "value", "cost", "score", "held", "profit"]


class CostSettings(StrictModel):
    """What a trade costs."""

    buy: float = Field(15.0, ge=0, lt=10_000)
    """Basis points of the traded value of a buy: 15 is 0.15%."""
    sell: float = Field(15.0, ge=0, lt=10_000)
    """Basis points of the traded value of a sale."""
    least: float = Field(0.0, ge=0)
    """At least so much per trade, in units of the capital."""


class PortfolioSettings(StrictModel):
    """The rule of trading."""

    k: int | None = Field(None, ge=1)
    """Names to hold; null: a sixth of the symbols, at most 50 (the paper holds 50 of 300)."""
    n_drop: int | None = Field(None, ge=1)
    """Names to replace at most on one bar; null: a tenth of k."""
    hold: int = Field(1, ge=1)
    """Bars that a name is held at least, from the open it was bought at."""
    costs: CostSettings = Field(default_factory=CostSettings)
    limit: float | None = Field(None, gt=0)
    """Daily price limit: a bar that opens at least so much above the last close is not bought, below it not sold.
    null: no limits. Mainland China: 0.095."""
    one_price: bool = True
    """Do not buy bars of one price (high = low) unless they fell, nor sell them unless they rose."""
    settle: int | None = Field(20, ge=1)
    """A held name without a bar for so many bars of the calendar ceased to trade: it is taken out at its last close, at
    the cost of a sale, and its place is free. null: it stays for ever, as in qlib."""
    invest: float = Field(1.0, gt=0, le=1)
    """Share of the cash that the buys of one bar may use."""
    capital: float = Field(1e6, gt=0)
    """Money at the start; matters for costs.least only."""

    def sized(self, symbols: int) -> tuple[int, int]:
        """(k, n_drop) for so many symbols. ConfigError where nothing is left to choose."""
        k = self.k if self.k is not None else min(50, max(1, symbols // 6))
        n_drop = self.n_drop if self.n_drop is not None else max(1, k // 10)
        if k >= symbols:
            raise ConfigError(
                f"{k} of {symbols} symbol{'s' if symbols != 1 else ''} leaves nothing to choose. "
                + (f"Set portfolio.k below {symbols}, or give more symbols." if symbols > 1 else "Give more symbols.")
            )
        if n_drop > k:
            raise ConfigError(f"portfolio.n_drop ({n_drop}) must not be above portfolio.k ({k}).")
        return k, n_drop


@dataclass(frozen=True, eq=False)
class Curve:
    """A simulated portfolio."""

    daily: pd.DataFrame
    """A row per bar, the first that of the first signal (nothing held yet, returns NaN). `value` and `benchmark`
    begin at 1; `return`, `benchmark_return` and `excess` (their difference) per bar; `turnover`: bought and sold
    value over the value one bar ago; `cost`: costs over the value one bar ago; `cash`: share of the value;
    `names`: symbols held; `blocked`: orders that were not filled (limit, one price, suspended)."""
    trades: pd.DataFrame
    """A row per fill (`side` buy, sell or settle): price, shares, traded value and cost in units of the capital; for sales `held` bars and
    `profit`, the return of the round trip after both costs."""


def simulate(panel: Panel, scores: Array, settings: PortfolioSettings, benchmark: Array) -> Curve:
    """Trade `scores` by top-k dropout.

    A score of bar t is known at its close and traded at the open of bar t + 1. On such a bar, with h names held:
    the best k + n_drop - h names that have a score and are not held are candidates; held names that are among the
    n_drop worst of held and candidates together are sold (a name without a score is worst); as many of the best
    candidates are bought as bring the book back to k. Sales come first; each buy gets the same share of the cash.
    Orders that cannot be filled, and sales before `hold` bars, lapse; their names are not replaced by others, and
    the buys go on with the cash there is, so that the book may hold up to k + n_drop names. Positions drift,
    are never topped up, and are not sold at the end. Cash earns nothing.

    Args:
        panel: T bars of S symbols.
        scores: (T, S), NaN where there is none; bars without any are not traded after.
        settings: the rule.
        benchmark: (T,) return of the benchmark from one close to the next.

    Raises:
        DataError: no score at all, or none before the last bar.
        ConfigError: a rule that leaves nothing to choose.
    """
    k, n_drop = settings.sized(len(panel.symbols))
    signalled = np.flatnonzero(np.isfinite(scores).any(axis=1))
    if not len(signalled) or signalled[0] >= len(panel) - 1:
        raise DataError(
            "there is no signal with a bar after it: nothing can be traded. Check the dates of the signals."
        )
    first, scored = int(signalled[0]), set(signalled.tolist())
    book = _Ledger(panel, settings)
    rows: list[tuple[Any, ...]] = [(panel.times[first], 1.0, np.nan, 1.0, np.nan, np.nan, 0.0, 0.0, 1.0, 0, 0)]
    worth, held_against = settings.capital, 1.0
    for bar in range(first + 1, len(panel)):
        book.settle(bar)
        if bar - 1 in scored:
            sales, buys = choose(scores[bar - 1], book.held(), k, n_drop)
            book.trade(bar, scores[bar - 1], sales, buys)
        before, worth = worth, book.worth(bar)
        held_against *= 1 + benchmark[bar]
        gain = worth / before - 1
        rows.append((
            panel.times[bar], worth / settings.capital, gain, held_against, benchmark[bar], gain - benchmark[bar],
            book.traded / before, book.paid / before, book.cash / worth, len(book.held()), book.blocked,
        ))  # fmt: skip
        book.traded = book.paid = 0.0
        book.blocked = 0
    return Curve(pd.DataFrame(rows, columns=DAILY), pd.DataFrame(book.fills, columns=TRADES))


def choose(scores: Array, held: NDArray[np.int64], k: int, n_drop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the held symbols to sell and which others to buy, best first; equal scores go by position.

    Args:
        scores: (S,), NaN for none.
        held: positions of the symbols held.

    Source: qlib, contrib/strategy/signal_strategy.py, TopkDropoutStrategy (method_sell "bottom", method_buy "top").
    """
    best = np.argsort(-scores, kind="stable")  # NaN sorts last
    candidates = best[np.isfinite(scores[best]) & ~np.isin(best, held)][: max(0, n_drop + k - len(held))]
    both = best[np.isin(best, np.concatenate([held, candidates]))]
    worst = both[-n_drop:]
    sales = worst[np.isin(worst, held)]
    return sales, candidates[: max(0, len(sales) + k - len(held))]


@lru_cache(maxsize=2)  # random signals trade the same market a hundred times
def _market(panel: Panel, limit: float | None, one_price: bool) -> tuple[Mask, Mask, NDArray[np.int32]]:
    """(T, S) each: whether buys, and whether sales, are filled; and the last bar so far, -1 for none."""
    bars = np.where(panel.has_bar, np.arange(len(panel), dtype=np.int32)[:, None], np.int32(-1))
    buys, sales = (panel.fillable(limit, one_price, up) for up in (True, False))
    return buys, sales, np.maximum.accumulate(bars, axis=0)


class _Ledger:
    """Cash and positions, and what happened to them since they were last asked."""

    def __init__(self, panel: Panel, settings: PortfolioSettings) -> None:
        self.panel, self.settings = panel, settings
        self.cash = settings.capital
        self.shares = np.zeros(len(panel.symbols))
        self.since = np.zeros(len(panel.symbols), np.int64)
        self.spent = np.zeros(len(panel.symbols))
        self.buyable, self.sellable, self.seen = _market(panel, settings.limit, settings.one_price)
        self.traded = self.paid = 0.0
        self.blocked = 0
        self.fills: list[tuple[Any, ...]] = []

    def held(self) -> NDArray[np.int64]:
        """Positions of the symbols held."""
        return np.flatnonzero(self.shares > 0)

    def worth(self, bar: int) -> float:
        """Cash and positions at the close of a bar."""
        held = self.held()
        return float(self.cash + self.shares[held] @ self.panel.value[bar, held])

    def settle(self, bar: int) -> None:
        """Take out what has not had a bar for long, at its last close."""
        if self.settings.settle is not None:
            for symbol in self.held():
                if bar - max(self.seen[bar, symbol], self.since[symbol]) >= self.settings.settle:
                    price = float(self.panel.value[bar, symbol])
                    self._fill(bar, symbol, "settle", price, float(self.shares[symbol] * price), np.nan)

    def trade(self, bar: int, scores: Array, sales: NDArray[np.int64], buys: NDArray[np.int64]) -> None:
        """Fill the orders at the open of a bar, sales first, as far as they can be filled."""
        opens = self.panel.open[bar]
        for symbol in sales:
            if bar - self.since[symbol] < self.settings.hold:
                continue
            if self.sellable[bar, symbol]:
                value = float(self.shares[symbol] * opens[symbol])
                self._fill(bar, symbol, "sell", float(opens[symbol]), value, scores[symbol])
            else:
                self.blocked += 1
        value = self._affordable(self.cash / len(buys)) if len(buys) else 0.0
        for symbol in buys:
            if not self.buyable[bar, symbol]:
                self.blocked += 1
            elif value > 0:
                self._fill(bar, symbol, "buy", float(opens[symbol]), value, scores[symbol])

    def _affordable(self, share: float) -> float:
        """The value that `share` of the cash buys, its cost paid from the same share."""
        costs = self.settings.costs
        wanted = share * self.settings.invest
        if wanted + max(wanted * costs.buy / 1e4, costs.least) > share:
            wanted = min(share / (1 + costs.buy / 1e4), share - costs.least)
        return wanted if wanted > 1e-9 * self.settings.capital else 0.0

    def _fill(self, bar: int, symbol: int, side: str, price: float, value: float, score: float) -> None:
        """Buy for so much, or sell (settle) the whole position, which is worth so much."""
        costs, held, profit = self.settings.costs, 0, np.nan
        if side == "buy":
            cost = max(value * costs.buy / 1e4, costs.least)
            self.cash -= value + cost
            self.shares[symbol], self.since[symbol], self.spent[symbol] = value / price, bar, value + cost
        else:
            cost = min(max(value * costs.sell / 1e4, costs.least), value)
            self.cash += value - cost
            held, profit = int(bar - self.since[symbol]), (value - cost) / self.spent[symbol] - 1
            self.shares[symbol] = 0.0
        self.traded += value
        self.paid += cost
        when, signalled = self.panel.times[bar], self.panel.times[bar - 1]
        self.fills.append((
            when, signalled, self.panel.symbols[symbol], side, price, value / price, value, cost, float(score), held, profit,
        ))  # fmt: skip
