"""A model's paths and naive ones as one distribution: weights, drift and width are few numbers, learnt from past forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.data import CLOSE
from chandler.forecasting.calibration.naive import NAIVE, resampled_bars

Array = NDArray[np.float64]
MEMBERS = ("model", *NAIVE)
GOLDEN = 0.5 * (5**0.5 - 1)
"""Multiples of it, less whole numbers, are an order of paths that has nothing to do with their members."""


@dataclass(frozen=True, eq=False)
class Blend:
    """A linear pool of a model, its drift shrunk and its width scaled, with the naive distributions of `NAIVE`."""

    keep: float
    """Of the model's drift, its mean path, 0 to 1."""
    scale: float
    """Of the model's paths around their mean."""
    ends: tuple[int, ...]
    """The last step of each group of steps, ascending; the last one is the horizon that it was fitted for."""
    weights: Array
    """(groups, members), each row on the simplex, in the order of `MEMBERS`."""

    @property
    def steps(self) -> int:
        """Bars ahead that it was fitted for."""
        return self.ends[-1]

    def by_step(self, horizon: int) -> Array:
        """Weights (horizon, members) of each step."""
        return np.asarray(self.weights[np.searchsorted(self.ends, np.arange(1, horizon + 1))])

    def pooled(self, members: Sequence[Array]) -> Array:
        """P draws of the pool at each step, (P, H): those of members in shares that follow the weights, moved.

        Args:
            members: log closes (P, H) of each, the model's shaped; all with the same P.
        """
        return self._drawn(members)[1]

    def _drawn(self, members: Sequence[Array]) -> tuple[list[tuple[int, int]], Array]:
        """(member, path) of each draw, and where it goes: (P, H).

        The draws have the weights' means over the steps. At each step a draw moves to where its level in the pool of the mean
        weights lies in the pool of the step's own; with weights that do not differ between steps it stays. Draws stay
        independent: at evenly spaced levels instead, the fair CRPS would score them too well.
        """
        count, steps = members[0].shape
        weights = self.by_step(steps)
        mean = weights.mean(axis=0)
        chosen = [(who, path) for who, share in enumerate(_shares(mean, count)) for path in range(share)]
        drawn, atoms = np.stack([members[who][path] for who, path in chosen]), np.concatenate(members)
        turn = np.asarray(np.arange(len(drawn)) * GOLDEN % 1, np.float64)
        for step in np.flatnonzero(np.abs(weights - mean).max(axis=1) > 1e-9):
            order = np.argsort(atoms[:, step], kind="stable")
            values = atoms[order, step]
            from_mass, to_mass = (np.repeat(one / count, count)[order] for one in (mean, weights[step]))
            levels = _levels(drawn[:, step], turn, values, from_mass)
            held = to_mass > 0
            drawn[:, step] = np.interp(levels, (np.cumsum(to_mass) - to_mass / 2)[held], values[held])
        return chosen, drawn

    def apply(self, bars: Array, history: Array, seed: int) -> Array:
        """Paths of the blend: (P, H, 6), in price units.

        Each is one member's path, with its own candles, volume and dependence between steps; all prices of a candle are
        moved alike to where `pooled` has its close. So at each step the closes are draws of the pool, while weights may
        differ between steps and a path stays one path.

        Args:
            bars: (P, H, 6) the model's paths, prices above 0; H at most `steps`.
            history: (T, 6) the bars before.
            seed: of the naive members.
        """
        count, horizon = bars.shape[:2]
        last = float(history[-1, CLOSE])
        whole = [bars, *(resampled_bars(history, horizon, count, seed, kind) for kind in NAIVE.values())]
        logs = [np.log(one[..., CLOSE] / last) for one in whole]
        chosen, goal = self._drawn([shaped(logs[0], self.keep, self.scale), *logs[1:]])
        made = np.stack([whole[who][path] for who, path in chosen])
        own = np.stack([logs[who][path] for who, path in chosen])
        made[..., : CLOSE + 1] *= np.exp(goal - own)[..., None]
        return made

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "members": list(MEMBERS),
            "keep": self.keep,
            "scale": self.scale,
            "ends": list(self.ends),
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Blend:
        """What `to_dict` wrote. ValueError, KeyError or TypeError where it is something else."""
        if tuple(raw["members"]) != MEMBERS:
            raise ValueError(f"a blend of {', '.join(map(str, raw['members']))}, this version has {', '.join(MEMBERS)}")
        ends, weights = tuple(map(int, raw["ends"])), np.array(raw["weights"], np.float64)
        if weights.shape != (len(ends), len(MEMBERS)) or list(ends) != sorted(set(ends)) or not ends or ends[0] < 1:
            raise ValueError("weights and steps of a blend that do not fit each other")
        if not (np.isfinite(weights).all() and weights.min() >= 0 and np.allclose(weights.sum(axis=1), 1)):
            raise ValueError("weights of a blend that are no shares")
        keep, scale = float(raw["keep"]), float(raw["scale"])
        if not (0 <= keep <= 1 and 0 < scale < np.inf):
            raise ValueError(f"a blend that keeps {keep} of the drift and scales by {scale}")
        return cls(keep, scale, ends, weights)


def shaped(logs: Array, keep: float, scale: float) -> Array:
    """P draws (P, H) of a model's distribution with `keep` times its drift and `scale` times its width.

    The drift is known as the mean of the same draws. Where it is taken off them, so is their own sampling error, and a score that
    takes draws to be independent (`measures.crps`) would find them too good, by some 0.5% of it with a hundred. So they are given
    an error of the same size back: half the difference of two halves of the draws has that of their mean, and nothing to do
    with it.

    Args:
        logs: (P, H) independent draws of log closes, against the last close.
    """
    mean, half = logs.mean(axis=0), len(logs) // 2
    error = (logs[: 2 * half : 2].mean(axis=0) - logs[1 : 2 * half : 2].mean(axis=0)) / 2 if half else 0.0
    lost = max(scale**2 - keep**2, 0.0) ** 0.5
    return np.asarray(keep * mean + scale * (logs - mean) + lost * error, np.float64)


def _levels(drawn: Array, turn: Array, values: Array, mass: Array) -> Array:
    """Where draws (P,) lie in the distribution of sorted values and their masses: in the middle of their own mass, 0 to 1.

    Equal draws, closes that did not move, share the mass of their value evenly, in the order of `turn`.
    """
    edges = np.concatenate([[0.0], np.cumsum(mass)])
    lo, hi = (edges[np.searchsorted(values, drawn, side)] for side in ("left", "right"))
    order = np.lexsort((turn, drawn))
    first, last = (np.searchsorted(drawn[order], drawn, side) for side in ("left", "right"))
    rank = np.empty(len(drawn))
    rank[order] = np.arange(len(drawn))
    return np.asarray(lo + (rank - first + 0.5) / (last - first) * (hi - lo), np.float64)


def _shares(weights: Array, count: int) -> list[int]:
    """How many of `count` paths each member gives: the largest remainders."""
    exact = weights * count
    shares = np.floor(exact).astype(int)
    for who in np.argsort(shares - exact, kind="stable")[: count - int(shares.sum())]:
        shares[who] += 1
    return [int(one) for one in shares]
