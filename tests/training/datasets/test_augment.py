"""What is done to training windows: the same numbers as if the bars had been scaled so from the beginning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chandler.data.datasets.windows import normalise
from chandler.training.datasets.augment import Batch, random_lookback, replace_tokens

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
