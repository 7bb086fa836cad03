"""DLinear finds what there is to find, and stays at the last close where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from chandler.data.bars import Bars
from chandler.data.store.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.evaluation.baselines import DLinear, close_windows
from chandler.measures import band, inside

L, H = 24, 6


def windows_of(logs: np.ndarray) -> np.ndarray:
    """All windows (N, L + H) of closes, from log prices (T,)."""
    return np.lib.stride_tricks.sliding_window_view(np.exp(logs), L + H)


def reverting(size: int, seed: int) -> np.ndarray:
    """Log prices that lose 30% of their distance from 0 with each bar: predictable."""
    rng, logs = np.random.default_rng(seed), np.zeros(size)
    for bar in range(1, size):
        logs[bar] = 0.7 * logs[bar - 1] + 0.01 * rng.normal()
    return logs


def centre(model: DLinear, history: np.ndarray, paths: int = 200) -> np.ndarray:
    """(H,) what it says but for its residuals, whose mean is 0 at each step: the mean of log paths."""
    return np.exp(np.log(model.sample(history, H, paths, seed=0)).mean(axis=0))


@pytest.fixture(scope="module")
def fitted() -> DLinear:
    return DLinear.fit(windows_of(reverting(3000, seed=0)), H, seed=0)


def test_it_learns_to_revert(fitted: DLinear) -> None:
    fresh = windows_of(reverting(800, seed=1))
    history, truth = fresh[:, :L], fresh[:, L:]
    errors = np.mean([np.abs(centre(fitted, h) - t).mean() for h, t in zip(history, truth, strict=True)])
    naive = np.mean([np.abs(h[-1] - t).mean() for h, t in zip(history, truth, strict=True)])
    # The best that can be known leaves about 1 / sqrt(2) of it at long horizons.
    assert errors < 0.85 * naive


def test_its_band_covers_what_it_says_on_fresh_data(fitted: DLinear) -> None:
    fresh = windows_of(reverting(2000, seed=2))[::4]
    found = [inside(*band(fitted.sample(w[:L], H, 200, seed=0), 0.9), w[L:]).mean() for w in fresh]
    assert np.mean(found) == pytest.approx(0.9, abs=0.04)


def test_on_a_random_walk_it_stays_near_the_last_close() -> None:
    logs = np.cumsum(0.01 * np.random.default_rng(3).normal(size=3000))
    model = DLinear.fit(windows_of(logs), H, seed=0)
    history = np.exp(logs[-L:])
    away = np.abs(np.log(centre(model, history, 20_000) / history[-1]))
    assert (away < 0.3 * 0.01 * np.sqrt(np.arange(1, H + 1))).all()


def test_scale_and_regime_do_not_matter(fitted: DLinear) -> None:
    history = np.exp(reverting(L, seed=4))
    paths = fitted.sample(history, H, 10, seed=0)
    assert fitted.sample(1000 * history, H, 10, seed=0) == pytest.approx(1000 * paths)
    # Twice the moves give twice the moves ahead.
    twice = fitted.sample(history**2, H, 10, seed=0)
    assert np.log(twice / history[-1] ** 2) == pytest.approx(2 * np.log(paths / history[-1]), rel=1e-4)


def test_only_the_lookback_counts_and_shorter_horizons_are_the_first_steps(fitted: DLinear) -> None:
    history = np.exp(reverting(100, seed=5))
    paths = fitted.sample(history, H, 10, seed=0)
    assert np.array_equal(paths, fitted.sample(np.r_[5.0, history[-L:]], H, 10, seed=0))
    assert np.array_equal(paths[:, :2], fitted.sample(history, 2, 10, seed=0))


def test_a_history_that_never_moves_stays(fitted: DLinear) -> None:
    assert (fitted.sample(np.full(L, 3.0), H, 4, seed=0) == 3.0).all()


def test_a_seed_gives_the_same_model_and_leaves_the_global_generator_alone() -> None:
    windows = windows_of(reverting(300, seed=6))
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same = (DLinear.fit(windows, H, seed=1) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    history = windows[0, :L]
    assert np.array_equal(one.sample(history, H, 5, seed=0), same.sample(history, H, 5, seed=0))


def test_what_it_cannot_do_is_refused(fitted: DLinear) -> None:
    with pytest.raises(ConfigError, match="horizons up to 6, found 7"):
        fitted.sample(np.ones(L), 7, 5, seed=0)
    with pytest.raises(DataError, match="last 24 closes"):
        fitted.sample(np.ones(L - 1), H, 5, seed=0)
    with pytest.raises(DataError, match="10 windows"):
        DLinear.fit(windows_of(reverting(40, seed=0)), H)
    with pytest.raises(DataError, match="1 closes are not finite"):
        DLinear.fit(np.array([[1.0, 2.0, float("nan"), 1.0]]), 1)


def store_of(closes: dict[str, np.ndarray]) -> BarStore:
    bars = []
    for symbol, values in closes.items():
        frame = pd.DataFrame(
            dict.fromkeys(("open", "high", "low", "close"), values),
            index=pd.date_range("2024-01-01", periods=len(values)),
        )
        bars.append(Bars.from_frame(frame.assign(volume=1.0).reset_index(names="timestamp"), symbol=symbol))
    return BarStore.from_bars(bars)


def test_close_windows_come_in_order_of_time_and_stay_in_their_range() -> None:
    store = store_of({"A": np.arange(1.0, 9.0), "B": np.arange(11.0, 19.0)})
    ranges = np.array([[0, 5], [8, 13]])  # the first five rows of each
    assert close_windows(store, ranges, 3, 1).tolist() == [
        [1, 2, 3, 4],
        [11, 12, 13, 14],
        [2, 3, 4, 5],
        [12, 13, 14, 15],
    ]
    drawn = close_windows(store, ranges, 3, 1, limit=2, seed=0)
    assert drawn.shape == (2, 4)
    assert (np.diff(drawn[:, 0] % 10) >= 0).all()
    assert close_windows(store, ranges, 5, 1).shape == (0, 6)
