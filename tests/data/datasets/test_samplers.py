"""Symbols get the share they are to have, and no window comes twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandler.data.datasets import sample_quotas, weighted_sample

COUNTS = np.array([1000, 100, 10, 0, 100])


def quotas(drawn: int, temperature: float, seed: int = 0) -> list[int]:
    return sample_quotas(COUNTS, drawn, temperature, np.random.default_rng(seed)).tolist()


def test_equal_shares() -> None:
    assert quotas(40, 0.0) == [10, 10, 10, 0, 10]


def test_a_small_symbol_gives_all_it_has_and_the_others_share_the_rest() -> None:
    assert quotas(100, 0.0) == [30, 30, 10, 0, 30]
    assert quotas(1210, 0.0) == COUNTS.tolist()


def test_temperature_one_half_is_the_square_root() -> None:
    q = np.array(quotas(50, 0.5))
    exact = 50 * np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()
    assert (np.abs(q - exact) < 1).all()
    assert q.sum() == 50


def test_weights_multiply_shares() -> None:
    q = sample_quotas(COUNTS, 60, 0.0, np.random.default_rng(0), weights=np.array([3, 1, 1, 9, 0.5]))
    assert q.tolist()[2:4] == [10, 0]  # all it has; none to give
    assert np.abs(q[[0, 1, 4]] - 50 / 4.5 * np.array([3, 1, 0.5])).max() < 1


def test_fractional_shares_hold_on_average() -> None:
    counts = np.full(30, 5)
    mean = np.mean([sample_quotas(counts, 10, 0.0, np.random.default_rng(s)) for s in range(600)], axis=0)
    assert mean == pytest.approx(np.full(30, 1 / 3), abs=0.08)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    part=st.floats(0, 1),
    temperature=st.floats(0, 1),
    epoch=st.integers(1, 3),
)
def test_every_window_at_most_once_and_always_so_many(
    counts: list[int], part: float, temperature: float, epoch: int
) -> None:
    sizes = np.array(counts)
    drawn = int(sizes.sum() * part)
    order = weighted_sample(sizes, drawn, temperature, seed=1, epoch=epoch)
    assert len(order) == len(set(order.tolist())) == drawn
    assert not drawn or 0 <= order.min() <= order.max() < sizes.sum()
    assert (order == weighted_sample(sizes, drawn, temperature, seed=1, epoch=epoch)).all()
