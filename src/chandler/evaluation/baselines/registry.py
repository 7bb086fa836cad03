"""All baselines under their names, behind one protocol, to loop over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.evaluation.baselines import walks
from chandler.evaluation.baselines.dlinear import DLinear
from chandler.evaluation.baselines.garch import Note, garch

Array = NDArray[np.float64]


class Baseline(Protocol):
    """What a forecast of the close has to beat."""

    @property
    def name(self) -> str:
        """Its key in `BASELINES`."""

    @property
    def needs_fit(self) -> bool:
        """Whether `fit` must be called, and its result be sampled from."""

    def fit(self, windows: ArrayLike, horizon: int, *, seed: int = 0) -> Baseline:
        """Trained on windows (N, lookback + horizon) of closes in order of time; itself where there is nothing to fit."""

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Note | None = None) -> Array:
        """Closes (paths, horizon) in price units after the history (T,), the newest last; a point forecast is one path.

        `note` is called with a sentence when something simpler had to be done (see `garch`).
        """


@dataclass(frozen=True)
class Walk:
    """A baseline that is a function of the history alone."""

    name: str
    draw: Callable[..., Array]
    needs_fit: ClassVar[bool] = False

    def fit(self, windows: ArrayLike, horizon: int, *, seed: int = 0) -> Walk:
        """Itself."""
        return self

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Note | None = None) -> Array:
        """As `Baseline.sample`; errors of the function."""
        return self.draw(history, horizon, paths, seed=seed)


@dataclass(frozen=True)
class LastClose(Walk):
    """A point forecast: one path, however many are asked for."""

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Note | None = None) -> Array:
        """(1, horizon)."""
        return walks.last_close(history, horizon)[None]


@dataclass(frozen=True)
class GarchWalk(Walk):
    """Hands on the note."""

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Note | None = None) -> Array:
        """As `garch`."""
        return garch(history, horizon, paths, seed=seed, note=note)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            LastClose("last_close", walks.last_close),
            Walk("bootstrap", walks.bootstrap),
            Walk("gaussian_walk", walks.gaussian_walk),
            Walk("ewma", walks.ewma),
            GarchWalk("garch", garch),
            DLinear(),
        )
    }
)
"""In the order of tables: from the simplest on."""
