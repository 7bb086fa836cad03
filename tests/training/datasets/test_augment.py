"""What is done to training windows: the same numbers as if the bars had been scaled so from the beginning."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import torch

from chandler.data import Bars, BarStore, Windows
from chandler.data.datasets.windows import normalise
from chandler.training.datasets import BatchPlan, Feeder, TrainingSet
from chandler.training.datasets.augment import draw_lookbacks, replace_tokens
from chandler.training.datasets.device_cache import DeviceRows, DeviceWindows

LENGTH, LOOKBACK = 30, 20
CPU = torch.device("cpu")


def scaled(price: float, move: float) -> BarStore:
    """A store with some hundred bars of a price that moves by `move` of it."""
    close = price * np.exp(np.cumsum(np.random.default_rng(0).normal(0, move, 120)))
    close[[15, 40, 75]] *= 1 + 40 * move  # far out: clipped with one lookback, not with another
    values = np.stack([close, close, close, close, np.full(120, 10.0), close * 10], axis=1)
    times = pd.date_range("2024-01-01", periods=len(close), freq="h")
    return BarStore.from_bars([Bars("X", times, values)])


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize(("price", "move"), [(100.0, 1e-2), (1.1, 5e-5), (0.012, 1e-3), (0.00101, 1e-3), (3e-8, 1e-2)])
def test_training_windows_are_scaled_as_a_forecast_with_so_many_bars_is(
    price: float, move: float, resident: bool
) -> None:
    store = scaled(price, move)
    windows = Windows(store, np.array([[0, store.rows]]), LOOKBACK, LENGTH - LOOKBACK - 1)
    train = TrainingSet(DeviceWindows(windows, DeviceRows(store, CPU)) if resident else windows)
    plan = BatchPlan(train.drawn, train.length, train.drawn, 1, 1, seed=1)
    with closing(Feeder(train, plan, 0, CPU, ahead=False, least_lookback=4)) as feeder:
        [ready] = feeder.take(1, 1)
    batch = ready.batch()
    assert batch.lookback is not None
    assert set(batch.lookback.tolist()) == set(range(4, LOOKBACK + 1))
    for index, rows, got in zip(ready.micro.indices, batch.lookback.tolist(), batch.values, strict=True):
        expected, _, _ = normalise(windows.rows(np.array([index]))[0], rows)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-6 if resident else 0)


def test_lookbacks_come_from_the_first_uniform_numbers() -> None:
    uniforms = torch.zeros(3, LENGTH)
    uniforms[:, 0] = torch.tensor([0.0, 0.5, 0.999])
    drawn = draw_lookbacks(uniforms, 10, LOOKBACK)
    assert drawn is not None
    assert drawn.tolist() == [10, 15, 20]
    assert draw_lookbacks(uniforms, None, LOOKBACK) is None
    assert draw_lookbacks(uniforms, LOOKBACK, LOOKBACK) is None


def tokens(windows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """s1, s2 (B, T) of which each pair says where it stood: no two are alike."""
    place = torch.arange(windows * length).view(windows, length)
    return place, -place


def test_replaced_pairs_come_whole_from_a_bar_up_to_four_before() -> None:
    s1, s2 = tokens(50, 200)
    noise = torch.rand(50, 200, 2, generator=torch.Generator().manual_seed(3))
    seen1, seen2 = replace_tokens(s1, s2, noise, 0.15)
    assert torch.equal(seen2, -seen1), "both tokens of a pair go together"
    back = s1 - seen1
    assert torch.equal(back[:, 0], torch.zeros(50, dtype=torch.long)), "nothing is before the first bar"
    assert set(back.flatten().tolist()) == {0, 1, 2, 3, 4}, "never a later bar, never another window"
    assert (back > 0).float().mean().item() == pytest.approx(0.15, abs=0.015)
    each = torch.bincount(back[:, 4:].flatten(), minlength=5)[1:] / (back[:, 4:] > 0).sum()
    assert each.tolist() == pytest.approx([0.25] * 4, abs=0.05)
    assert torch.equal(s1, tokens(50, 200)[0]), "targets are what they were"


def test_no_share_replaces_nothing() -> None:
    s1, s2 = tokens(2, 9)
    assert all(map(torch.equal, replace_tokens(s1, s2, torch.zeros(2, 9, 2), 0.0), (s1, s2)))
