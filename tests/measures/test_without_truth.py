"""Where nothing came true yet (windows that reach beyond the data), no measure makes a number of it, and none complains."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from chandler.measures import (
    adaptive_bands,
    block_bootstrap,
    compare,
    crps,
    direction,
    ic,
    newey_west_t,
    pinball,
    pit,
    qlike,
    r2,
    rank_ic,
    variance_mae,
)

NOTHING = np.full(3, np.nan)
PATHS = np.random.default_rng(0).normal(10, 1, (20, 3))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    "measure",
    [
        lambda: crps(PATHS, NOTHING),
        lambda: pit(PATHS, NOTHING),
        lambda: pinball(PATHS[0], NOTHING, 0.9),
        lambda: direction(PATHS[0], NOTHING),
        lambda: qlike(PATHS[0], NOTHING),
        lambda: [variance_mae(PATHS[0], NOTHING), r2(PATHS[0], NOTHING)],
        lambda: [ic(PATHS[0], NOTHING), rank_ic(PATHS[0], NOTHING)],
        lambda: [block_bootstrap(NOTHING).low, block_bootstrap(NOTHING).mean],
        lambda: [newey_west_t(NOTHING).mean, newey_west_t(NOTHING).p],
        lambda: [adaptive_bands(np.ones(3), np.full(3, 2.0), NOTHING).coverage()],
    ],
)
def test_without_a_truth_the_answer_is_nan(measure: Callable[[], Any]) -> None:
    assert np.isnan(measure()).all()


def test_a_comparison_without_losses_shows_nothing() -> None:
    found = compare(NOTHING, NOTHING, np.arange(3), 2)
    assert np.isnan([found.mean_a, found.mean_b, found.difference, found.low, found.high]).all()
    assert (found.origins, found.losses, found.verdict) == (0, 0, "too few origins")


def test_what_is_known_counts_alone() -> None:
    some = np.array([9.0, np.nan, 11.0])
    assert crps(PATHS, some)[[0, 2]] == pytest.approx(crps(PATHS[:, [0, 2]], some[[0, 2]]))
    assert variance_mae(PATHS[0], some) == pytest.approx(variance_mae(PATHS[0, [0, 2]], some[[0, 2]]))
