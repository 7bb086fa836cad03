"""What is done to training windows: the same numbers as if the bars had been scaled so from the beginning."""

from __future__ import annotations

import numpy as np
import torch

from chandler.data.datasets.windows import normalise
from chandler.training.datasets.augment import Batch, random_lookback

LENGTH, LOOKBACK = 30, 20


def batch(draws: list[float]) -> tuple[np.ndarray, Batch]:
    """Bars (B, 30, 6) that move little, and their windows of 20 + 9 + 1 bars with these first uniform numbers."""
    bars = 10 + np.random.default_rng(0).uniform(-1, 1, (len(draws), LENGTH, 6))
    uniforms = torch.zeros(len(draws), LENGTH)
    uniforms[:, 0] = torch.tensor(draws)
    values = torch.from_numpy(normalise(bars, LOOKBACK)[0])
    return bars, Batch(values, torch.zeros(len(draws), LENGTH, 5, dtype=torch.long), uniforms)


def test_each_window_is_scaled_by_as_many_rows_as_were_drawn() -> None:
    bars, before = batch([0.0, 0.5, 0.999])
    after = random_lookback(before, 10, LOOKBACK)
    assert after.lookback is not None
    assert after.lookback.tolist() == [10, 15, 20]
    for one, rows, got in zip(bars, (10, 15, 20), after.values, strict=True):
        np.testing.assert_allclose(got.numpy(), normalise(one, rows)[0], atol=2e-4)


def test_nothing_is_drawn_where_there_is_no_choice() -> None:
    _, before = batch([0.3])
    assert random_lookback(before, None, LOOKBACK) is before
    assert random_lookback(before, LOOKBACK, LOOKBACK) is before
