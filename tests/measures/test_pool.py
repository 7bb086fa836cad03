"""The CRPS of a pool is a quadratic of its weights, and the least one on the simplex is found exactly."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.measures import crps, distance, pool_crps, pool_weights, spread


def samples(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, wide, (200, 3)) for mean, wide in ((0, 1), (0.5, 2), (-1, 0.5))]


def terms(members: list[np.ndarray], came: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    missed = np.stack([np.abs(one - came).mean(axis=0) for one in members], axis=-1)
    apart = np.stack(
        [np.stack([spread(a) if a is b else distance(a, b) for b in members], axis=-1) for a in members], axis=-2
    )
    return missed, apart


def test_distances_are_means_over_all_pairs() -> None:
    a, b, _ = samples()
    assert distance(a, b[:50]) == pytest.approx(np.abs(a[:, None] - b[None, :50]).mean(axis=(0, 1)))
    pairs = np.abs(a[:, None] - a[None])
    assert spread(a) == pytest.approx(pairs.sum(axis=(0, 1)) / (200 * 199))
    assert distance(a, a[:, ::-1][:, ::-1] + 0) == pytest.approx(pairs.mean(axis=(0, 1)))
    assert distance(np.zeros((4, 1)), np.ones((2, 1))) == pytest.approx([1.0])


def test_a_pool_scores_as_its_draws_do() -> None:
    members, came = samples(), np.array([0.3, -0.2, 4.0])
    weights = np.array([0.5, 0.3, 0.2])
    missed, apart = terms(members, came)
    assert pool_crps(np.array([1.0, 0, 0]), missed, apart) == pytest.approx(crps(members[0], came))
    rng = np.random.default_rng(1)
    drawn = np.stack([members[who][rng.integers(200)] for who in rng.choice(3, 4000, p=weights)])
    assert pool_crps(weights, missed, apart) == pytest.approx(crps(drawn, came), rel=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_no_point_of_the_simplex_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = [rng.normal(rng.normal(0, 1), rng.uniform(0.3, 2), (60, 1)) for _ in range(4)]
    truths = rng.normal(0, 1, 30)
    each = [terms(members, np.array([came])) for came in truths]
    missed, apart = (np.mean([one[place][0] for one in each], axis=0) for place in (0, 1))
    prior = np.full(4, 0.25)
    found = pool_weights(missed, apart, prior, 0.05)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)

    def value(weights: np.ndarray) -> float:
        return float(pool_crps(weights, missed, apart) + 0.025 * np.square(weights - prior).sum())

    tried = np.concatenate([rng.dirichlet(np.ones(4) * 0.5, 3000), np.eye(4)])
    assert value(found) <= min(value(one) for one in tried) + 1e-9


def test_a_strong_prior_stays() -> None:
    members, came = samples(), np.zeros(3)
    missed, apart = (one.mean(axis=0) for one in terms(members, came))
    prior = np.array([0.2, 0.5, 0.3])
    assert pool_weights(missed, apart, prior, 1e6) == pytest.approx(prior, abs=1e-4)
    # The one that lies on what came without spread takes all.
    sharp = [np.zeros((50, 3)) + 1e-6 * np.arange(50)[:, None], *members[1:]]
    missed, apart = (one.mean(axis=0) for one in terms(sharp, came))
    assert pool_weights(missed, apart, prior, 1e-3)[0] > 0.95
