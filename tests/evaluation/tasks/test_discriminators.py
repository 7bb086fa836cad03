"""The two networks on sequences whose answer is known: equal ones cannot be told apart, others can; a rule is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chandler.errors import DataError
from chandler.evaluation.tasks.discriminators import discriminative_score, train_on_synthetic_score

N, T = 300, 8
TEST = np.arange(N) >= 200


def walks(seed: int, rho: float = 0.0) -> np.ndarray:
    """Random walks (N, T, 2) whose steps have autocorrelation rho, and a column of noise."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((N, T))
    steps = noise.copy()
    for t in range(1, T):
        steps[:, t] = rho * steps[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return np.stack([steps.cumsum(axis=1), generator.standard_normal((N, T))], axis=-1)


def test_the_same_process_cannot_be_told_apart():
    wrong = discriminative_score(walks(0), walks(1), TEST, epochs=20)
    assert wrong.shape == (100,)
    assert set(wrong) <= {0.0, 0.5, 1.0}
    assert wrong.mean() == pytest.approx(0.5, abs=0.1)  # 200 judgements: 0.5 with a standard error of 0.035


def test_wilder_sequences_are_told_apart():
    assert discriminative_score(walks(0), 4 * walks(1), TEST, epochs=20).mean() < 0.25


def test_a_forecaster_learns_from_sequences_with_the_right_dynamics_only():
    """Steps of autocorrelation 0.9: of white noise nothing can be learned, of the same process much."""
    real = walks(0, rho=0.9)
    right = train_on_synthetic_score(walks(1, rho=0.9), real, TEST, 0, epochs=30)
    wrong = train_on_synthetic_score(walks(1), real, TEST, 0, epochs=30)
    nothing = np.abs(np.diff(real[TEST][:, :, 0], axis=1)).mean()
    assert right.rank_ic > 0.7
    assert right.mae < 0.7 * nothing
    assert right.mae < wrong.mae - 0.1


def test_the_seed_decides_and_the_global_generator_does_not():
    torch.manual_seed(1)
    a = discriminative_score(walks(0), 2 * walks(1), TEST, seed=3, epochs=3)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    b = discriminative_score(walks(0), 2 * walks(1), TEST, seed=3, epochs=3)
    assert np.array_equal(a, b)
    torch.manual_seed(1)
    discriminative_score(walks(0), walks(1), TEST, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(DataError, match=r"15 sequences to train on and 285 to test: 20 and 1 are the least"):
        discriminative_score(walks(0), walks(1), np.arange(N) >= 15)
    with pytest.raises(DataError, match="come in pairs"):
        discriminative_score(walks(0), walks(1)[:, :3], TEST)
    bad = walks(0)
    bad[5, 2, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        train_on_synthetic_score(bad, walks(1), TEST, 0)
    with pytest.raises(DataError, match="no next one"):
        train_on_synthetic_score(walks(0)[:, :1], walks(1)[:, :1], TEST, 0)
