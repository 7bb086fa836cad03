"""The stationary bootstrap covers what it says, for independent and for dependent values."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import ConfigError, DataError
from chandler.measures.bootstrap import block_bootstrap, optimal_block


def autoregressive(share: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """x_t = share x_{t-1} + e_t."""
    values = np.empty(size + 100)
    values[0] = 0
    for place, shock in enumerate(rng.normal(size=size + 99)):
        values[place + 1] = share * values[place] + shock
    return values[100:]


def test_interval_of_independent_values_is_students() -> None:
    values = np.random.default_rng(0).normal(5, 1, 25)
    found = block_bootstrap(values, block=1, draws=20_000)
    half = 2.064 * values.std(ddof=1) / 5  # t of 24 degrees
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_intervals_of_overlapping_values_hold_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    overlapping = [np.convolve(rng.normal(size=104), np.ones(5), "valid") for _ in range(200)]
    hits = [found.low <= 0 <= found.high for found in (block_bootstrap(one, 10, 200) for one in overlapping)]
    alone = [found.low <= 0 <= found.high for found in (block_bootstrap(one, 1, 200) for one in overlapping)]
    assert 0.88 < np.mean(hits) < 0.98
    assert np.mean(alone) < 0.75  # as if each value were a new one


def test_columns_are_drawn_together() -> None:
    values = np.random.default_rng(2).normal(size=40)
    found = block_bootstrap(np.stack([values, 2 * values + 1], axis=1))
    assert found.low.shape == (2,)
    assert found.low[1] == pytest.approx(2 * found.low[0] + 1)
    assert found.high[1] == pytest.approx(2 * found.high[0] + 1)


def test_the_same_seed_gives_the_same_interval_and_gaps_are_left_out() -> None:
    values = np.array([1.0, 2.0, float("nan"), 4.0, 1.0, 3.0])
    assert block_bootstrap(values, seed=3) == block_bootstrap(values[~np.isnan(values)], seed=3)
    longer = np.random.default_rng(3).normal(size=30)
    assert block_bootstrap(longer, seed=3) != block_bootstrap(longer, seed=4)
    assert np.isnan(block_bootstrap([1.0]).low)


def test_blocks_grow_with_the_memory_of_the_series() -> None:
    rng = np.random.default_rng(4)
    # For an AR(1) the best length is (2 r / (1 - r^2))^(2/3) n^(1/3): 46 for r = 0.8 and n = 5000.
    assert optimal_block(autoregressive(0.8, 5000, rng)) == pytest.approx(46, rel=0.3)
    assert optimal_block(rng.normal(size=5000)) < 4
    assert optimal_block(np.full(50, 0.1)) == 1


def test_blocks_are_about_as_long_as_those_of_arch() -> None:
    choose = pytest.importorskip("arch.bootstrap").optimal_block_length
    rng = np.random.default_rng(5)
    for share in (0.3, 0.6, 0.9):
        values = autoregressive(share, 2000, rng)
        # Theirs counts the memory one lag longer than the paper does.
        assert optimal_block(values) == pytest.approx(float(choose(values)["stationary"].iloc[0]), rel=0.25)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="block >= 1"):
        block_bootstrap([1.0, 2.0], block=0.5)
    with pytest.raises(DataError, match="infinite"):
        block_bootstrap([1.0, float("inf")])
    with pytest.raises(DataError, match=r"\(T, k\)"):
        block_bootstrap(np.zeros((2, 2, 2)))
