"""How a blend is learnt: from past forecasts and what came, by origin, shrunk, and judged on origins that did not choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from chandler.forecasting.calibration.blend import MEMBERS, Blend, shaped
from chandler.measures import ConformalBands, distance, pool_crps, pool_weights, quantile_levels, spread

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR = np.array([0.4, 0.2, 0.4])
"""Weights that evidence has to move; with them alone the blend was as good as the best naive forecast, or better, on 16 of 18
sets (docs/log.md)."""
PRIOR_KEEP = 0.25
KEEPS, SCALES = (0.0, 0.25, 0.5, 0.75, 1.0), (0.9, 1.0, 1.1, 1.25)
EVIDENCE = 4.0
"""Origins as which the prior counts, in units of the members' own spread."""
KEEP_COST, SCALE_COST = 0.5, 0.25
"""Origins' worth of CRPS that half the drift, or a fifth of the width, away from the prior must win."""
GROUP_ENDS = (1, 4, 12)
BAND_EVIDENCE = 20.0
"""Origins as which unmoved bands count: of fewer than that many, the moves are mostly the chance of a short period."""
HALF_LIFE = 0.25
"""Share of all origins after which one counts half as much in the bands: how wide a market is changes, what mixes well does not."""
FOLDS = 5
UNIT = 0.01
MOST_PATHS = 100
"""Distances are taken from so many paths of each member: more cost time and change nothing."""


@dataclass(frozen=True, eq=False)
class PastForecast:
    """Log closes against the last close, in units of the history's volatility per bar, and what came."""

    model: Array
    """(P, H)"""
    naive: tuple[Array, ...]
    """(P, H) each"""
    came: Array
    """(H,)"""


@dataclass(frozen=True, eq=False)
class PoolTerms:
    """What the CRPS of every pool follows from, by origin: means over the symbols of a round."""

    cells: dict[tuple[float, float], tuple[Array, Array]]
    """(keep, scale) -> misses (R, H, k) and distances (R, H, k, k)."""

    @classmethod
    def of(cls, past: Sequence[PastForecast], rounds: Ints) -> PoolTerms:
        """Terms of N forecasts in R rounds, numbered from 0 without gaps."""
        counts = np.bincount(rounds)
        steps, k = len(past[0].came), len(MEMBERS)
        cells = {
            cell: (np.zeros((len(counts), steps, k)), np.zeros((len(counts), steps, k, k)))
            for cell in product(KEEPS, SCALES)
        }
        for one, number in zip(past, rounds, strict=True):
            naive, share = [each[:MOST_PATHS] for each in one.naive], 1 / counts[number]
            missed, apart = np.empty((steps, k)), np.zeros((steps, k, k))
            for i, mine in enumerate(naive, 1):
                missed[:, i], apart[:, i, i] = np.abs(mine - one.came).mean(axis=0), spread(mine)
                for j in range(1, i):
                    apart[:, i, j] = apart[:, j, i] = distance(mine, naive[j - 1])
            own = spread(one.model[:MOST_PATHS])
            for (keep, scale), (all_missed, all_apart) in cells.items():
                model = shaped(one.model, keep, scale)[:MOST_PATHS]
                missed[:, 0], apart[:, 0, 0] = np.abs(model - one.came).mean(axis=0), scale * own
                for i, other in enumerate(naive, 1):
                    apart[:, 0, i] = apart[:, i, 0] = distance(model, other)
                all_missed[number] += missed * share
                all_apart[number] += apart * share
        return cls(cells)

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(next(iter(self.cells.values()))[0])

    def first(self, rounds: int) -> PoolTerms:
        """Those of the first rounds."""
        return PoolTerms({cell: (missed[:rounds], apart[:rounds]) for cell, (missed, apart) in self.cells.items()})

    def fit(self, chosen: NDArray[np.bool_], overlap: int) -> Blend:
        """The blend that is best on the chosen rounds, less what its distance from the prior costs.

        Args:
            chosen: (R,)
            overlap: how many neighbouring rounds share forecast bars.
        """
        independent = max(1.0, float(chosen.sum()) / overlap)
        best, least = None, np.inf
        for (keep, scale), (missed, apart) in self.cells.items():
            m, a = missed[chosen].mean(axis=0), apart[chosen].mean(axis=0)
            strength = EVIDENCE * float(np.trace(a.mean(axis=0))) / len(MEMBERS) / independent
            weights = pool_weights(m.mean(axis=0), a.mean(axis=0), PRIOR, strength)
            loss = float(pool_crps(weights, m, a).mean())
            away = KEEP_COST * ((keep - PRIOR_KEEP) / 0.5) ** 2 + SCALE_COST * (np.log(scale) / np.log(1.2)) ** 2
            value = loss * (1 + away / independent) + strength / 2 * float(np.square(weights - PRIOR).sum())
            if value < least:
                best, least = (keep, scale, weights, m, a), value
        assert best is not None
        keep, scale, weights, m, a = best
        steps = len(m)
        ends = (*(end for end in GROUP_ENDS if end < steps), steps)
        groups = []
        for first, end in zip((0, *ends), ends, strict=False):
            mean_m, mean_a = m[first:end].mean(axis=0), a[first:end].mean(axis=0)
            strength = EVIDENCE * float(np.trace(mean_a)) / len(MEMBERS) / independent
            groups.append(pool_weights(mean_m, mean_a, weights, strength))
        return Blend(keep, scale, ends, np.array(groups))

    def folds(self, overlap: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """(chosen by, judged on) rounds: blocks of time, without neighbours that share bars with what is judged."""
        rounds = self.rounds
        edges = np.linspace(0, rounds, min(FOLDS, rounds) + 1).round().astype(int)
        found = []
        for lo, hi in pairwise(edges):
            judged, chosen = np.zeros(rounds, bool), np.ones(rounds, bool)
            judged[lo:hi] = True
            chosen[max(0, lo - overlap + 1) : hi + overlap - 1] = False
            found.append((chosen, judged))
        return found


def fit_bands(
    pools: Sequence[Array], came: Array, levels: Sequence[float], rounds: Ints, overlap: int
) -> ConformalBands:
    """Bands of a blend: one move for all steps and both sides of a level, recent origins first, shrunk where origins are few.

    Conformal scores of all steps are put together, with those of the mirrored forecasts: a difference of the two sides over a
    validation period is mostly that period's drift, and moves of single steps are mostly noise. Over 16 sets this left the
    CRPS as it was; moves by step and side cost 0.7% with a hundred origins and 3% with 25 (docs/log.md).

    Args:
        pools: N samples (P, H) of log closes, in units of the history's volatility.
        came: (N, H)
        levels: central bands.
        rounds: (N,) numbers of their origins in order of time, from 0 without gaps.
        overlap: how many neighbouring rounds share forecast bars; 1: none.
    """
    taus = quantile_levels(levels)
    quantiles = np.stack([np.quantile(one, taus, axis=0) for one in pools])
    steps = quantiles.shape[2]
    count = int(rounds.max()) + 1
    recent = 0.5 ** (np.arange(count)[::-1] / (HALF_LIFE * count))
    flat = np.moveaxis(quantiles, 2, 1).reshape(-1, len(taus))
    both = np.concatenate([flat, -flat[:, ::-1]]), np.concatenate([came.ravel(), -came.ravel()])
    # Scores are ratios of differences of logarithms, whatever their unit; a small one keeps exp() in range.
    found = ConformalBands.fit_quantiles(
        np.exp(UNIT * both[0])[..., None], np.exp(UNIT * both[1])[:, None], levels, np.tile(np.repeat(recent[rounds], steps), 2)
    )  # fmt: skip
    worth = recent.sum() ** 2 / np.square(recent).sum() / overlap  # independent origins of one weight
    shrunk = worth / (worth + BAND_EVIDENCE)
    low, high = (np.repeat(shrunk * side, steps, axis=1) for side in (found.low, found.high))
    return ConformalBands(found.levels, low, high, (len(pools),) * steps)


def fit_blend(
    past: Sequence[PastForecast], rounds: Ints, overlap: int, terms: PoolTerms | None = None
) -> tuple[Blend, list[Array]]:
    """The blend of all rounds; and for each forecast, the pool (P, H) by a blend that was fitted without its block of time.

    The second is what bands and verdicts are to be taken from: the part that chooses is not the part that reports.

    Args:
        past: N forecasts.
        rounds: (N,) numbers of their origins in order of time, from 0 without gaps.
        overlap: how many neighbouring rounds share forecast bars; 1: none.
        terms: theirs, where they are known already.
    """
    terms = terms or PoolTerms.of(past, rounds)
    judged: list[Array] = [np.empty(0)] * len(past)
    for chosen, block in terms.folds(overlap):
        blend = terms.fit(chosen, overlap)
        for place in np.flatnonzero(block[rounds]).tolist():
            judged[place] = blend.pooled([shaped(past[place].model, blend.keep, blend.scale), *past[place].naive])
    return terms.fit(np.ones(terms.rounds, bool), overlap), judged
