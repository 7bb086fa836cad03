"""The baselines say what they claim to say and nothing more."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import DataError
from chandler.evaluation.baselines import last_close, random_walk


def test_last_close_is_carried_forward() -> None:
    assert last_close([10.0, 12.0, 11.0], 3).tolist() == [11.0, 11.0, 11.0]


def test_random_walk_steps_are_returns_of_the_history() -> None:
    closes = np.array([100.0, 110.0, 99.0])  # +10%, then -10%
    paths = random_walk(closes, 4, 50, seed=0)
    assert paths.shape == (50, 4)
    steps = paths / np.c_[np.full(50, 99.0), paths[:, :-1]]
    assert set(steps.round(9).ravel()) == {1.1, 0.9}
    assert 0.3 < (steps > 1).mean() < 0.7


def test_random_walk_has_the_spread_of_its_history() -> None:
    returns = np.random.default_rng(0).normal(0, 0.01, 400)
    ends = np.log(random_walk(100 * np.exp(np.r_[0, np.cumsum(returns)]), 16, 4000, seed=1)[:, -1])
    assert ends.std() == pytest.approx(returns.std() * 4, rel=0.05)


def test_a_seed_gives_the_same_paths_and_another_seed_others() -> None:
    closes = [10.0, 11.0, 10.5, 10.7]
    assert np.array_equal(random_walk(closes, 5, 9, seed=3), random_walk(closes, 5, 9, seed=3))
    assert not np.array_equal(random_walk(closes, 5, 9, seed=3), random_walk(closes, 5, 9, seed=4))


def test_random_walk_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    random_walk([10.0, 11.0], 5, 9, seed=3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("closes", [[10.0], [10.0, 0.0], [10.0, float("nan")], [[10.0, 11.0]]])
def test_random_walk_refuses_what_has_no_log_returns(closes: list[float]) -> None:
    with pytest.raises(DataError, match="close"):
        random_walk(closes, 5, 9, seed=0)
