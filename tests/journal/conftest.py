"""Forecasts as models make them, without a model; and a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler import Bars, Forecast, Journal
from chandler.data import CLOSE, BarStore
from chandler.forecasting import Sampling

START = "2024-03-04"
"""A Monday."""


def walk(symbol: str = "ACME", rows: int = 60, *, zone: str | None = "UTC", seed: int = 0, freq: str = "h") -> Bars:
    """Bars of a random walk from `START` on."""
    draws = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(draws.normal(0, 0.01, rows)))
    prices = np.stack([close * (1 + shift) for shift in (0, 0.002, -0.002, 0)], axis=1)
    values = np.concatenate([prices, np.ones((rows, 2))], axis=1)
    return Bars(symbol, pd.date_range(START, periods=rows, freq=freq, tz=zone).as_unit("ns"), values, f"{symbol}.csv")


def forecast_at(bars: Bars, row: int, horizon: int = 4, *, paths: int = 30, seed: int = 0, **more: Any) -> Forecast:
    """A forecast after the bars [0, row], of the times that they go on with."""
    history = bars.slice(max(0, row - 19), row + 1)
    noise = np.random.default_rng([seed, row]).normal(0, 0.012, (paths, horizon)).cumsum(axis=1)
    sampled = history.values[-1] * np.exp(noise)[..., None]
    facts: dict[str, Any] = {"sampling": Sampling(), "seed": seed, "calendar": "24/7", "model": "toy"}
    return Forecast(bars.symbol, bars.timestamps[row + 1 : row + 1 + horizon], sampled, history, **(facts | more))


def ranked(bars: Bars, row: int, rank: int, model: str) -> Forecast:
    """A forecast of one bar by nine paths, so many of them below what came: its PIT lies in the tenth of that number."""
    came = bars.values[row + 1, CLOSE]
    made = forecast_at(bars, row, 1, paths=9, model=model)
    paths = np.zeros_like(made.paths) + (came * (1 + (np.arange(9) - rank + 0.5) / 1000))[:, None, None]
    return replace(made, paths=paths)


def keep_ranked(
    journal: Journal, model: str, ranks: Sequence[int], patch: pytest.MonkeyPatch, symbol: str = "ACME"
) -> None:
    """A live forecast of each rank, an origin after the other, kept and scored."""
    bars = walk(symbol, len(ranks) + 21)
    for row, rank in enumerate(ranks, 19):
        patch.setattr("chandler.journal.clock.now", lambda moment=bars.timestamps[row]: moment)
        journal.keep([ranked(bars, row, rank, model)])
    patch.setattr("chandler.journal.clock.now", lambda: bars.timestamps[-1] + pd.Timedelta(days=1))
    journal.score(store_of(bars))


def store_of(*bars: Bars) -> BarStore:
    return BarStore.from_bars(bars)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], pd.Timestamp]:
    """Set the clock to a moment: UTC where it has no zone."""

    def set_to(moment: Any) -> pd.Timestamp:
        found = pd.Timestamp(moment)
        found = (found.tz_localize("UTC") if found.tz is None else found.tz_convert("UTC")).as_unit("ns")
        monkeypatch.setattr("chandler.journal.clock.now", lambda: found)
        return found

    return set_to
