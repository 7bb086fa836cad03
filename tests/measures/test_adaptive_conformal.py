"""Adaptive bands follow a market that changes, and look at nothing before it was known."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import ConfigError, DataError
from chandler.measures.adaptive_conformal import adaptive_bands

T = 1200
EDGE = 1.645 * 0.01


def storm(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model that says 1% throughout, 90% band; the truth has 1% in the first half and 2.5% in the second."""
    rng = np.random.default_rng(seed)
    truth = 100 * np.exp(rng.normal(size=T) * np.where(np.arange(T) < T // 2, 0.01, 0.025))
    return np.full(T, 100 * np.exp(-EDGE)), np.full(T, 100 * np.exp(EDGE)), truth


def test_alpha_moves_by_gamma_times_the_miss() -> None:
    # The model's band is 1 .. e. Truths: inside, far outside, inside.
    low, high, truth = np.ones(4), np.full(4, np.e), np.exp([0.5, 3.0, 0.5, 0.5])
    found = adaptive_bands(low, high, truth, 0.9, gamma=0.1)
    assert found.missed.tolist() == [0, 1, 0, 0]
    assert found.alpha == pytest.approx([0.1, 0.1 + 0.1 * 0.1, 0.11 + 0.1 * (0.1 - 1), 0.02 + 0.01])
    # Scores max(0 - y, y - 1): -0.5, then 2.0. Of two, the 0.98 quantile is the larger: two widths on both sides.
    assert np.log(found.low[2]) == pytest.approx(-2)
    assert np.log(found.high[2]) == pytest.approx(3)


def test_after_a_change_of_volatility_it_covers_again_and_a_static_band_does_not() -> None:
    static, adapting = (adaptive_bands(*storm(), 0.9, gamma=gamma, delay=3) for gamma in (0.0, 0.02))
    before = np.arange(100, T // 2)
    assert 1 - static.missed[before].mean() == pytest.approx(0.9, abs=0.02)
    assert 1 - adapting.missed[before].mean() == pytest.approx(0.9, abs=0.02)
    assert static.coverage(T // 2) < 0.72
    assert 0.86 < adapting.coverage(T // 2) < 0.92
    assert 0.88 < adapting.coverage(T * 2 // 3) < 0.92


def test_no_truth_is_used_before_it_is_known() -> None:
    low, high, truth = storm()
    found = adaptive_bands(low, high, truth, 0.9, delay=5)
    truth[700:] *= 2
    changed = adaptive_bands(low, high, truth, 0.9, delay=5)
    assert np.array_equal(found.low[:705], changed.low[:705])
    assert not np.array_equal(found.low[705:], changed.low[705:])
    assert found.low[:5] == pytest.approx(low[:5])  # nothing is known yet: the model's own


def test_symbols_of_one_origin_share_alpha_and_gaps_teach_nothing() -> None:
    low, high, truth = (np.stack([one, one], axis=1) for one in storm())
    truth[:, 1] = np.nan
    single, pair = adaptive_bands(*storm(), 0.9), adaptive_bands(low, high, truth, 0.9)
    assert pair.alpha == pytest.approx(single.alpha)
    assert pair.low[:, 0] == pytest.approx(single.low)
    assert pair.low.shape == (T, 2)
    unknown = adaptive_bands(*storm()[:2], np.full(T, np.nan), 0.9)
    assert (unknown.alpha == 1 - 0.9).all()
    assert np.isnan(unknown.coverage())


def test_bands_never_turn_upside_down() -> None:
    found = adaptive_bands(np.full(50, 1.0), np.full(50, 9.0), np.full(50, 3.0), 0.9, gamma=0.5)
    assert (found.low <= found.high * (1 + 1e-12)).all()


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="delay"):
        adaptive_bands([1.0], [2.0], [1.5], delay=0)
    with pytest.raises(ConfigError, match="level"):
        adaptive_bands([1.0], [2.0], [1.5], 90)
    with pytest.raises(DataError, match="low not above high"):
        adaptive_bands([2.0], [1.0], [1.5])
    with pytest.raises(DataError, match="at least one origin"):
        adaptive_bands([], [], [])
    with pytest.raises(DataError, match="shapes"):
        adaptive_bands([1.0, 1.0], [2.0], [1.5])
