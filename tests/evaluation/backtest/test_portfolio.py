"""Top-k dropout against a ledger kept by hand: four symbols, six days, every number written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandler.data.bars import Bars
from chandler.data.store.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.evaluation.backtest.panel import Panel
from chandler.evaluation.backtest.portfolio import CostSettings, PortfolioSettings, choose, simulate

DAYS = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"])
NAN = float("nan")
# Opens and closes; 0 volume or no row where the day was not traded.
PRICES = {
    "A": [(10, 10), (10, 11), (11, 12), (12, 12), (12, 12), (12, 12)],
    "B": [(20, 20), (20, 20), (20, 22), (22, 22), (24.2, 25), (25, 25)],
    "C": [(5, 5), (5, 5), (5, 5), (6, 6), (6, 6), (6, 6)],
    "D": [(8, 8), (8, 8), (8, 8), (8, 8), (8, 8), (8, 8)],
}


def store(prices=PRICES, volumes=(), missing=(), flat=()) -> BarStore:
    """Bars whose high and low lie around open and close, volume 100 unless said otherwise."""
    series = []
    for symbol, pairs in prices.items():
        rows, days = [], []
        for number, (opened, closed) in enumerate(pairs):
            if (symbol, number) in missing:
                continue
            spread = 0 if (symbol, number) in flat else 1
            volume = 0 if (symbol, number) in volumes else 100
            rows.append([opened, max(opened, closed) + spread, min(opened, closed) - spread, closed, volume, 0])
            if spread == 0:
                rows[-1][1] = rows[-1][2] = closed
            days.append(DAYS[number])
        series.append(Bars(symbol, pd.DatetimeIndex(days), np.array(rows, float)))
    return BarStore.from_bars(series)


def run(scores, *, bars=None, **settings):
    panel = Panel.from_store(bars or store())
    rule = {"k": 1, "n_drop": 1, "capital": 1000.0, "costs": CostSettings(buy=0, sell=0)} | settings
    table = np.full((len(panel), len(panel.symbols)), NAN)
    for day, row in scores.items():
        table[day] = row
    return simulate(panel, table, PortfolioSettings(**rule), np.zeros(len(panel)))


def test_a_signal_at_the_close_is_traded_at_the_next_open():
    """A bought at 10 on day 1 with the signal of day 0: 100 shares; closes 11, 12, 12, 12, 12."""
    curve = run({0: [3, 2, 1, 0]})
    assert curve.daily["value"].tolist() == pytest.approx([1, 1.1, 1.2, 1.2, 1.2, 1.2])
    assert curve.daily["timestamp"].tolist() == DAYS.tolist()
    [trade] = curve.trades.to_dict("records")
    assert (trade["symbol"], trade["side"], trade["timestamp"], trade["signal_time"]) == ("A", "buy", DAYS[1], DAYS[0])
    assert (trade["price"], trade["shares"], trade["value"]) == (10, 100, 1000)


def test_costs_are_paid_on_both_sides():
    """1% to buy and 2% to sell. Buy A: 1000 / 1.01 = 990.10 at 10, cost 9.90. Sell 99.0099 A at 11 on day 2:
    1089.11 less 21.78 is 1067.33, which buys B for 1056.76 at 20 (cost 10.57); B closes at 22: 1162.43."""
    curve = run({0: [3, 2, 1, 0], 1: [0, 3, 1, 0]}, costs=CostSettings(buy=100, sell=200))
    assert curve.trades["side"].tolist() == ["buy", "sell", "buy"]
    assert curve.trades["value"].tolist() == pytest.approx([990.0990099, 1089.1089109, 1056.7592393])
    assert curve.trades["cost"].tolist() == pytest.approx([9.9009901, 21.7821782, 10.5675924])
    # Day 1: 99.0099 x 11 = 1089.11. Day 2: 52.837962 B x 22 = 1162.435.
    assert curve.daily["value"].tolist()[:3] == pytest.approx([1, 1.0891089, 1.1624352])
    # The round trip of A: 1067.33 got for 1000 spent.
    assert curve.trades["profit"].tolist()[1] == pytest.approx(0.0673267)
    assert curve.trades["held"].tolist() == [0, 1, 0]
    assert curve.daily["turnover"].tolist()[1:3] == pytest.approx([0.990099, (1089.1089 + 1056.7592) / 1089.1089])
    assert curve.daily["cost"].tolist()[1:3] == pytest.approx([0.00990099, (21.782178 + 10.567592) / 1089.1089])


def test_the_least_cost_of_a_trade_counts_where_it_is_higher():
    """0.1% of some 995 is less than 5: each trade costs 5. Buys 995 of A, sells 1094.50 less 5."""
    curve = run({0: [3, 2, 1, 0], 1: [0, 3, 1, 0]}, costs=CostSettings(buy=10, sell=10, least=5))
    assert curve.trades["cost"].tolist() == [5, 5, 5]
    assert curve.trades["value"].tolist() == pytest.approx([995, 1094.5, 1084.5])


def test_equal_shares_of_the_cash_drift_and_are_not_topped_up():
    """k 2: 500 in A (50 shares), 500 in B (25). Day 2: 50 x 12 + 25 x 22 = 1150. Nothing else is ever traded."""
    same = {day: [3, 2, 1, 0] for day in range(6)}
    curve = run(same, k=2)
    assert curve.trades["value"].tolist() == [500, 500]
    assert curve.daily["value"].tolist()[1:4] == pytest.approx([1.05, 1.15, 1.15])
    assert curve.daily["names"].tolist() == [0, 2, 2, 2, 2, 2]


def test_at_most_n_drop_names_are_replaced_and_only_by_better_ones():
    """Held A, B. D and C are better than both: with n_drop 1 the worst (B) goes for the best (D), A stays."""
    curve = run({0: [3, 2, 1, 0], 1: [2, 1, 3, 4]}, k=2)
    assert curve.trades[["side", "symbol"]].to_numpy().tolist()[2:] == [["sell", "B"], ["buy", "D"]]
    # Nobody outside is better than the worst inside: no trade.
    calm = run({0: [3, 2, 1, 0], 1: [9, 1, 0.5, 0]}, k=2)
    assert len(calm.trades) == 2


def test_at_limit_up_a_buy_is_not_filled_and_its_cash_waits():
    """Day 4: B opens at 24.2, 10% above 22. The signal of day 3 buys it at a limit of 9.5% in vain; C is sold
    before at 6 x 166.67 = 1000 on day 4, so the money lies in cash. Without a limit 41.32 B make 1033.06 at 25."""
    scores = {0: [0, 0, 3, 0], 3: [0, 3, 0, 0]}
    curve = run(scores, limit=0.095)
    assert curve.trades[["side", "symbol"]].to_numpy().tolist() == [["buy", "C"], ["sell", "C"]]
    assert curve.daily["blocked"].tolist() == [0, 0, 0, 0, 1, 0]
    assert curve.daily["cash"].tolist()[-2:] == [1, 1]
    assert curve.daily["value"].tolist() == pytest.approx([1, 1, 1, 1.2, 1.2, 1.2])
    free = run(scores)
    assert free.daily["value"].tolist()[-1] == pytest.approx(1.2 * 25 / 24.2)
    # Exactly at the limit counts as at it, whatever the last digit of the price says.
    assert len(run(scores, limit=0.1).trades) == 2
    assert len(run(scores, limit=0.11).trades) == 3


def test_at_limit_down_a_sale_is_not_filled_but_a_buy_is():
    """A opens 10% down on day 2. Held A cannot be sold; the buy of B has no cash (k 1)."""
    prices = PRICES | {"A": [(10, 10), (10, 10), (9, 8), (8, 8), (8, 8), (8, 8)]}
    curve = run({0: [3, 2, 1, 0], 1: [0, 3, 2, 1]}, bars=store(prices), limit=0.095)
    assert curve.trades["side"].tolist() == ["buy"]
    assert curve.daily["blocked"].tolist() == [0, 0, 1, 0, 0, 0]
    assert curve.daily["value"].tolist() == pytest.approx([1, 1, 0.8, 0.8, 0.8, 0.8])
    bought = run({1: [3, 2, 1, 0]}, bars=store(prices), limit=0.095)
    assert bought.trades[["side", "price"]].to_numpy().tolist() == [["buy", 9]]


def test_a_suspended_name_is_neither_bought_nor_sold_and_keeps_its_last_value():
    """A has no row on day 2: it stays at 11, and the signal of day 1 to swap it for B lapses. On day 3 (no signal
    of day 2) nothing happens; A is back at 12. A zero volume is the same as no row."""
    scores = {0: [3, 2, 1, 0], 1: [0, 3, 1, 0]}
    for bars in (store(missing={("A", 2)}), store(volumes={("A", 2)})):
        curve = run(scores, bars=bars)
        assert curve.trades["side"].tolist() == ["buy"]
        assert curve.daily["value"].tolist()[1] == pytest.approx(1.1)
        assert curve.daily["value"].tolist()[3:] == pytest.approx([1.2, 1.2, 1.2])
        assert curve.daily["blocked"].tolist() == [0, 0, 1, 0, 0, 0]
    assert run(scores, bars=store(missing={("A", 2)})).daily["value"].tolist()[2] == pytest.approx(1.1)
    unbought = run({0: [3, 2, 1, 0], 1: [4, 3, 1, 0]}, bars=store(missing={("A", 1)}))
    assert unbought.trades[["symbol", "timestamp"]].to_numpy().tolist() == [["A", DAYS[2]]]


def test_a_name_that_ceases_to_trade_is_settled_at_its_last_close():
    """A has its last bar on day 1 (close 11). With settle 2 the 100 shares become 1100 on day 3, less 1%; the money
    buys what the next signal says."""
    gone = store(missing={("A", day) for day in (2, 3, 4, 5)})
    scores = {0: [3, 2, 1, 0], 2: [NAN, 0, 1, 0], 3: [NAN, 0, 1, 0]}
    curve = run(scores, bars=gone, settle=2, costs=CostSettings(buy=0, sell=100))
    assert curve.trades[["side", "symbol", "value"]].to_numpy().tolist() == [
        ["buy", "A", 1000], ["settle", "A", 1100], ["buy", "C", 1089]]  # fmt: skip
    assert curve.trades["timestamp"].tolist() == [DAYS[1], DAYS[3], DAYS[3]]
    assert curve.daily["value"].tolist() == pytest.approx([1, 1.1, 1.1, 1.089, 1.089, 1.089])
    stays = run(scores, bars=gone, settle=None)
    assert stays.trades["side"].tolist() == ["buy"]
    assert stays.daily["value"].tolist()[-1] == pytest.approx(1.1)


def test_data_without_volume_is_not_taken_for_suspended():
    silent = store(volumes={(symbol, day) for symbol in PRICES for day in range(6)})
    assert len(run({0: [3, 2, 1, 0]}, bars=silent).trades) == 1


def test_the_holding_period_counts_bars_from_the_purchase():
    """A is bought at the open of day 1. The signals of days 1, 2 and 3 want B instead. Held 1: sold on day 2; held 2:
    on day 3; held 3: on day 4. Money waiting for the sale of A buys nothing."""
    scores = {0: [3, 2, 1, 0], 1: [0, 3, 1, 0], 2: [0, 3, 1, 0], 3: [0, 3, 1, 0]}
    for hold, day in ((1, 2), (2, 3), (3, 4)):
        trades = run(scores, hold=hold).trades
        assert trades["side"].tolist() == ["buy", "sell", "buy"]
        assert trades["timestamp"].tolist()[1] == DAYS[day]
        assert trades["held"].tolist()[1] == hold
    assert run(scores, hold=4).trades["side"].tolist() == ["buy"]


def test_bars_of_one_price_trade_against_their_move_only():
    up = PRICES | {"A": [(10, 10), (10, 10), (11, 11), (11, 11), (11, 11), (11, 11)]}
    bars = store(up, flat={("A", 2)})
    assert run({1: [3, 2, 1, 0]}, bars=bars).trades.empty  # locked at the top: nobody sells
    assert len(run({1: [3, 2, 1, 0]}, bars=bars, one_price=False).trades) == 1
    sold = run({0: [3, 2, 1, 0], 1: [0, 3, 2, 1]}, bars=bars)
    assert sold.trades[["side", "price"]].to_numpy().tolist()[1] == ["sell", 11]
    still = store(flat={("D", 1)})  # one price, no move: no trade either way
    assert run({0: [0, 1, 2, 3]}, bars=still).trades.empty


def test_a_held_name_without_a_score_is_the_worst():
    curve = run({0: [3, 2, 1, 0], 1: [NAN, 0, 1, -1]})
    assert curve.trades[["side", "symbol"]].to_numpy().tolist() == [["buy", "A"], ["sell", "A"], ["buy", "C"]]


def test_what_comes_later_changes_nothing_before():
    """Prices, volumes and scores after day 3 are replaced: days 0 to 3 stay as they were, to the bit."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(6, 4))
    rule = PortfolioSettings(k=2, n_drop=1, limit=0.08)
    panel = Panel.from_store(store())
    before = simulate(panel, scores, rule, np.zeros(6))
    wild = {symbol: [*pairs[:4], (50, 1), (1, 90)] for symbol, pairs in PRICES.items()}
    other = Panel.from_store(store(wild, volumes={("A", 4)}, missing={("B", 5)}))
    scores[4:] = generator.normal(size=(2, 4)) * 100
    after = simulate(other, scores, rule, np.zeros(6))
    pd.testing.assert_frame_equal(before.daily.iloc[:4], after.daily.iloc[:4])
    early = [curve.trades[curve.trades["timestamp"] <= DAYS[3]] for curve in (before, after)]
    pd.testing.assert_frame_equal(*early)
    assert not before.daily.equals(after.daily)


def test_choose_is_the_rule_of_qlib():
    scores = np.array([5.0, 4, 3, 2, 1, 0])
    pick = lambda held, k, n: [part.tolist() for part in choose(scores, np.array(held, int), k, n)]  # noqa: E731
    assert pick([], 2, 1) == [[], [0, 1]]
    assert pick([4, 5], 2, 1) == [[5], [0]]
    assert pick([4, 5], 2, 2) == [[4, 5], [0, 1]]
    assert pick([0, 1], 2, 1) == [[], []]
    assert pick([1, 2, 3], 2, 1) == [[3], []]  # one more than k, after a sale that was not filled: one goes, none comes
    assert pick([0], 3, 1) == [[], [1, 2]]


def test_the_default_rule_keeps_the_paper_s_proportions():
    assert PortfolioSettings().sized(300) == (50, 5)
    assert PortfolioSettings().sized(1000) == (50, 5)
    assert PortfolioSettings().sized(60) == (10, 1)
    assert PortfolioSettings().sized(5) == (1, 1)
    with pytest.raises(ConfigError, match=r"5 of 5 symbols leaves nothing to choose\. Set portfolio\.k below 5"):
        PortfolioSettings(k=5).sized(5)
    with pytest.raises(ConfigError, match=r"n_drop \(3\) must not be above portfolio\.k \(2\)"):
        PortfolioSettings(k=2, n_drop=3).sized(5)


def test_signals_with_no_bar_after_them_are_refused():
    with pytest.raises(DataError, match="no signal with a bar after it"):
        run({5: [3, 2, 1, 0]})


def test_panel_of_holes_zones_and_years():
    panel = Panel.from_store(store(missing={("A", 2)}))
    assert np.isnan(panel.open[2, 0])
    assert panel.value[:, 0].tolist() == [10, 11, 11, 12, 12, 12]
    assert panel.returns()[:4, 0].tolist() == pytest.approx([NAN, 0.1, 0, 12 / 11 - 1], nan_ok=True)
    assert panel.bars_per_year() == pytest.approx(5 * 365.25 / 7)
    assert len(panel.until(3)) == 3
