"""GARCH paths follow the volatility of the day, and say so where there is no fit."""

from __future__ import annotations

import builtins
import importlib.util

import numpy as np
import pytest

from chandler.errors import ConfigError, DataError
from chandler.evaluation.baselines import ewma, garch
from chandler.evaluation.baselines.garch import Garch, fit_garch

needs_arch = pytest.mark.skipif(importlib.util.find_spec("arch") is None, reason="package arch is optional")


def simulated(size: int, omega: float = 2e-6, alpha: float = 0.1, beta: float = 0.88) -> np.ndarray:
    """Log returns of a GARCH(1,1) with normal shocks; long-run volatility 1% a bar."""
    rng = np.random.default_rng(0)
    returns, variance = np.empty(size), omega / (1 - alpha - beta)
    for bar in range(size):
        returns[bar] = np.sqrt(variance) * rng.normal()
        variance = omega + alpha * returns[bar] ** 2 + beta * variance
    return returns


def closes_of(returns: np.ndarray) -> np.ndarray:
    return 100 * np.exp(np.r_[0, np.cumsum(returns)])


@needs_arch
def test_fit_finds_the_parameters_that_made_the_returns() -> None:
    found = fit_garch(simulated(6000))
    assert isinstance(found, Garch)
    assert found.alpha == pytest.approx(0.1, abs=0.02)
    assert found.beta == pytest.approx(0.88, abs=0.03)
    assert found.omega == pytest.approx(2e-6, rel=0.5)
    assert (found.shocks.mean(), found.shocks.std()) == pytest.approx((0, 1))


@needs_arch
def test_paths_spread_as_the_recursion_of_the_variance_says() -> None:
    returns = simulated(2000)
    found = fit_garch(returns)
    assert isinstance(found, Garch)
    paths = garch(closes_of(returns), 10, 20_000, seed=1)
    steps = np.diff(np.log(np.c_[np.full(20_000, closes_of(returns)[-1]), paths]), axis=1)
    expected = [found.variance]
    for _ in range(9):  # E v_{t+1} = omega + (alpha + beta) E v_t
        expected.append(found.omega + (found.alpha + found.beta) * expected[-1])
    assert steps.var(axis=0) == pytest.approx(expected, rel=0.06)
    assert np.median(paths[:, -1]) == pytest.approx(closes_of(returns)[-1], rel=0.002)


@needs_arch
def test_a_storm_widens_the_first_bar_and_fades() -> None:
    storm = np.r_[simulated(1500), [0.05, -0.06, 0.05]]
    steps = np.diff(np.log(garch(closes_of(storm), 60, 4000, seed=2)), axis=1).std(axis=0)
    assert steps[0] > 1.25 * steps[-1]


@needs_arch
@pytest.mark.parametrize(
    ("closes", "reason"),
    [(np.full(200, 7.0), "does not vary"), (closes_of(simulated(30)), "30 returns are too few, it takes 50")],
)
def test_without_a_fit_the_paths_are_those_of_ewma_and_it_says_so(closes: np.ndarray, reason: str) -> None:
    notes: list[str] = []
    paths = garch(closes, 5, 20, seed=3, note=notes.append)
    assert len(notes) == 1
    assert reason in notes[0]
    assert "EWMA" in notes[0]
    assert np.array_equal(paths, ewma(closes, 5, 20, seed=3))
    with pytest.warns(RuntimeWarning, match=reason):
        garch(closes, 5, 20, seed=3)


@needs_arch
def test_a_fit_leaves_no_note_and_a_seed_gives_the_same_paths() -> None:
    notes: list[str] = []
    closes = closes_of(simulated(400))
    one, same, other = (garch(closes, 5, 9, seed=s, note=notes.append) for s in (3, 3, 4))
    assert notes == []
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_arch_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_arch(name: str, *rest: object, **more: object) -> object:
        if name == "arch":
            raise ImportError("No module named 'arch'")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_arch)
    with pytest.raises(ConfigError, match=r'pip install "chandler-kronos\[eval\]"'):
        garch(closes_of(simulated(100)), 5, 9, seed=0)


def test_closes_without_logarithm_are_refused() -> None:
    with pytest.raises(DataError, match="positive"):
        garch([1.0, -1.0, 2.0], 5, 9, seed=0)
