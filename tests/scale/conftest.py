"""Bars of many symbols, and a Ray of two cores that the tests of a module share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler import Bars, BarStore, ConfigError
from chandler.engines import RayEngine, require_ray
from chandler.scale.sweep import Trial

with suppress(ConfigError):
    require_ray()  # before test modules import it: Ray reads the environment once


def read_book(folder: Path) -> dict[str, Any]:
    """sweep.json of a folder, with `Trial`s."""
    found = json.loads((folder / "sweep.json").read_text())
    return found | {"trials": [Trial(**one) for one in found["trials"]]}


def universe(symbols: int, rows: int = 60) -> BarStore:
    """Random walks of daily bars."""
    rng = np.random.default_rng(7)
    days = pd.bdate_range("2023-01-02", periods=rows)
    made = []
    for number in range(symbols):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, rows)))
        spread = close * rng.uniform(0.001, 0.02, rows)
        volume = rng.lognormal(10, 1, rows)
        values = np.stack([close, close + spread, close - spread, close, volume, volume * close], axis=1)
        made.append(Bars(f"S{number:04d}", days, values))
    return BarStore.from_bars(made)


@pytest.fixture(scope="session")
def store() -> BarStore:
    """Ten symbols."""
    return universe(10)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with two cores; whoever asks `RayEngine` for a session joins it."""
    pytest.importorskip("ray")
    with RayEngine(workers=2).session() as module:
        yield module
