"""Which windows are forecast: rounds that all symbols share, whole windows inside the period, and none twice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, BarStore
from chandler.errors import DataError
from chandler.evaluation.walk_forward.origins import find_origins


def daily(symbol: str, first: str, count: int, *, skip: tuple[int, ...] = (), zone: str | None = None) -> Bars:
    """Daily bars whose close counts up from 1; `skip` leaves days out."""
    index = pd.date_range(first, periods=count, tz=zone).as_unit("ns").delete(list(skip))
    closes = np.arange(1.0, len(index) + 1)
    return Bars(symbol, index, np.stack([closes] * 4 + [np.ones_like(closes)] * 2, axis=1))


def found(store: BarStore, **options: object) -> list[tuple[str, str, int]]:
    origins = find_origins(store, 3, 2, **{"stride": 2, **options})  # type: ignore[arg-type]
    return [
        (origins.symbol(w), str(origins.bars(w)[0].timestamps[-1].date())[5:], int(origins.rounds[w]))
        for w in range(len(origins))
    ]


def test_windows_are_whole_and_a_stride_apart() -> None:
    store = BarStore.from_bars([daily("A", "2024-01-01", 10)])
    # Lookback 3: the first origin is row 3; horizon 2: the last is row 8 of 10.
    assert found(store) == [("A", "01-03", 0), ("A", "01-05", 1), ("A", "01-07", 2)]
    origins = find_origins(store, 3, 2, stride=2)
    history, truth = origins.bars(1)
    assert history.values[:, 3].tolist() == [3, 4, 5]
    assert truth.values[:, 3].tolist() == [6, 7]
    assert origins.apart == 2


def test_symbols_are_forecast_at_the_same_moments() -> None:
    # B begins two days later and misses the 7th: it is out of rounds 0 (no history) and 2 (no bar).
    store = BarStore.from_bars([daily("A", "2024-01-01", 12), daily("B", "2024-01-03", 10, skip=(4,))])
    assert found(store) == [
        ("A", "01-03", 0), ("A", "01-05", 1), ("B", "01-05", 1), ("A", "01-07", 2), ("A", "01-09", 3), ("B", "01-09", 3),
    ]  # fmt: skip


def test_the_period_holds_every_forecast_bar() -> None:
    store = BarStore.from_bars([daily("A", "2024-01-01", 20)])
    chosen = found(store, start="2024-01-08", end="2024-01-12", stride=1)
    assert [day for _, day, _ in chosen] == ["01-07", "01-08", "01-09", "01-10"]
    york = BarStore.from_bars([daily("A", "2024-01-01", 20, zone="America/New_York")])
    assert [day for _, day, _ in found(york, start="2024-01-08", end="2024-01-12", stride=1)] == [
        d for _, d, _ in chosen
    ]


def test_a_period_may_end_when_it_likes() -> None:
    for zone in (None, "America/New_York"):
        store = BarStore.from_bars([daily("A", "2024-01-01", 20, zone=zone)])
        assert found(store, start="0001-01-01", end="9999-12-31") == found(store)


def test_no_window_crosses_a_segment() -> None:
    bars = daily("A", "2024-01-01", 10)
    store = BarStore.from_bars([Bars("A", bars.timestamps, bars.values, segments=np.array([[0, 5], [5, 10]]))])
    assert [day for _, day, _ in found(store, stride=1)] == ["01-03", "01-08"]


def test_few_origins_are_spread_evenly() -> None:
    store = BarStore.from_bars([daily("A", "2024-01-01", 25)])
    assert [day for _, day, _ in found(store, stride=1, limit=3)] == ["01-03", "01-13", "01-23"]


def test_nothing_to_forecast_says_what_there_is() -> None:
    store = BarStore.from_bars([daily("A", "2024-01-01", 4)])
    with pytest.raises(
        DataError, match=r"3 bars of lookback before it and 2 bars of horizon .* longest stretch has 4 bars"
    ):
        find_origins(store, 3, 2, stride=1)
    with pytest.raises(DataError, match="from 2025-01-01"):
        find_origins(store, 2, 1, stride=1, start="2025-01-01")
    with pytest.raises(DataError, match="start and end must be dates"):
        find_origins(store, 2, 1, stride=1, start="soon")


def test_every_moment_has_a_seed_of_its_own_before_1970_too() -> None:
    store = BarStore.from_bars([daily("SPX", "1969-12-20", 30), daily("DJI", "1969-12-20", 30)])
    origins = find_origins(store, 3, 2, stride=2)
    windows = np.arange(len(origins))
    seeds = origins.seeds(0, windows)
    assert len(set(seeds)) == len(seeds) == 2 * 13
    assert origins.seeds(0, windows[5:7]) == seeds[5:7]


def test_a_digest_tells_all_bars_up_to_the_last_of_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chandler.evaluation.walk_forward.origins._PIECE", 3)

    def digest(a: Bars, b: Bars, **options: object) -> str:
        store = BarStore.from_bars([a, b])
        return find_origins(store, 3, 2, **{"stride": 2, "end": "2024-01-12", **options}).digest()  # type: ignore[arg-type]

    def changed(bars: Bars, row: int, column: int) -> Bars:
        values = bars.values.copy()
        values[row, column] += 1e-3
        return Bars(bars.symbol, bars.timestamps, values)

    a, b = daily("A", "2024-01-01", 20), daily("B", "2024-01-05", 12)
    whole = digest(a, b)
    assert digest(changed(a, 11, 3), b) == digest(a, changed(b, 8, 5)) == digest(a, b.slice(0, 9)) == whole
    others = [
        digest(changed(a, 0, 5), b), digest(changed(a, 10, 0), b), digest(a, changed(b, 0, 4)), digest(a, b, stride=1),
        digest(a, b.slice(1, 12)), digest(a, daily("C", "2024-01-05", 12)), digest(a, daily("B", "2024-01-05", 12, zone="UTC")),
        digest(daily("A", "2024-01-01", 20, skip=(6,)), b),
    ]  # fmt: skip
    assert len({whole, *others}) == 1 + len(others)


def test_some_of_the_rounds_and_later_ones_are_counted_on() -> None:
    store = BarStore.from_bars([daily("A", "2024-01-01", 23), daily("B", "2024-01-01", 23)])
    every = find_origins(store, 3, 2, stride=2)
    some = every.at_most(4)
    assert some.rounds.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert some.apart == 6
    assert every.at_most(len(every)) is every
    left = every.take(every.rounds >= 6)  # of the later ones alone, and four of them
    assert left.at_most(2).rounds.tolist() == [0, 0, 1, 1]
    assert left.at_most(2).rows[-1] == left.rows[-1]
    both = every.take(every.rounds < 3).followed_by(left.at_most(2))
    assert both.rounds.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert both.apart == 2
    assert [both.symbol(window) for window in range(4)] == ["A", "B", "A", "B"]
