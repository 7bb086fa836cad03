"""Every baseline can be looped over."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from chandler.evaluation.baselines import BASELINES, TRAINED


def test_names_are_keys_and_come_from_the_simplest_on() -> None:
    assert list(BASELINES) == ["last_close", "bootstrap", "gaussian_walk", "ewma", "garch"]
    assert [name for name, draw in BASELINES.items() if draw.__name__ != name] == []
    assert list(TRAINED) == ["dlinear"]


@pytest.mark.parametrize("name", [*BASELINES, *TRAINED])
def test_each_gives_positive_paths_of_the_close_from_a_history(name: str) -> None:
    if name == "garch" and importlib.util.find_spec("arch") is None:
        pytest.skip("package arch is optional")
    closes = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 400).cumsum())
    windows = np.lib.stride_tricks.sliding_window_view(closes, 60 + 5)
    draw = TRAINED[name].fit(windows, 5, seed=0).sample if name in TRAINED else BASELINES[name]
    paths = draw(closes, 5, 30, seed=1)
    assert paths.shape == ((1 if name == "last_close" else 30), 5)
    assert (paths > 0).all()
    assert np.array_equal(paths, draw(closes, 5, 30, seed=1))
    assert np.abs(np.log(paths / closes[-1])).max() < 0.2
